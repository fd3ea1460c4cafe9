//! Keeps back what is under way, what was tried a moment ago, and what is wished for twice.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    action::{Action, AttemptKey},
    attempt::Attempts,
    observed::Observed,
    policy::{Limits, Policy},
    timestamp::Timestamp,
};

pub(super) fn sendable(
    wishes: Vec<Action>,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> Vec<Action> {
    let mut sendable = BTreeMap::new();
    for wish in wishes {
        let key = wish.key();
        let attempts = observed.attempts.get(&key);
        match attempts.map(|attempts| next_at(&key, attempts, &policy.limits)).filter(|at| *at > now) {
            Some(at) => drop(wakes.insert(at)),
            None => drop(sendable.insert(key, wish)),
        }
    }
    sendable.into_values().collect()
}

/// What was accepted and is wished for again has its own pace: the echo of a record comes from the store, and a group is
/// described no more often than a failed call is repeated, however many of its instances ask for it.
fn next_at(key: &AttemptKey, attempts: &Attempts, limits: &Limits) -> Timestamp {
    let at = attempts.next_at(limits);
    match key {
        AttemptKey::Record(_) if attempts.was_accepted() => at + limits.call_timeout,
        AttemptKey::Describe(_) if attempts.was_accepted() => at + limits.backoff_min,
        AttemptKey::Record(_)
        | AttemptKey::Describe(_)
        | AttemptKey::Admit(..)
        | AttemptKey::KeepWaiting(..)
        | AttemptKey::GiveUp(..) => at,
    }
}
