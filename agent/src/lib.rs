//! The agent: proves on the instance that it carries the signed release.
//!
//! | where | what |
//! |---|---|
//! | [`checks`] | what the manifest wants → what is there: one runner a kind, and the one list of them |
//! | [`clock`] | the only place that asks for the time |
#![forbid(unsafe_code)]

pub mod checks;
pub mod clock;
