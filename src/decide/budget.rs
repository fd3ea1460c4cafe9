//! Ranks what is to be done, and keeps the calls to the cloud within their budget.
//!
//! Records are no calls: the store is ours. Of the calls, those that let an instance serve come first, then those that keep one
//! from being lost to a timer or to a scale-in, and descriptions last, since a later one is as good.

use alloc::{collections::BTreeSet, vec::Vec};

use crate::{
    action::{Action, AttemptKey},
    observed::Observed,
    policy::Policy,
    timestamp::Timestamp,
};

/// What may be sent now, most urgent first. What is left out comes when a call under way is answered or given up.
pub(super) fn granted(
    mut wishes: Vec<Action>,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> Vec<Action> {
    wishes.sort_by_key(rank);
    let (records, mut calls): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|wish| !is_call(&wish.key()));
    let calls_max = calls_max(observed, policy, now, wakes);
    if calls.len() > calls_max {
        calls.truncate(calls_max);
        wakes.extend(under_way(observed, policy, now));
    }
    records.into_iter().chain(calls).collect()
}

/// One at a time for as long as the cloud wants fewer: the bucket is one for the whole account.
fn calls_max(observed: &Observed, policy: &Policy, now: Timestamp, wakes: &mut BTreeSet<Timestamp>) -> usize {
    let throttled = observed.attempts.values().filter_map(|attempts| attempts.throttled_until(&policy.limits)).max();
    let throttled = throttled.filter(|until| *until > now);
    wakes.extend(throttled);
    let most = throttled.map_or(policy.limits.calls_per_turn_max, |_| 1);
    most.saturating_sub(under_way(observed, policy, now).count())
}

/// When each call that is under way is taken for lost.
fn under_way(observed: &Observed, policy: &Policy, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let calls = observed.attempts.iter().filter(|(key, _)| is_call(key));
    let under_way = calls.filter(move |(_, attempts)| attempts.under_way(&policy.limits, now));
    under_way.map(|(_, attempts)| attempts.next_at(&policy.limits))
}

const fn is_call(key: &AttemptKey) -> bool {
    match key {
        AttemptKey::Record(_) | AttemptKey::Tell(..) => false,
        AttemptKey::Describe(_) | AttemptKey::Admit(..) | AttemptKey::KeepWaiting(..) | AttemptKey::GiveUp(..) => true,
        AttemptKey::Protect(..) => true,
    }
}

const fn rank(action: &Action) -> u8 {
    match action {
        Action::Record { .. } | Action::Tell { .. } => 0,
        Action::Admit(_) => 1,
        Action::KeepWaiting(_) => 2,
        Action::Protect(_) => 3,
        Action::GiveUp(_) => 4,
        Action::Describe(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::{super::fixtures::*, *};
    use crate::{
        action::Protection,
        instance::WaitId,
        observation::Answer,
        record::{GroupRecord, Key, Record, WaitRecord},
    };

    fn wishes(scene: &Scene) -> Vec<Action> {
        let wait = WaitRecord { group: web(), wait: WaitId(1), since: at(0), over: false };
        let held = || scene.case(at(0)).held(&wait);
        let record = Record::Group(GroupRecord { accepted: vec![], at: Timestamp(0) });
        vec![
            Action::Describe(web()),
            Action::GiveUp(held()),
            Action::KeepWaiting(held()),
            Action::Protect(Protection { group: web(), instances: vec![i1()], protected: true }),
            Action::Admit(held()),
            Action::Record { key: Key::Group(web()), revision: None, record },
        ]
    }

    #[test]
    fn the_most_urgent_first_and_no_more_than_the_budget() {
        let all = ["group/web", "admit i-1", "keep i-1", "protect i-1", "give up i-1", "describe web"];
        let db = || AttemptKey::Describe("db".into());
        let throttled = || waiting().tried(db(), 10, Some(Answer::Throttled));
        let record = || AttemptKey::Record(Key::Wait("i-1".into()));
        for (scene, calls_max, now, granted_count, until) in [
            (waiting(), 5, 10, 6, vec![]),
            (waiting(), 3, 10, 4, vec![]),
            (waiting(), 0, 10, 1, vec![]),
            (waiting().tried(db(), 10, None), 4, 11, 4, vec!["40"]),
            (waiting().tried(db(), 10, None), 6, 11, 6, vec![]),
            (waiting().tried(db(), 10, None), 0, 11, 1, vec!["40"]),
            (waiting().tried(db(), 10, None), 5, 40, 6, vec![]),
            (waiting().tried(record(), 10, None), 5, 11, 6, vec![]),
            (throttled(), 4, 10, 2, vec!["11"]),
            (throttled(), 5, 11, 6, vec![]),
            (throttled().continued(10, None), 4, 10, 1, vec!["11", "40"]),
        ] {
            let mut scene = scene;
            scene.policy.limits.calls_per_turn_max = calls_max;
            let mut wakes = BTreeSet::new();
            let actions = granted(wishes(&scene), &scene.observed, &scene.policy, at(now), &mut wakes);
            assert_eq!(actions.iter().map(said).collect::<Vec<_>>(), all[..granted_count], "at {now}");
            assert_eq!(wakes.into_iter().map(seconds).collect::<Vec<_>>(), until, "at {now}");
        }
    }
}
