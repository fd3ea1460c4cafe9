//! The manifest: what an instance must look like, exactly. Immutable, addressed by the SHA-256 of its bytes as signed.

use alloc::{string::String, vec::Vec};

use crate::digest::Digest;

/// The media type of a manifest inside its DSSE envelope (PROTOCOL.md §1).
pub const PAYLOAD_TYPE: &str = "application/vnd.portcullis.manifest.v1+json";

/// A manifest that keeps every rule of PROTOCOL.md §1. There is no other way to have one than to parse and validate it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Which product it is a release of: a validly signed manifest of another one must not be promoted.
    pub product: String,
    /// The release's name, chosen by people.
    pub release: String,
    /// Grows from build to build: Unix seconds at build unless given.
    pub sequence: u64,
    /// The trees, each whole.
    pub trees: Vec<Tree>,
    /// What is to be verified besides trees.
    pub checks: Vec<Check>,
}

/// A directory with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Unique among trees and checks.
    pub name: String,
    /// Absolute, without `.`, `..`, empty components or a trailing slash.
    pub root: String,
    /// Whether the root itself may be a symlink.
    pub root_link: bool,
    /// What to make of things that are there and not listed.
    pub extras: Extras,
    /// Gitignore-like globs, relative to the root (see [`glob`](crate::glob)).
    pub ignore: Vec<String>,
    /// What is compared besides type and content.
    pub attributes: Attributes,
    /// What must be there, ascending by path bytes, every parent listed.
    pub entries: Vec<Entry>,
}

/// What to make of things in a tree that its manifest does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extras {
    /// They are differences.
    #[default]
    Refuse,
    /// They are nobody's business.
    Allow,
}

/// What is compared besides type and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits, set-id and sticky.
    pub mode: bool,
    /// Numeric user and group.
    pub owner: bool,
}

/// One thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root; any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// `0o7777` bits, where the tree compares them (never of a link: Linux has no link modes).
    pub mode: Option<u32>,
    /// Where the tree compares them.
    pub owner: Option<Owner>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
        /// Of its content.
        sha256: Digest,
    },
    /// A symlink.
    Link {
        /// As `readlink` gives it, any bytes but NUL.
        target: Vec<u8>,
    },
}

/// Who owns a thing, by number: names differ from image to image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Something to verify besides trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique among trees and checks.
    pub name: String,
    /// When its outcome counts.
    pub scope: Scope,
    /// After this long it is `unknown`.
    pub timeout_ms: u64,
    /// What is to be verified.
    pub kind: CheckKind,
}

/// When the outcome of a check counts (DESIGN.md §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Before admission only: what lies outside the instance.
    Launch,
    /// While serving only.
    Serving,
    /// Always.
    #[default]
    Both,
}

/// What is to be verified; one variant a kind, one file a kind under `check/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A command that must exit with 0.
    Command {
        /// The program and its arguments; no shell.
        argv: Vec<String>,
    },
}

impl CheckKind {
    /// The word for it in manifests and outcomes.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
        }
    }
}
