//! Ranks what is to be done, and keeps the calls to the cloud within their budget.
//!
//! Records are no calls: the store is ours. Of the calls, those that let an instance serve come first, then those that keep one
//! from being lost to a timer, and descriptions last, since a later one is as good.

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
        AttemptKey::Record(_) => false,
        AttemptKey::Describe(_) | AttemptKey::Admit(..) | AttemptKey::KeepWaiting(..) | AttemptKey::GiveUp(..) => true,
    }
}

const fn rank(action: &Action) -> u8 {
    match action {
        Action::Record { .. } => 0,
        Action::Admit(_) => 1,
        Action::KeepWaiting(_) => 2,
        Action::GiveUp(_) => 3,
        Action::Describe(_) => 4,
    }
}
