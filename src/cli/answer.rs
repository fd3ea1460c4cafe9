//! What a command has to say to whoever started it.

use std::{fmt, process::ExitCode};

/// The exit code (DESIGN.md §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes, ready, done: 0.
    Yes,
    /// No, not ready, refused: 1.
    No,
    /// It could not be told: 2.
    Unclear,
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> Self {
        Self::from(match answer {
            Answer::Yes => 0,
            Answer::No => 1,
            Answer::Unclear => 2,
        })
    }
}

/// Adds what to do about an error, apart from what is wrong.
pub(crate) trait Hint<T> {
    /// The hint, if there is one.
    fn hint(self, hint: Option<&str>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Hint<T> for Result<T, E> {
    fn hint(self, hint: Option<&str>) -> anyhow::Result<T> {
        self.map_err(|error| match hint {
            Some(hint) => Hinted { error: error.into(), hint: hint.into() }.into(),
            None => error.into(),
        })
    }
}

/// An error and what to do about it.
#[derive(Debug)]
pub(crate) struct Hinted {
    error: anyhow::Error,
    /// For people, after the error.
    pub(crate) hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
