//! The release spec, `portcullis.toml`, written by people: as written → validated (DESIGN.md §7).

use alloc::{string::String, vec::Vec};

use crate::manifest::{Check, Manifest, ManifestError, Tree};

mod fragments;

/// The product of a spec that names none.
pub const PRODUCT: &str = "default";
/// A spec is written by people: more is a mistake in the path.
pub const SPEC_BYTES_MAX: usize = 1 << 20;

/// What to build a manifest from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Which product it is a release of.
    pub product: String,
    /// The trees, without entries: those are read when the manifest is built.
    pub trees: Vec<Tree>,
    /// What is to be kept of the contents of each tree.
    pub texts: Vec<Texts>,
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

/// What a manifest keeps of the contents of a tree, besides digests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// Whether small text files are kept as they are, so that a mismatch can be shown and undone.
    pub keep: bool,
    /// Gitignore-like globs of files that are never kept, whatever they hold.
    pub secret: Vec<String>,
    /// Gitignore-like globs of files that others are rendered from: `a.conf.tmpl` is what `a.conf` is rendered from.
    pub templates: Vec<String>,
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
    /// A check that does not say what is to be verified.
    #[error("check `{}`: it has no kind", crate::text::visible(check))]
    NoKind {
        /// Which check.
        check: String,
    },
    /// A check that says more than one thing.
    #[error("check `{}`: it is both a `{one}` and a `{other}`", crate::text::visible(check))]
    ManyKinds {
        /// Which check.
        check: String,
        /// One of its kinds.
        one: &'static str,
        /// Another.
        other: &'static str,
    },
    /// Undoing an edit takes the texts that it changed.
    #[error("tree `{}`: `restore` needs `text = true`", crate::text::visible(tree))]
    RestoreWithoutText {
        /// Which tree.
        tree: String,
    },
    /// A pattern that is none.
    #[error("tree `{}`: `{key}`: {error}", crate::text::visible(tree))]
    Glob {
        /// Which tree.
        tree: String,
        /// Which list of patterns.
        key: &'static str,
        /// What is wrong with it.
        error: crate::glob::GlobError,
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
            Self::NoKind { .. } => Some("give it a `command`, for example `command = [\"nginx\", \"-t\"]`"),
            Self::ManyKinds { .. } => Some("make it two checks"),
            Self::RestoreWithoutText { .. } => {
                Some("what is to be put back must be in the manifest: add `text = true`")
            }
            Self::Manifest(ManifestError { violation: crate::manifest::Violation::RootInside { .. }, .. }) => {
                Some("add the inner root to the outer tree's `ignore`, as a pattern that begins and ends with a slash")
            }
            Self::Nothing => Some("add a `[[tree]]` with a `name` and a `root`"),
            Self::Glob { .. } | Self::TooLarge { .. } | Self::Toml { .. } | Self::Manifest(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
