//! The kinds of check: one file each.
//!
//! A kind is a variant of [`CheckKind`](crate::manifest::CheckKind), its fields in the manifest, and its rules, which are
//! in its file here; what runs it is the agent's business.

pub mod command;
