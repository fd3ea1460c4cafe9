//! What the controller makes of an instance.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    instance::{GroupName, WaitId},
    reason::Reason,
    timestamp::Timestamp,
};

/// The decision, in one word. `Held` is reversible; `Rejected` is final for its wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may serve.
    Admitted,
    /// It may not serve yet.
    Held,
    /// It will not serve: its launch is to be abandoned.
    Rejected,
    /// It served, and was taken out of traffic; it comes back when it has proven itself again.
    Withdrawn,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admitted => "admitted",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        })
    }
}

/// A verdict on one instance, with its reason and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// The group it is in.
    pub group: GroupName,
    /// The decision.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The wait it is about, if it waits or its wait was seen.
    pub wait: Option<WaitId>,
    /// When a hold ends.
    pub deadline: Option<Timestamp>,
    /// Whether the cloud has taken our CONTINUE for this wait.
    pub continue_accepted: bool,
}
