//! The manifest: what an instance must look like, exactly. Immutable, addressed by the SHA-256 of its bytes as signed.
//!
//! Envelope → [`VerifiedManifest::open`] → manifest is the verifier of PROTOCOL.md §1. Where that page is silent, this
//! one refuses whatever could mean two things or nothing:
//!
//! - `mode` stands at every entry but links when the tree's `attributes` have `mode`, and else where there are set-id bits, which
//!   always count; `uid` and `gid` at every entry exactly when they have `owner`; links have an owner, but no mode;
//! - an entry that its own tree ignores is refused: nothing would ever check it;
//! - names are 1 to [`NAME_BYTES_MAX`] bytes; a link's target is not empty; `path_b64` is padded standard base64.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    check::{Command, window::Window},
    digest::Digest,
    facts::Template,
    json,
};

pub use crate::check::CheckKind;
pub use changes::{Change, Changes, CheckChange, EntryChange, TreeChange};
pub use error::{ManifestError, Place, Violation};
pub use verified::{OpenError, Task, VerifiedManifest};

mod changes;
mod error;
mod outline;
mod rules;
mod verified;
mod wire;

/// The media type of a manifest inside its DSSE envelope (PROTOCOL.md §1).
pub const PAYLOAD_TYPE: &str = "application/vnd.portcullis.manifest.v1+json";

/// The only version of the format.
pub const VERSION: u64 = 1;
/// All trees of a manifest together have at most this many entries.
pub const ENTRIES_MAX: usize = 1_000_000;
/// A path below a tree's root, a root and a link's target have at most this many bytes: Linux's `PATH_MAX`.
pub const PATH_BYTES_MAX: usize = 4_096;
/// A component of a path has at most this many bytes: Linux's `NAME_MAX`.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// A product, a release, a tree and a check have names of at most this many bytes: they become labels and file names.
pub const NAME_BYTES_MAX: usize = 255;
/// More trees than this are refused: each is compared with each.
pub const TREES_MAX: usize = 1_000;
/// A file's text is kept up to this size: configuration, not content.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// More checks than this are refused: each is an outcome in every report.
pub const CHECKS_MAX: usize = 1_000;
/// A check may take from one millisecond to an hour: no admission waits longer.
pub const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// What a ready instance must look like. One that was [parsed](Self::parse) keeps every rule of PROTOCOL.md §1; one that
/// was put together keeps them if its [payload](Self::to_payload) parses.
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

impl Manifest {
    /// Reads a payload: rules 1, 5, 6 and 7. Who signed it was settled before, see [`VerifiedManifest::open`].
    pub fn parse(payload: &[u8]) -> Result<Self, ManifestError> {
        let manifest = Self::read(payload)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// What the payload says, whether or not it keeps the rules of its meaning. Takes time and memory in proportion to the
    /// payload, which was capped, and does nothing else.
    fn read(payload: &[u8]) -> Result<Self, ManifestError> {
        let wire: wire::Manifest<'_> = json::parse(payload, &json::Limits::MANIFEST)?;
        Self::try_from(wire)
    }

    /// The payload to be signed: compact JSON, keys in the order of PROTOCOL.md §1.
    pub fn to_payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("writing strings and integers to memory cannot fail")
    }

    /// How many entries all trees have together.
    pub fn entries_total(&self) -> usize {
        self.trees.iter().map(|tree| tree.entries.len()).sum()
    }
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
    /// Whether an edit that breaks a guard is undone, from the texts kept here.
    pub restore: bool,
    /// What must be there, ascending by path bytes, every parent listed.
    pub entries: Vec<Entry>,
}

impl Tree {
    /// An empty tree that refuses all that is not listed.
    pub fn new(name: &str, root: &str) -> Self {
        Self {
            name: name.into(),
            root: root.into(),
            root_link: false,
            extras: Extras::Refuse,
            ignore: Vec::new(),
            attributes: Attributes::default(),
            restore: false,
            entries: Vec::new(),
        }
    }
}

/// What to make of things in a tree that its manifest does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// `0o7777` bits, where the tree compares them or some are set-id (never of a link: Linux has no link modes).
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
        /// Its content, where it is kept: UTF-8, of that size and digest, at most [`TEXT_BYTES_MAX`].
        text: Option<Box<str>>,
    },
    /// A regular file whose content differs from instance to instance (see [`facts`](crate::facts)). Never compared as such:
    /// with an instance's facts it becomes a `File`.
    Template {
        /// What its content is rendered from.
        template: Template,
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
    /// After this long an attempt is `unknown`.
    pub timeout_ms: u64,
    /// Names of trees and checks that must pass first; else it is `unknown: not run`.
    pub after: Vec<String>,
    /// When it must become true, and for how long.
    pub window: Window,
    /// Whether a change to a managed tree that makes it fail is undone (commit-confirm).
    pub guard: bool,
    /// What is to be verified.
    pub kind: CheckKind,
}

impl Check {
    /// A check with all that its kind says unless someone says otherwise.
    pub fn new(name: &str, kind: CheckKind) -> Self {
        Self {
            name: name.into(),
            scope: kind.scope(),
            timeout_ms: kind.timeout_ms(),
            after: Vec::new(),
            window: Window::default(),
            guard: false,
            kind,
        }
    }

    /// One that runs `argv`.
    pub fn command<A: Into<String>>(name: &str, argv: impl IntoIterator<Item = A>) -> Self {
        Self::new(name, CheckKind::Command(Command { argv: argv.into_iter().map(Into::into).collect() }))
    }
}

/// When the outcome of a check counts (DESIGN.md §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Before admission only: what lies outside the instance.
    Launch,
    /// While serving only.
    Serving,
    /// Always.
    #[default]
    Both,
}

#[cfg(test)]
mod tests;
