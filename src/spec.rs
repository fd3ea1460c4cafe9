//! The release spec, `portcullis.toml`, written by people: as written → validated (DESIGN.md §7).

use alloc::{string::String, vec::Vec};

use crate::manifest::{Check, Manifest, ManifestError, Tree};

pub use duration::duration_ms;

mod duration;
mod fragments;

/// The product of a spec that names none.
pub const PRODUCT: &str = "default";
/// How long a command may take unless the spec says otherwise (DESIGN.md §6).
pub const COMMAND_TIMEOUT_MS: u64 = 10_000;
/// A spec is written by people: more is a mistake in the path.
pub const SPEC_BYTES_MAX: usize = 1 << 20;

/// What to build a manifest from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Which product it is a release of.
    pub product: String,
    /// The trees, without entries: those are read when the manifest is built.
    pub trees: Vec<Tree>,
    /// The checks, complete.
    pub checks: Vec<Check>,
    /// What is taken but not yet fully honoured, for people.
    pub warnings: Vec<String>,
}

impl Spec {
    /// Reads and validates a spec. An unknown key is an error: it would be a check that nobody makes.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > SPEC_BYTES_MAX {
            return Err(SpecError::TooLarge { bytes: text.len() });
        }
        let file: fragments::File = toml::from_str(text).map_err(|error| SpecError::toml(text, &error))?;
        let spec = Self::try_from(file)?;
        if spec.trees.is_empty() && spec.checks.is_empty() {
            return Err(SpecError::Nothing);
        }
        spec.clone().into_manifest(SOME_RELEASE.into(), 0).validate_shape()?;
        Ok(spec)
    }

    /// The manifest of a release, its trees still to be read.
    pub fn into_manifest(self, release: String, sequence: u64) -> Manifest {
        Manifest { product: self.product, release, sequence, trees: self.trees, checks: self.checks }
    }
}

/// Stands for a release's name while there is none.
const SOME_RELEASE: &str = "release";

/// A spec that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// More than [`SPEC_BYTES_MAX`].
    #[error("{bytes} bytes, {SPEC_BYTES_MAX} allowed")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not TOML, or with a key that is unknown, missing or of another type.
    #[error("line {line}, column {column}: {message}")]
    Toml {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A key with a meaning that this program cannot give it.
    #[error("tree `{}`: `{key}` is not supported yet", crate::text::visible(tree))]
    Unsupported {
        /// Which tree.
        tree: String,
        /// Which key.
        key: &'static str,
    },
    /// A check that does not say what is to be verified.
    #[error("check `{}`: it has no kind", crate::text::visible(check))]
    NoKind {
        /// Which check.
        check: String,
    },
    /// A timeout that is none.
    #[error(
        "check `{}`: `timeout` is `{}`, not a duration",
        crate::text::visible(check),
        crate::text::visible(timeout)
    )]
    Duration {
        /// Which check.
        check: String,
        /// As written.
        timeout: String,
    },
    /// Neither a tree nor a check.
    #[error("it has neither a tree nor a check")]
    Nothing,
    /// A manifest built from it would be refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl SpecError {
    fn toml(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..at];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        Self::Toml {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            column: 1 + at - line_start,
            message: crate::text::visible(error.message().trim()),
        }
    }

    /// What to do about it, where that is not plain.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsupported { .. } => Some(
                "leave it out, or ignore the files it names: listed as they are, they would fail on every instance",
            ),
            Self::NoKind { .. } => Some("give it a `command`, for example `command = [\"nginx\", \"-t\"]`"),
            Self::Duration { .. } => Some("write for example \"500ms\", \"10s\" or \"1m30s\""),
            Self::Manifest(ManifestError { violation: crate::manifest::Violation::RootInside { .. }, .. }) => {
                Some("add the inner root to the outer tree's `ignore`, as a pattern that begins and ends with a slash")
            }
            Self::Nothing => Some("add a `[[tree]]` with a `name` and a `root`"),
            Self::TooLarge { .. } | Self::Toml { .. } | Self::Manifest(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
