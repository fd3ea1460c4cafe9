//! Gives up a waiting instance that was not ready by its deadline: slowly, and not before its agent had a chance to be heard.
//!
//! A rejection goes on record before ABANDON is sent: it is what paces the group, also across a restart (see `pacing`). An
//! instance that was admitted in this wait is not given up. That it still waits means that CONTINUE never came through, or
//! that it waits anew and nobody saw it leave; in both cases its time begins anew.
//!
//! Planted bugs (tests/simulation): `abandon_early`, `abandon_unpaced`, `abandon_after_restart_at_once`.

use super::{case::Case, hold, opinion::Opinion, pacing, waits};
use crate::{
    action::Action,
    reason::Reason,
    record::{Key, Record, RejectionRecord, WaitRecord},
};

/// Answers for every waiting instance past its deadline that `admit` did not take.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.enforces() && case.instance.state.is_waiting())?;
    let listening_since = case.observed.listening_since?;
    if case.now < case.deadline(wait) {
        return None;
    }
    if case.admission().is_some() {
        return Some(waits::begin(case));
    }
    let last = hold::reason(case, wait);
    let heard_at = listening_since + case.limits.listen_min;
    if case.now < heard_at {
        let opinion = Opinion::held(case, Reason::Listening { until: heard_at }).until(case, heard_at);
        return Some(hold::kept(case, wait, opinion));
    }
    Some(hold::kept(case, wait, in_turn(case, wait, last)))
}

fn in_turn(case: &Case<'_>, wait: &WaitRecord, last: Reason) -> Opinion {
    let until = pacing::next_turn(case);
    if case.now < until {
        return Opinion::held(case, Reason::AbandonPaced { until, last: last.into() }).until(case, until);
    }
    let record = write(case, wait, &last);
    Opinion::held(case, Reason::RejectionNotRecorded { last: last.into() }).wishing(record)
}

/// The record that gives an instance its turn, or another one.
pub(super) fn write(case: &Case<'_>, wait: &WaitRecord, last: &Reason) -> Action {
    let key = Key::Rejection(case.id.clone());
    let group = case.instance.group.clone();
    let because = alloc::string::ToString::to_string(last);
    let record = RejectionRecord { group, wait: wait.wait, at: case.now, because };
    Action::Record { revision: case.revision(&key), key, record: Record::Rejection(record) }
}
