//! Paces abandons: at most one in a group per `abandon_interval_min`, as the cloud sees them.
//!
//! A rejection's record gives its instance a *turn*, a short time in which ABANDON may be sent. The last of it takes effect no
//! later than `call_timeout` after the turn's end. So the next turn begins an interval after that, or an interval after ABANDON
//! was known to be taken. All of it follows from the records, and holds across restarts.

use alloc::{collections::BTreeMap, string::String};
use core::time::Duration;

use super::{breaker::Breaker, case::Case, gated::Gated, opinion::Opinion};
use crate::{
    action::{Action, AttemptKey},
    attempt::Attempts,
    instance::{GroupName, InstanceId},
    observation::Answer,
    observed::Observed,
    policy::{GroupPolicy, Limits},
    reason::Reason,
    record::{Key, Record, RejectionRecord},
    timestamp::Timestamp,
};

/// The first moment at which ABANDON may no longer be sent on the strength of this record.
pub(super) fn turn_ends_at(rejection: &RejectionRecord, limits: &Limits) -> Timestamp {
    rejection.at + turn(limits)
}

/// When this instance may have a turn: an interval after all others of its group, and after its own last.
pub(super) fn next_turn(case: &Case<'_>) -> Timestamp {
    let group = &case.instance.group;
    let rejections = case.gated.members.rejections.iter();
    let recorded = rejections.map(|(id, rejection)| next_after(case, id, rejection));
    let being_recorded = being_recorded(case.observed).filter_map(|(id, attempts)| {
        let counts = id != case.id && is_of(case.observed, id, group) && may_have_been_done(attempts);
        counts.then(|| attempts.last_sent + longest(case.policy, case.limits))
    });
    let unreadable = unreadable(case).map(|at| at + longest(case.policy, case.limits));
    recorded.chain(being_recorded).chain(unreadable).max().unwrap_or(Timestamp(0))
}

/// A rejection that cannot be read gave its instance a turn, nobody knows when: no later than this controller began to lead.
fn unreadable(case: &Case<'_>) -> Option<Timestamp> {
    let of_group = |key: &Key| matches!(key, Key::Rejection(id) if is_of(case.observed, id, &case.instance.group));
    case.observed.listening_since.filter(|_| case.observed.unreadable.keys().any(of_group))
}

/// Attempts at recording a rejection: few, and one after the other among all attempts.
fn being_recorded(observed: &Observed) -> impl Iterator<Item = (&InstanceId, &Attempts)> {
    let first = AttemptKey::Record(Key::Rejection(InstanceId(String::new())));
    observed.attempts.range(first..).map_while(|(key, attempts)| match key {
        AttemptKey::Record(Key::Rejection(id)) => Some((id, attempts)),
        _ => None,
    })
}

/// Of several instances of a group whose turn it could be, only the one that waits longest (since its last turn, if it had
/// one) gets it; or the youngest, where it is given up to try whether its replacement fails. An operator's word waits for no turn, and takes everybody else's.
pub(super) fn one_each(opinions: &mut BTreeMap<InstanceId, Opinion>, breaker: &Breaker, gated: &Gated<'_>) {
    let tries = matches!(breaker, Breaker::HalfOpen { .. });
    let candidates = opinions.iter().filter_map(|(id, opinion)| {
        let (on_a_word, since) = (is_on_a_word(opinion)?, waits_since(gated.observed, id));
        let order = if tries { Timestamp(u64::MAX - since.0) } else { since };
        Some((!on_a_word, order, id.clone()))
    });
    let Some((.., first)) = candidates.min() else { return };
    for (id, opinion) in opinions.iter_mut() {
        if is_on_a_word(opinion) == Some(false) && *id != first {
            postpone(opinion, gated.now + longest(gated.policy, gated.limits));
        }
    }
}

/// Of an opinion that wishes to record a rejection: whether an operator gave the word.
fn is_on_a_word(opinion: &Opinion) -> Option<bool> {
    opinion.wishes.iter().find_map(|wish| match wish {
        Action::Record { record: Record::Rejection(rejection), .. } => Some(rejection.warrant.is_some()),
        Action::Record { .. }
        | Action::Describe(_)
        | Action::Admit(_)
        | Action::KeepWaiting(_)
        | Action::GiveUp(_)
        | Action::Withdraw(_)
        | Action::Return(_)
        | Action::Protect(_)
        | Action::Tell { .. } => None,
    })
}

fn waits_since(observed: &Observed, id: &InstanceId) -> Timestamp {
    let record = |key| observed.records.get(&key).map(|(_, record)| record);
    match (record(Key::Rejection(id.clone())), record(Key::Wait(id.clone()))) {
        (Some(Record::Rejection(rejection)), Some(Record::Wait(wait))) => rejection.at.max(wait.since),
        (_, Some(Record::Wait(wait))) => wait.since,
        _ => Timestamp(0),
    }
}

