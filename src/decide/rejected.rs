//! Answers for a waiting instance whose rejection is on record: final for this wait, so that ABANDON is due.
//!
//! ABANDON is sent only for a short time after the rejection's record, the instance's turn. When it was not taken in that time,
//! the instance waits for another turn, with a new record: so abandons of a group are as far apart as they should be, whatever
//! was lost and however often the controller was restarted.

use alloc::boxed::Box;

use super::{case::Case, complete::complete, give_up, heartbeat, hold, opinion::Opinion, pacing};
use crate::{
    action::Action,
    reason::Reason,
    record::{RejectionRecord, WaitRecord},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.enforces() && case.instance.state.is_waiting())?;
    let rejection = case.rejection()?;
    let last = hold::reason(case, wait);
    let opinion =
        Opinion::rejected(case, reason(case, wait, &last)).by(case, wait).until(case, super::proof::stale_at(case));
    let taken_at = case.give_ups(wait).and_then(|attempts| attempts.accepted_at);
    if let Some(taken_at) = taken_at
        && case.instance.described_at < taken_at + case.limits.propagation_max
    {
        let stale = case.instance.described_at < taken_at;
        return Some(opinion.and(stale.then(|| Action::Describe(case.instance.group.clone()))));
    }
    Some(heartbeat::with(case, wait, pursue(case, wait, rejection, &last, opinion)))
}

fn pursue(case: &Case<'_>, wait: &WaitRecord, rejection: &RejectionRecord, last: &Reason, opinion: Opinion) -> Opinion {
    let turn_ends_at = pacing::turn_ends_at(rejection, case.limits);
    if case.now < turn_ends_at {
        let call = Action::GiveUp(case.held(wait));
        return complete(case, wait, call, rejection.at, opinion).until(case, turn_ends_at);
    }
    let next_turn = pacing::next_turn(case);
    if case.now < next_turn {
        return opinion.until(case, next_turn);
    }
    opinion.wishing(give_up::write(case, wait, last))
}

fn reason(case: &Case<'_>, wait: &WaitRecord, last: &Reason) -> Reason {
    let passed = Reason::DeadlinePassed { deadline: case.deadline(wait), last: Box::new(last.clone()) };
    match case.give_ups(wait).and_then(|attempts| attempts.refused.as_ref()) {
        Some(because) => Reason::Refused { because: because.clone(), wanted: Box::new(passed) },
        None => passed,
    }
}
