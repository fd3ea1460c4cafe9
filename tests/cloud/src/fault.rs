//! Faults that can be ordered: what real networks and AWS do to a client sooner or later.

use serde::{Deserialize, Serialize};

/// A fault to inject. Faults with `calls` are used up one call at a time; `deny`, `expire` and those with `lag_ms` stand until cleared.
///
/// `action` limits a fault to one API action, such as `CompleteLifecycleAction`; without it every call counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// `Throttling`, "Rate exceeded"; not applied.
    Throttle {
        /// How many calls.
        calls: u32,
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
    },
    /// HTTP 500 `InternalFailure`; not applied.
    Unavailable {
        /// How many calls.
        calls: u32,
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
    },
    /// HTTP 403 `AccessDenied`, as without the permission; not applied. Stands until it is cleared.
    Deny {
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
    },
    /// Whatever is signed with this key is refused: HTTP 403 `ExpiredToken`; not applied. Stands until it is cleared.
    Expire {
        /// The access key's id.
        access_key: String,
    },
    /// The connection is dropped before the call is applied.
    LoseRequest {
        /// How many calls.
        calls: u32,
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
    },
    /// The call is applied, then the connection is dropped without an answer.
    LoseAnswer {
        /// How many calls.
        calls: u32,
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
    },
    /// The call is applied twice, as by a retrying middlebox; the answer is the second one's.
    Duplicate {
        /// How many calls.
        calls: u32,
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
    },
    /// The answer comes late (it was applied at once), in real milliseconds.
    DelayAnswer {
        /// How many calls.
        calls: u32,
        /// Which calls.
        #[serde(default)]
        action: Option<String>,
        /// Calls about this group only.
        #[serde(default)]
        group: Option<String>,
        /// How late.
        delay_ms: u64,
    },
    /// Descriptions show instances as they were this long ago, so `:Wait` is still shown after a completion.
    DescribeLag {
        /// How old.
        lag_ms: u64,
    },
    /// A lifecycle action cannot be completed this long after `:Wait` is shown: "No active Lifecycle Action found".
    ActionLag {
        /// How long.
        lag_ms: u64,
    },
    /// Launches fail with this text as the reason, as with exhausted capacity or quota.
    FailLaunch {
        /// How many launches.
        launches: u32,
        /// AWS's words, such as "We currently do not have sufficient capacity".
        message: String,
    },
    /// Notices never come.
    LoseNotice {
        /// How many notices.
        notices: u32,
    },
    /// Notices come twice.
    DuplicateNotice {
        /// How many notices.
        notices: u32,
    },
}

/// The faults that are ordered and not yet used up.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

/// A call, as far as faults tell calls apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) action: &'a str,
    /// The group it names, if it names one.
    pub(crate) group: Option<&'a str>,
    /// The id of the access key that signed it, if it is signed.
    pub(crate) signer: Option<&'a str>,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Normal,
    Throttle,
    Unavailable,
    Deny,
    Expired,
    LoseRequest,
    LoseAnswer,
    Duplicate,
    DelayAnswer(u64),
}

impl Faults {
    /// Orders a fault. The oldest is forgotten when too many are ordered.
    pub fn inject(&mut self, fault: Fault) {
        if self.0.len() == FAULTS_MAX {
            self.0.remove(0);
        }
        self.0.push(fault);
    }

    /// Cancels every fault.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What is ordered and not used up.
    pub fn pending(&self) -> &[Fault] {
        &self.0
    }

    pub(crate) fn fate(&mut self, asked: Asked<'_>) -> Fate {
        self.take(|fault| fault.fate(asked)).unwrap_or(Fate::Normal)
    }

    pub(crate) fn launch_failure(&mut self) -> Option<String> {
        self.take(|fault| match fault {
            Fault::FailLaunch { message, .. } => Some(message.clone()),
            _ => None,
        })
    }

    /// How many times a notice is delivered.
    pub(crate) fn notice_copies(&mut self) -> usize {
        self.take(|fault| match fault {
            Fault::LoseNotice { .. } => Some(0),
            Fault::DuplicateNotice { .. } => Some(2),
            _ => None,
        })
        .unwrap_or(1)
    }

    pub(crate) fn describe_lag_ms(&self) -> u64 {
        self.standing(|fault| match fault {
            Fault::DescribeLag { lag_ms } => Some(*lag_ms),
            _ => None,
        })
    }

    pub(crate) fn action_lag_ms(&self) -> u64 {
        self.standing(|fault| match fault {
            Fault::ActionLag { lag_ms } => Some(*lag_ms),
            _ => None,
        })
    }

    /// The newest standing fault of a kind counts.
    fn standing(&self, lag: impl Fn(&Fault) -> Option<u64>) -> u64 {
        self.0.iter().rev().find_map(lag).unwrap_or(0)
    }

    /// Uses one of the first fault that `matches`.
    fn take<T>(&mut self, matches: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let (index, found) = self.0.iter().enumerate().find_map(|(index, fault)| Some((index, matches(fault)?)))?;
        if self.0[index].use_one() == 0 {
            self.0.remove(index);
        }
        Some(found)
    }
}

impl Fault {
    fn fate(&self, asked: Asked<'_>) -> Option<Fate> {
        let (action, fate) = match self {
            Self::Expire { access_key } => {
                return (asked.signer == Some(access_key)).then_some(Fate::Expired);
            }
            Self::DelayAnswer { group: Some(group), .. } if asked.group != Some(group) => return None,
            Self::Throttle { action, .. } => (action, Fate::Throttle),
            Self::Unavailable { action, .. } => (action, Fate::Unavailable),
            Self::Deny { action } => (action, Fate::Deny),
            Self::LoseRequest { action, .. } => (action, Fate::LoseRequest),
            Self::LoseAnswer { action, .. } => (action, Fate::LoseAnswer),
            Self::Duplicate { action, .. } => (action, Fate::Duplicate),
            Self::DelayAnswer { action, delay_ms, .. } => (action, Fate::DelayAnswer(*delay_ms)),
            Self::DescribeLag { .. }
            | Self::ActionLag { .. }
            | Self::FailLaunch { .. }
            | Self::LoseNotice { .. }
            | Self::DuplicateNotice { .. } => return None,
        };
        action.as_deref().is_none_or(|action| action == asked.action).then_some(fate)
    }

    /// Counts one use; returns how many are left.
    fn use_one(&mut self) -> u32 {
        let left = match self {
            Self::Throttle { calls, .. }
            | Self::Unavailable { calls, .. }
            | Self::LoseRequest { calls, .. }
            | Self::LoseAnswer { calls, .. }
            | Self::Duplicate { calls, .. }
            | Self::DelayAnswer { calls, .. } => calls,
            Self::FailLaunch { launches, .. } => launches,
            Self::LoseNotice { notices } | Self::DuplicateNotice { notices } => notices,
            Self::Deny { .. } | Self::Expire { .. } | Self::DescribeLag { .. } | Self::ActionLag { .. } => return 1,
        };
        *left = left.saturating_sub(1);
        *left
    }
}

/// Faults ordered at once; far more than a plan needs.
pub const FAULTS_MAX: usize = 1_000;
