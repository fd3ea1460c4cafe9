//! What a tree ignores: patterns as in a `.gitignore`, relative to the tree's root.
//!
//! - A pattern without a slash, except at its end, matches at any depth; any other is anchored at the root.
//! - A slash at the end: directories only.
//! - `*`, `?` and `[…]` don't cross a slash. `**/` at the beginning and `/**/` are any number of directories, none
//!   included; `/**` at the end is everything below, but not the directory itself.
//! - `!` at the beginning brings back what an earlier pattern ignores; the last pattern that matches wins. Nothing
//!   comes back from below an ignored directory: nobody looks there.
//! - A backslash takes the next character as it is. There are no comments, and braces are braces.
//!
//! Paths are bytes; `?` and `[…]` take one character where the bytes are UTF-8 and one byte where they are not.
//!
//! No pattern backtracks exponentially: the cost is bounded by the product of the lengths of pattern and path.

use alloc::{string::String, vec::Vec};

use pattern::Pattern;

mod pattern;
mod segment;

/// More patterns than this in one tree are refused: each costs time for each path.
pub const PATTERNS_MAX: usize = 1_000;
/// A pattern may be as long as the longest path.
pub const PATTERN_BYTES_MAX: usize = 4_096;

/// The patterns of one tree.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

impl Ignore {
    /// Reads the patterns; the first that is none is the error.
    pub fn new(patterns: &[String]) -> Result<Self, GlobError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(GlobError::TooMany { patterns: patterns.len() });
        }
        let parse =
            |text: &String| Pattern::parse(text).map_err(|fault| GlobError::Pattern { pattern: text.clone(), fault });
        Ok(Self { patterns: patterns.iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Whether `path` (relative to the root, without a slash at either end) is ignored by itself. What is below an
    /// ignored directory is ignored too, but not by this answer: a walker does not get there, others ask
    /// [`hides`](Self::hides).
    pub fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        self.patterns.iter().rev().find(|pattern| pattern.matches(path, is_dir)).is_some_and(|last| !last.negated())
    }

    /// Whether `path` or a directory above it is ignored, so that a walker never sees it.
    pub fn hides(&self, path: &[u8], is_dir: bool) -> bool {
        let mut slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        slashes.any(|slash| self.matches(&path[..slash], true)) || self.matches(path, is_dir)
    }
}

/// The patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// More than [`PATTERNS_MAX`].
    #[error("{patterns} patterns, {PATTERNS_MAX} allowed")]
    TooMany {
        /// How many there are.
        patterns: usize,
    },
    /// One of them would never match, or says something else than it seems to.
    #[error("pattern `{}`: {fault}", crate::text::visible(pattern))]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        fault: PatternFault,
    },
}

/// What can be wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// More than [`PATTERN_BYTES_MAX`].
    #[error("longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// Nothing, or nothing but slashes and `!`.
    #[error("it is empty")]
    Empty,
    /// `//`.
    #[error("it has an empty component")]
    EmptyComponent,
    /// Paths in a tree have neither.
    #[error("it has a `.` or `..` component")]
    DotComponent,
    /// No path has one.
    #[error("it has a NUL character")]
    Nul,
    /// A backslash that takes nothing.
    #[error("it ends with a lone backslash")]
    LoneBackslash,
    /// `[` without `]`.
    #[error("its `[` is not closed")]
    UnclosedClass,
    /// `[z-a]`.
    #[error("it has a range that runs backwards")]
    BackwardRange,
    /// `[[:…:]]` with a name that POSIX does not know.
    #[error("it has an unknown character class")]
    UnknownClass,
}

#[cfg(test)]
mod tests;
