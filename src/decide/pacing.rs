//! Paces abandons: at most one in a group per `abandon_interval_min`, as the cloud sees them.
//!
//! A rejection's record gives its instance a *turn*, a short time in which ABANDON may be sent. The last of it takes effect no
//! later than `call_timeout` after the turn's end. So the next turn begins an interval after that, or an interval after ABANDON
//! was known to be taken. All of it follows from the records, and holds across restarts.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::{breaker::Breaker, case::Case, opinion::Opinion};
use crate::{
    action::{Action, AttemptKey},
    attempt::Attempts,
    instance::{GroupName, InstanceId},
    observation::Answer,
    observed::Observed,
    policy::{GroupPolicy, Limits, Policy},
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
    let rejections = case.observed.records.iter().filter_map(|(key, (_, record))| match (key, record) {
        (Key::Rejection(id), Record::Rejection(rejection)) if rejection.group == *group => Some((id, rejection)),
        _ => None,
    });
    let recorded = rejections.map(|(id, rejection)| next_after(case, id, rejection));
    let being_recorded = case.observed.attempts.iter().filter_map(|(key, attempts)| match key {
        AttemptKey::Record(Key::Rejection(id)) if id != case.id && is_of(case.observed, id, group) => {
            may_have_been_done(attempts).then(|| attempts.last_sent + longest(case.policy, case.limits))
        }
        _ => None,
    });
    recorded.chain(being_recorded).max().unwrap_or(Timestamp(0))
}

/// Of several instances of a group whose turn it could be, only the one that waits longest (since its last turn, if it had
/// one) gets it; or the youngest, where it is given up to try whether its replacement fails. An operator's word waits for no turn, and takes everybody else's.
pub(super) fn one_each(
    opinions: &mut BTreeMap<InstanceId, Opinion>,
    breakers: &BTreeMap<GroupName, Breaker>,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
) {
    let mut first: BTreeMap<GroupName, (bool, Timestamp, InstanceId)> = BTreeMap::new();
    for (id, opinion) in opinions.iter() {
        let Some((group, on_a_word)) = wished_for(opinion) else { continue };
        let since = waits_since(observed, id);
        let tries = matches!(breakers.get(group), Some(Breaker::HalfOpen { .. }));
        let order = if tries { Timestamp(u64::MAX - since.0) } else { since };
        let candidate = (!on_a_word, order, id.clone());
        let known = first.entry(group.clone()).or_insert_with(|| candidate.clone());
        *known = candidate.min(known.clone());
    }
    for (id, opinion) in opinions.iter_mut() {
        let Some((group, on_a_word)) = wished_for(opinion) else { continue };
        if !on_a_word && first[group].2 != *id {
            let until = now + policy.groups.get(group).map_or(Duration::ZERO, |group| longest(group, &policy.limits));
            postpone(opinion, until);
        }
    }
}

/// The group of the rejection that an opinion wishes to record, and whether an operator gave the word.
fn wished_for(opinion: &Opinion) -> Option<(&GroupName, bool)> {
    opinion.wishes.iter().find_map(|wish| match wish {
        Action::Record { record: Record::Rejection(rejection), .. } => {
            Some((&rejection.group, rejection.warrant.is_some()))
        }
        Action::Record { .. }
        | Action::Describe(_)
        | Action::Admit(_)
        | Action::KeepWaiting(_)
        | Action::GiveUp(_)
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
    fn turns(scene: &Scene) -> (Vec<alloc::string::String>, Vec<&'static str>) {
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
