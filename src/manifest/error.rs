//! Why a payload is no manifest: which rule, and where.

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::{
    CHECKS_MAX, COMPONENT_BYTES_MAX, ENTRIES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, TEXT_BYTES_MAX, TIMEOUT_MS_MAX,
    TREES_MAX,
};
use crate::{
    duration::Span,
    facts::TemplateError,
    glob::GlobError,
    json::{Fault, JsonError},
    text,
};

/// A rule of PROTOCOL.md §1 that is broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// Which part of the manifest breaks it.
    pub place: Place,
    /// How.
    pub violation: Violation,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.violation)?;
        self.violation.rule().map_or(Ok(()), |rule| write!(f, " (rule {rule})"))
    }
}

impl core::error::Error for ManifestError {}

impl From<JsonError> for ManifestError {
    fn from(error: JsonError) -> Self {
        Self { place: Place::Manifest, violation: Violation::Json(error) }
    }
}

/// A part of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The whole.
    Manifest,
    /// One of its trees.
    Tree {
        /// Its name.
        name: String,
    },
    /// An entry of one of its trees.
    Entry {
        /// The tree's name.
        tree: String,
        /// The entry's path, or as much of it as could be read.
        path: Vec<u8>,
    },
    /// One of its checks.
    Check {
        /// Its name.
        name: String,
    },
}

impl Place {
    pub(super) fn tree(name: &str) -> Self {
        Self::Tree { name: name.into() }
    }

    pub(super) fn entry(tree: &str, path: &[u8]) -> Self {
        Self::Entry { tree: tree.into(), path: path.into() }
    }

    pub(super) fn check(name: &str) -> Self {
        Self::Check { name: name.into() }
    }

    pub(super) fn breaks(self, violation: Violation) -> ManifestError {
        ManifestError { place: self, violation }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => Ok(()),
            Self::Tree { name } => write!(f, "tree `{}`: ", text::visible(name)),
            Self::Entry { tree, path } => {
                write!(f, "tree `{}`, entry `{}`: ", text::visible(tree), text::escape(path))
            }
            Self::Check { name } => write!(f, "check `{}`: ", text::visible(name)),
        }
    }
}

