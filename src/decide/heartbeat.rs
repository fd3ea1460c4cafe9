//! Keeps the hook from timing out while its instance waits: the decision stays ours, and so does its pace. What a balancer holds
//! does not time out.

use core::time::Duration;

use super::{case::Case, opinion::Opinion};
use crate::{
    action::{Action, AttemptKey},
    record::WaitRecord,
    timestamp::Timestamp,
};

/// Adds the heartbeat when it is due, and the moment when it will be.
pub(super) fn with(case: &Case<'_>, wait: &WaitRecord, opinion: Opinion) -> Opinion {
    let Some(due_at) = due_at(case, wait).filter(|_| !case.is_in_place()) else {
        return opinion;
    };
    if case.now >= due_at {
        return opinion.wishing(Action::KeepWaiting(case.held(wait)));
    }
    opinion.until(case, due_at)
}

/// Counted from the last one that was taken, else from when the wait began. A wait that was there when this controller came
/// may be about to time out, for all it knows: its first heartbeat is due at once.
fn due_at(case: &Case<'_>, wait: &WaitRecord) -> Option<Timestamp> {
    let key = AttemptKey::KeepWaiting(case.id.clone(), wait.wait);
    let beaten_at = case.attempts(&key).and_then(|attempts| attempts.accepted_at);
    let came_at = case.observed.listening_since.unwrap_or(wait.since);
    if beaten_at.is_none() && wait.since < came_at + case.limits.describe_every {
        return Some(wait.since);
    }
    Some(beaten_at.unwrap_or(wait.since) + every(case)?)
}

/// A third of the timeout: two may be lost.
fn every(case: &Case<'_>) -> Option<Duration> {
    Some(case.limits.heartbeat_every.min(Duration::from_secs(case.hook()?.heartbeat_timeout_s) / 3))
}
