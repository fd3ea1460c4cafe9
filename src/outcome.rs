//! What came of one check: pass, fail with what differs, or unknown with the reason. Unknown is never ready.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

/// At most this many differences of one check are listed; `differences_total` counts them all.
pub const DIFFERENCES_MAX: usize = 1_000;

/// A diff is cut here: enough to see what was done, small enough for a thousand of them to be refused whole.
pub const DIFF_BYTES_MAX: usize = 4 << 10;

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is as the manifest wants it.
    Pass,
    /// It could not be told: never ready, and never by itself a reason to give up.
    Unknown,
    /// It is otherwise.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        })
    }
}

/// The outcome of one tree or check of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The name of the tree or check.
    pub check: String,
    /// `tree`, `command`, …
    pub kind: String,
    /// Pass, fail or unknown.
    pub status: Status,
    /// Why it did not pass, for a person; absent when it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the manifest wants, where that is one thing; for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// What differs, at most [`DIFFERENCES_MAX`] of it, ordered by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// How many differences there are, listed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences_total: Option<u64>,
    /// How many there are of each problem, listed or not: a list that was cut does not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences_by_problem: BTreeMap<Problem, u64>,
    /// What will not pass for long, or is worth a look, though it says nothing against passing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How long the check took.
    pub took_ms: u64,
}

impl Outcome {
    /// An outcome without differences that took no time yet.
    pub fn new(check: &str, kind: &str, status: Status, reason: Option<String>) -> Self {
        Self {
            check: check.into(),
            kind: kind.into(),
            status,
            reason,
            expected: None,
            actual: None,
            differences: Vec::new(),
            differences_total: None,
            differences_by_problem: BTreeMap::new(),
            warnings: Vec::new(),
            took_ms: 0,
        }
    }
}

/// One path of a tree that is not as the manifest wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Relative to the tree's root, escaped by [`text::escape`](crate::text::escape); empty for the root itself.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// What the manifest wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// Of a text that the manifest keeps: how what is there differs from it, as a unified diff, cut at [`DIFF_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl Difference {
    /// Of a path as people and JSON get it.
    pub fn new(path: &str, problem: Problem) -> Self {
        Self { path: path.into(), problem, expected: None, actual: None, diff: None }
    }
}

/// What can be wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Problem {
    /// Listed, but not there.
    Missing,
    /// There, but not listed.
    Extra,
    /// A file with other bytes.
    Content,
    /// Not the kind of thing it should be.
    Type,
    /// A symlink with another target.
    Link,
    /// Other permission bits, or set-id bits that the manifest does not have.
    Mode,
    /// Another user or group.
    Owner,
    /// It could not be read: unknown.
    Unreadable,
    /// It changed while it was read: unknown.
    Unstable,
}

impl Problem {
    /// Whether it shows that nothing could be told, rather than that something is wrong.
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unreadable | Self::Unstable)
    }

    /// The word of the outside contract (DESIGN.md §7).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Content => "content",
            Self::Type => "type",
            Self::Link => "link",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Unreadable => "unreadable",
            Self::Unstable => "unstable",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Any fail → fail, else any unknown → unknown, else pass; of nothing at all, unknown: absence of evidence is no pass.
pub fn overall<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Status {
    outcomes.into_iter().map(|outcome| outcome.status).max().unwrap_or(Status::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: Status) -> Outcome {
        Outcome::new("a", "tree", status, None)
    }

    #[test]
    fn the_worst_wins_and_nothing_is_unknown() {
        use Status::{Fail, Pass, Unknown};
        for (statuses, all) in
            [(&[][..], Unknown), (&[Pass, Pass], Pass), (&[Pass, Unknown], Unknown), (&[Unknown, Fail, Pass], Fail)]
        {
            let outcomes: Vec<_> = statuses.iter().copied().map(outcome).collect();
            assert_eq!(overall(&outcomes), all, "{statuses:?}");
        }
    }
}
