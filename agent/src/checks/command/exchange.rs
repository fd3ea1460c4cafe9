//! What agent and supervisor tell each other: one line of JSON each way.

use serde::{Deserialize, Serialize};

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Absolute, without symlinks.
    pub(super) program: String,
    /// As in the manifest.
    pub(super) argv: Vec<String>,
    /// User and group to become; the agent's own where absent.
    pub(super) user: Option<(u32, u32)>,
    /// From start to kill.
    pub(super) timeout_ms: u64,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    /// By itself.
    Exited {
        /// Its exit status.
        code: i32,
    },
    /// By a signal that was not ours.
    Killed {
        /// Its number.
        signal: i32,
    },
    /// By us, at its deadline.
    TimedOut,
    /// By us, since it would not stop writing.
    Flooded,
    /// By us, since the agent was gone.
    Abandoned,
    /// Never began.
    NotStarted {
        /// For people.
        reason: String,
    },
}
