//! Tells one wait of an instance from the next, and keeps that on record: evidence of one proves nothing for another.
//!
//! The cloud does not say when a wait began, nor which one it is. A wait begins when an instance is first described as waiting,
//! and is over when it is described in any other state. A whole round (admitted, served, root volume replaced, waiting again)
//! may pass between two descriptions, and then the agent tells: **an instance that waits with an admission of this wait on
//! record, and reports from another boot than was admitted, waits anew.** Whether the cloud took our CONTINUE is not asked,
//! since after a restart nobody knows. An instance that merely rebooted between the admission's record and CONTINUE gets a new
//! wait too: it has to prove itself again anyway, and all it gains is a later deadline.
//!
//! Descriptions lag, and one may even be older than the one before it. So for a while after the cloud took our CONTINUE, an
//! instance that is described as waiting (still, or again) is on its way, and no new wait begins.
//!
//! An instance waits on its way into a warm pool, and once more on its way out, perhaps days later: two waits, and what was proven
//! in the first proves nothing in the second.
//!
//! Planted bug `ignore_boot` (tests/simulation): take the boot that speaks for the one that was admitted.

use super::{
    admitted,
    case::Case,
    complete::{described_until, is_described},
    in_place,
    opinion::Opinion,
};
use crate::{
    action::Action,
    instance::{LifecycleState, WaitId},
    reason::Reason,
    record::{Key, Record, WaitRecord},
    timestamp::Timestamp,
};

/// Answers for a waiting instance whose wait is not on record.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    if !case.instance.state.is_waiting() {
        return None;
    }
    match case.wait() {
        // Nobody saw it in the pool. (Never the other way round: an old description may show the former wait once more.)
        Some(wait) if wait.warm && !is_warm(case) => Some(begin(case)),
        Some(wait) if admitted::propagates(case, wait) => None,
        Some(wait) if !wait.over && !began_anew(case, wait) => None,
        Some(_) | None => Some(begin(case)),
    }
}

/// Holds the instance until the wait that it is in is on record. Nothing is recorded on an old description: in the meantime
/// the instance may have served, and one that served without a wait on record looks as if it had bypassed the gate.
pub(super) fn begin(case: &Case<'_>) -> Opinion {
    let opinion = Opinion::held(case, Reason::WaitNotRecorded);
    if !is_described(case, case.wait(), Timestamp(0)) {
        return opinion.wishing(Action::Describe(case.instance.group.clone()));
    }
    let wait = WaitId(case.wait().map_or(1, |last| last.wait.0 + 1));
    let (group, warm) = (case.instance.group.clone(), is_warm(case));
    let record = WaitRecord { group, wait, since: case.now, over: false, warm };
    opinion.wishing(write(case, record)).until(case, described_until(case))
}

/// Adds the record that a wait is over, where it is and none says so.
pub(super) fn over(case: &Case<'_>, opinion: Opinion) -> Opinion {
    let wait = case.wait().filter(|wait| !wait.over && !case.instance.state.is_waiting() && !in_place::slipped(case));
    let Some(wait) = wait.filter(|_| is_described(case, None, Timestamp(0))) else {
        return opinion;
    };
    opinion.wishing(write(case, WaitRecord { over: true, ..wait.clone() })).until(case, described_until(case))
}

fn is_warm(case: &Case<'_>) -> bool {
    case.instance.state == LifecycleState::WarmedPendingWait
}

fn began_anew(case: &Case<'_>, wait: &WaitRecord) -> bool {
    let admitted = case.admission().and_then(|admission| admission.boot.as_ref());
    let speaks = case.instance.evidence.as_ref();
    let speaks = speaks.filter(|evidence| evidence.wait == wait.wait && evidence.challenged_at >= wait.since);
    admitted.is_some_and(|boot| speaks.is_some_and(|evidence| evidence.boot != *boot))
}

fn write(case: &Case<'_>, record: WaitRecord) -> Action {
    let key = Key::Wait(case.id.clone());
    Action::Record { revision: case.revision(&key), key, record: Record::Wait(record) }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, over, rule};
    use crate::{decide::opinion::Opinion, instance::LifecycleState, observation::Answer};

    #[test]
    fn a_wait_begins_when_it_is_seen() {
        let (unseen, pooled) =
            (|| in_state(LifecycleState::PendingWait), || in_state(LifecycleState::WarmedPendingWait));
        let begins = |wait: u64, until: &str| alloc::format!("held wait_not_recorded, wait/i-1 {wait}, until {until}");
        let taken = |answer| waiting().wait(1, true).admission(1).continued(99, answer);
        let rows = [
            (unseen(), 10, begins(1, "10+")),
            (unseen(), 11, "held wait_not_recorded, describe web".into()),
            (waiting(), 1, "not ours".into()),
            (unseen().wait(3, true), 1, begins(4, "10+")),
            (in_state(LifecycleState::Pending), 1, "not ours".into()),
            // Nobody saw it leave, but another boot speaks.
            (proven(), 100, "not ours".into()),
            (proven().reported(ready().of_boot("other").challenged(at(96))), 100, begins(2, "108+")),
            (proven().reported(ready().of_boot("other").challenged(at(96)).of_wait(0)), 100, "not ours".into()),
            (
                proven().admission_of(1, None, None).reported(ready().of_boot("other").challenged(at(96))),
                100,
                "not ours".into(),
            ),
            (waiting().reported(ready().of_boot("other")), 100, "not ours".into()),
            // Described as waiting again, just after CONTINUE was taken, or may have been.
            (taken(Some(Answer::Accepted)).described(158), 159, "not ours".into()),
            (taken(Some(Answer::Accepted)).described(159), 159, begins(2, "169+")),
            (taken(None).described(158), 159, "not ours".into()),
            (taken(None).described(159), 159, begins(2, "169+")),
            // Into the warm pool, and out of it.
            (pooled(), 10, begins(1, "10+")),
            (pooled().wait(1, false).warm(), 1, "not ours".into()),
            (proven().warm(), 100, begins(2, "108+")),
            (taken(Some(Answer::Accepted)).warm().described(158), 159, begins(2, "168+")),
            (pooled().wait(2, false), 1, "not ours".into()),
        ];
        check(rule, &rows.each_ref().map(|(scene, now, told)| (scene.clone(), *now, told.as_str())));
    }

    #[test]
    fn a_wait_is_over_when_it_is_seen_to_be() {
        let serving = || in_state(LifecycleState::InService);
        check(
            |case| Some(over(case, Opinion::default())),
            &[
                (serving().wait(2, false), 10, "nothing, wait/i-1 2 over, until 10+"),
                (serving().wait(2, false), 11, "nothing"),
                (serving().wait(2, true), 1, "nothing"),
                (serving(), 1, "nothing"),
                (serving().in_place().wait(2, false), 10, "nothing"),
                (serving().in_place().wait(2, false).admission(2), 10, "nothing, wait/i-1 2 over, until 10+"),
                (waiting(), 1, "nothing"),
                (in_state(LifecycleState::Pending).wait(1, false), 1, "nothing, wait/i-1 1 over, until 10+"),
            ],
        );
    }
}
