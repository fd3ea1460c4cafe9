//! Gives up a waiting instance that was not ready by its deadline: slowly, and not before its agent had a chance to be heard.
//!
//! A rejection goes on record before ABANDON is sent: it is what paces the group, also across a restart (see `pacing`). An
//! instance that was admitted in this wait is not given up. That it still waits means that CONTINUE never came through, or
//! that it waits anew and nobody saw it leave; in both cases its time begins anew.
//!
//! Where a balancer holds it, nothing can be ended, and nothing would come in its place: it stays held, whatever the deadline.
//!
//! Planted bugs (tests/simulation): `abandon_early`, `abandon_unpaced`, `abandon_after_restart_at_once`.

use super::{case::Case, hold, opinion::Opinion, pacing, waits};
use crate::{
    action::Action,
    reason::Reason,
    record::{Key, Record, RejectionRecord, WaitRecord, Warrant},
};

/// Answers for every waiting instance past its deadline that `admit` did not take.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.enforces() && case.instance.state.is_waiting() && !case.is_in_place())?;
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

pub(super) fn in_turn(case: &Case<'_>, wait: &WaitRecord, last: Reason) -> Opinion {
    let until = pacing::next_turn(case);
    if case.now < until {
        return Opinion::held(case, Reason::AbandonPaced { until, last: last.into() }).until(case, until);
    }
    let record = write(case, wait, &last, None);
    Opinion::held(case, Reason::RejectionNotRecorded { last: last.into() }).wishing(record)
}

/// The record that gives an instance its turn, or another one.
pub(super) fn write(case: &Case<'_>, wait: &WaitRecord, last: &Reason, warrant: Option<Warrant>) -> Action {
    let key = Key::Rejection(case.id.clone());
    let group = case.instance.group.clone();
    let because = alloc::string::ToString::to_string(last);
    let causes = last.causes();
    let outdated = match last {
        Reason::Outdated { present, .. } => Some(present.clone()),
        _ => None,
    };
    let record = RejectionRecord { group, wait: wait.wait, at: case.now, because, causes, warrant, outdated };
    Action::Record { revision: case.revision(&key), key, record: Record::Rejection(record) }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{
        action::AttemptKey, instance::LifecycleState, instance::WaitId, observation::Answer, outcome::Status,
        record::Key,
    };

    fn late() -> Scene {
        waiting().beaten(1_150, Some(Answer::Accepted))
    }

    #[test]
    fn not_before_the_deadline_and_not_unheard() {
        let paced = "held rejection_not_recorded(no_report), rejection/i-1, until 1750";
        check(
            rule,
            &[
                (late(), 1_199, "not ours"),
                (late(), 1_200, paced),
                (
                    late().reported(not_ready(&[Status::Unknown]).received(1_190)),
                    1_200,
                    "held rejection_not_recorded(checks_unknown), rejection/i-1, until 1220+",
                ),
                (late().observing(), 1_300, "not ours"),
                (late().listening_since(None), 1_300, "not ours"),
                (late().listening_since(Some(at(1_190))), 1_249, "held listening, until 1250"),
                (late().listening_since(Some(at(1_190))), 1_250, paced),
                (in_state(LifecycleState::InService).wait(1, false), 1_300, "not ours"),
                (in_state(LifecycleState::PendingWait), 1_300, "not ours"),
                (late().in_place(), 1_300, "not ours"),
            ],
        );
    }

    #[test]
    fn one_of_a_group_at_a_time() {
        let other = || late().beside("i-2", LifecycleState::PendingWait);
        let being_recorded = |answer| other().tried(AttemptKey::Record(Key::Rejection("i-2".into())), 1_200, answer);
        let given_up = |answer| {
            other().rejection("i-2", 1, 1_200).tried(AttemptKey::GiveUp("i-2".into(), WaitId(1)), 1_210, Some(answer))
        };
        let now = "held rejection_not_recorded(no_report), rejection/i-1, until 1750";
        let refused = Answer::Refused { because: "another revision".into() };
        check(
            rule,
            &[
                // A turn of 60 s, a call of 30 s, and the interval of 300 s.
                (other().rejection("i-2", 1, 900), 1_289, "held abandon_paced(no_report), until 1290"),
                (other().rejection("i-2", 1, 900), 1_290, now),
                (given_up(Answer::Accepted), 1_509, "held abandon_paced(no_report), until 1510"),
                (given_up(Answer::Accepted), 1_510, now),
                (given_up(Answer::NoActiveAction), 1_510, "held abandon_paced(no_report), until 1590"),
                // Taken in an earlier turn: this one's may still be.
                (
                    given_up(Answer::Accepted).rejection("i-2", 1, 1_211),
                    1_510,
                    "held abandon_paced(no_report), until 1601",
                ),
                (given_up(Answer::Accepted).rejection("i-2", 1, 1_210), 1_510, now),
                (being_recorded(None), 1_201, "held abandon_paced(no_report), until 1590"),
                (being_recorded(Some(unknown())), 1_201, "held abandon_paced(no_report), until 1590"),
                (being_recorded(Some(Answer::Accepted)), 1_201, "held abandon_paced(no_report), until 1590"),
                (being_recorded(Some(refused)), 1_201, now),
                (late().tried(AttemptKey::Record(Key::Rejection("i-1".into())), 1_200, None), 1_201, now),
                (
                    late().beside("i-2", LifecycleState::PendingWait).moved("i-2", "db").tried(
                        AttemptKey::Record(Key::Rejection("i-2".into())),
                        1_200,
                        None,
                    ),
                    1_201,
                    now,
                ),
                (late().rejection("i-9", 1, 1_100).in_group_of("i-9", "db"), 1_201, now),
            ],
        );
    }

    #[test]
    fn one_that_was_admitted_begins_anew() {
        check(
            rule,
            &[
                (late().admission(1).described(1_195), 1_205, "held wait_not_recorded, wait/i-1 2, until 1205+"),
                (late().admission(1).described(1_195), 1_206, "held wait_not_recorded, describe web"),
                (
                    late().admission(1).described(1_195).continued(1_196, Some(unknown())),
                    1_205,
                    "held wait_not_recorded, describe web",
                ),
                (
                    late().wait(2, false).admission(1),
                    1_205,
                    "held rejection_not_recorded(no_report), rejection/i-1, keep i-1",
                ),
            ],
        );
    }
}