/// How a rule can be broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not strict JSON of a manifest's shape.
    #[error("{0}")]
    Json(JsonError),
    /// A version that this program does not know.
    #[error("version {0} is not supported, only 1 is")]
    Version(u64),
    /// Neither an entry nor a check: every machine would pass.
    #[error("it has neither an entry nor a check, so every machine would pass")]
    Nothing,
    /// More than [`ENTRIES_MAX`].
    #[error("{0} entries, {ENTRIES_MAX} allowed")]
    TooManyEntries(usize),
    /// More than [`TREES_MAX`].
    #[error("{0} trees, {TREES_MAX} allowed")]
    TooManyTrees(usize),
    /// More than [`CHECKS_MAX`].
    #[error("{0} checks, {CHECKS_MAX} allowed")]
    TooManyChecks(usize),
    /// A path, root or target of more than [`PATH_BYTES_MAX`].
    #[error("`{0}` has more than {PATH_BYTES_MAX} bytes")]
    TooLong(&'static str),
    /// More than [`COMPONENT_BYTES_MAX`].
    #[error("`{0}` has a component of more than {COMPONENT_BYTES_MAX} bytes")]
    ComponentTooLong(&'static str),
    /// Empty, or more than [`NAME_BYTES_MAX`].
    #[error("`{0}` must have 1 to {NAME_BYTES_MAX} bytes")]
    NameLength(&'static str),
    /// A field that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field that must not be there.
    #[error("`{0}` does not belong here")]
    Unexpected(&'static str),
    /// A field that is not written as it should be.
    #[error("`{field}` is not {expected}")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A kind of check that this program does not know, and so cannot verify.
    #[error("unknown kind of check `{}`", text::visible(.0))]
    UnknownKind(String),
    /// Not from 1 to [`TIMEOUT_MS_MAX`].
    #[error("`timeout_ms` is {0}, not from 1 to {TIMEOUT_MS_MAX}")]
    Timeout(u64),
    /// What is to be checked makes no sense.
    #[error("`{table}` {because}")]
    Check {
        /// The table of its kind.
        table: &'static str,
        /// What is wrong, as a fragment.
        because: String,
    },
    /// A window that is none.
    #[error("`{field}` is {span}, not from 1ms to 1h")]
    Window {
        /// Which.
        field: &'static str,
        /// As written.
        span: Span,
    },
    /// It waits for something that does not come before it.
    #[error("`after` names `{}`, which is neither a tree nor a check before this one", text::visible(.0))]
    After(String),
    /// A template that is none.
    #[error("`template`: {0}")]
    Template(TemplateError),
    /// More than [`TEXT_BYTES_MAX`].
    #[error("`{0}` has more than {TEXT_BYTES_MAX} bytes")]
    TextTooLong(&'static str),
    /// A text that is not the content.
    #[error("`text` has not the size and digest that the entry names")]
    TextDiffers,
    /// An ignore pattern that is none.
    #[error("`ignore`: {0}")]
    Ignore(GlobError),
    /// A path that could be written as text.
    #[error("`{0}_b64` holds UTF-8: it must be written as `{0}`")]
    NeedlessBase64(&'static str),
    /// `path` and `path_b64`, or the same of `target`.
    #[error("both `{0}` and `{0}_b64`")]
    BothForms(&'static str),
    /// Empty, absolute, or with `//` or a slash at the end.
    #[error("the path has an empty component")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("the path has a `.` or `..` component")]
    DotComponent,
    /// No file system has such a name.
    #[error("`{0}` has a NUL byte")]
    Nul(&'static str),
    /// Not after the entry before it.
    #[error("entries must be strictly ascending by bytes, and `{}` comes before it", text::escape(.after))]
    NotAscending {
        /// The entry before.
        after: Vec<u8>,
    },
    /// Its directory is not listed.
    #[error("its directory `{}` is not listed", text::escape(.parent))]
    ParentNotListed {
        /// The directory.
        parent: Vec<u8>,
    },
    /// It is below a file or a link.
    #[error("it is below `{}`, which is not a directory", text::escape(.parent))]
    BelowNonDirectory {
        /// The file or link.
        parent: Vec<u8>,
    },
    /// The tree's own patterns ignore it, so nothing would check it.
    #[error("the tree ignores it, so that nothing would check it")]
    Ignored,
    /// A tree or check has the same name.
    #[error("the name is used twice")]
    DuplicateName,
    /// Relative, or written in a way that a shorter one says.
    #[error("root `{}` is not absolute and plain: no `.`, `..` or empty component, no slash at the end", text::visible(.0))]
    Root(String),
    /// Inside another tree that does not ignore it.
    #[error("its root is inside the root of tree `{}`, which does not ignore it", text::visible(.outer))]
    RootInside {
        /// The other tree.
        outer: String,
    },
}

impl Violation {
    /// Its number in PROTOCOL.md §1; the rule that a manifest must want something has none.
    pub fn rule(&self) -> Option<u8> {
        Some(match self {
            Self::Nothing => return None,
            Self::Json(JsonError {
                fault: Fault::TooLarge { .. } | Fault::TooDeep { .. } | Fault::TooMany(_), ..
            })
            | Self::TooManyEntries(_)
            | Self::TooManyTrees(_)
            | Self::TooManyChecks(_)
            | Self::TooLong(_)
            | Self::ComponentTooLong(_)
            | Self::TextTooLong(_)
            | Self::NameLength(_) => 1,
            Self::Json(_)
            | Self::Version(_)
            | Self::Missing(_)
            | Self::Unexpected(_)
            | Self::Malformed { .. }
            | Self::UnknownKind(_)
            | Self::Timeout(_)
            | Self::Check { .. }
            | Self::Window { .. }
            | Self::Template(_)
            | Self::TextDiffers
            | Self::Ignore(_) => 5,
            Self::NeedlessBase64(_)
            | Self::BothForms(_)
            | Self::EmptyComponent
            | Self::DotComponent
            | Self::Nul(_)
            | Self::NotAscending { .. }
            | Self::ParentNotListed { .. }
            | Self::BelowNonDirectory { .. }
            | Self::Ignored => 6,
            Self::DuplicateName | Self::After(_) | Self::Root(_) | Self::RootInside { .. } => 7,
        })
    }
}