fn postpone(opinion: &mut Opinion, until: Timestamp) {
    opinion.wishes.retain(|wish| !matches!(wish.key(), AttemptKey::Record(Key::Rejection(_))));
    let Some(ruling) = &mut opinion.ruling else { return };
    if let Reason::RejectionNotRecorded { last } = &ruling.reason {
        ruling.reason = Reason::AbandonPaced { until, last: last.clone() };
    }
}

/// When the turn after this one begins.
fn next_after(case: &Case<'_>, id: &InstanceId, rejection: &RejectionRecord) -> Timestamp {
    let key = AttemptKey::GiveUp(id.clone(), rejection.wait);
    let taken_at = case.attempts(&key).filter(|attempts| attempts.was_accepted()).and_then(|known| known.accepted_at);
    match taken_at.filter(|at| *at >= rejection.at) {
        Some(taken_at) => taken_at + case.policy.abandon_interval_min,
        None => rejection.at + longest(case.policy, case.limits),
    }
}

/// From the beginning of one turn to that of the next, when nobody knows whether and when ABANDON was taken.
fn longest(policy: &GroupPolicy, limits: &Limits) -> Duration {
    turn(limits).saturating_add(limits.call_timeout).saturating_add(policy.abandon_interval_min)
}

/// Long enough for one attempt that is lost and another that is not.
fn turn(limits: &Limits) -> Duration {
    limits.call_timeout.saturating_mul(2)
}

fn may_have_been_done(attempts: &Attempts) -> bool {
    match attempts.answered {
        None | Some((Answer::Accepted | Answer::Unknown { .. }, _)) => true,
        Some((Answer::Throttled | Answer::NoActiveAction | Answer::Refused { .. }, _)) => false,
    }
}

fn is_of(observed: &Observed, id: &InstanceId, group: &GroupName) -> bool {
    observed.instances.get(id).is_some_and(|instance| instance.group == *group)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{super::fixtures::*, *};
    use crate::{decide::decide, instance::LifecycleState::PendingWait};

    /// Who gets the turn, and what is said of the others.
    fn turns(scene: &Scene) -> (Vec<String>, Vec<&'static str>) {
        let decision = decide(&scene.observed, &scene.policy, at(2_000));
        let records =
            decision.actions.iter().filter(|action| matches!(action, Action::Record { .. })).map(said).collect();
        (records, decision.rulings.values().map(|ruling| ruling.reason.code()).collect())
    }

    #[test]
    fn the_one_that_waits_longest_has_the_turn() {
        let three = || {
            let mut scene = waiting().beside("i-2", PendingWait).beside("i-3", PendingWait).described(2_000);
            scene.group_policy().breaker_failures = 9;
            scene.wait_of("i-2", 1, before(5), false).wait_of("i-3", 1, before(4), false)
        };
        let (paced, granted) = ("abandon_paced", "rejection_not_recorded");
        assert_eq!(turns(&three()), (["rejection/i-2".into()].into(), [paced, granted, paced].into()));
        // It had a turn, and ABANDON did not come through: now the others come first.
        let again = three().rejection("i-2", 1, 1_000);
        assert_eq!(turns(&again), (["rejection/i-3".into()].into(), [paced, "deadline_passed", granted].into()));
        let all = again.rejection("i-3", 1, 1_001).rejection("i-1", 1, 1_002);
        assert_eq!(turns(&all).0, ["rejection/i-2"]);
        // Of an earlier wait: it counts from when this one began.
        let earlier = three().wait_of("i-3", 2, before(6), false).rejection("i-3", 1, 1_000);
        assert_eq!(turns(&earlier).0, ["rejection/i-2"]);
        // Turns before the present wait say nothing about how long it has waited.
        let anew = three().rejection("i-3", 1, 400).rejection("i-2", 1, 500).rejection("i-1", 1, 600);
        assert_eq!(turns(&anew.wait_of("i-3", 2, at(700), false)).0, ["rejection/i-2"]);
        let tied = three().wait_of("i-3", 1, before(5), false);
        assert_eq!(turns(&tied).0, ["rejection/i-2"]);
    }

    #[test]
    fn an_operators_word_waits_for_no_turn() {
        let two = || {
            let scene = waiting().beside("i-2", PendingWait).wait_of("i-2", 1, before(5), false).described(2_000);
            scene.said(crate::record::Word::Reject, 1, 1_990, 3_000)
        };
        assert_eq!(
            turns(&two()),
            (["rejection/i-1".into()].into(), ["rejection_not_recorded", "abandon_paced"].into())
        );
        let after = two().rejection("i-2", 1, 1_999);
        assert_eq!(turns(&after).0, ["rejection/i-1"]);
    }

    #[test]
    fn who_is_put_off_is_told_until_when() {
        let scene = waiting().beside("i-2", PendingWait).wait_of("i-2", 1, before(5), false).described(2_000);
        let decision = decide(&scene.observed, &scene.policy, at(2_000));
        let last = Reason::NoReport { since: at(0) }.into();
        assert_eq!(decision.rulings[&i1()].reason, Reason::AbandonPaced { until: at(2_390), last });
    }
}
