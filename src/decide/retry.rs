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
        AttemptKey::Record(_) | AttemptKey::Tell(..) if attempts.was_accepted() => at + limits.call_timeout,
        AttemptKey::Describe(_) if attempts.was_accepted() => at + limits.backoff_min,
        AttemptKey::Record(_)
        | AttemptKey::Describe(_)
        | AttemptKey::Admit(..)
        | AttemptKey::KeepWaiting(..)
        | AttemptKey::GiveUp(..)
        | AttemptKey::Withdraw(..)
        | AttemptKey::Return(..)
        | AttemptKey::Protect(..)
        | AttemptKey::Tell(..) => at,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec, vec::Vec};

    use super::{super::fixtures::*, sendable};
    use crate::{
        action::Action,
        instance::WaitId,
        observation::Answer,
        record::{GroupRecord, Key, Record},
    };

    fn wishes(scene: &Scene) -> Vec<Action> {
        let wait = crate::record::WaitRecord { group: web(), wait: WaitId(1), since: at(0), over: false, warm: false };
        let record = Record::Group(GroupRecord { accepted: vec![], at: at(0) });
        let held = scene.case(at(0)).held(&wait);
        vec![
            Action::Record { key: Key::Group(web()), revision: None, record },
            Action::Describe(web()),
            Action::Describe(web()),
            Action::KeepWaiting(held),
        ]
    }

    #[test]
    fn what_was_tried_waits_its_time() {
        let tried = |answer: Option<Answer>| {
            wishes(&waiting()).into_iter().fold(waiting(), |scene, wish| scene.tried(wish.key(), 10, answer.clone()))
        };
        for (answer, now, sent, until) in [
            (Some(Answer::Throttled), 10, vec![], vec!["11"]),
            (Some(Answer::Throttled), 11, vec!["group/web", "describe web", "keep i-1"], vec![]),
            (None, 39, vec![], vec!["40"]),
            (None, 40, vec!["group/web", "describe web", "keep i-1"], vec![]),
            (Some(Answer::Accepted), 10, vec!["keep i-1"], vec!["11", "40"]),
            (Some(Answer::Accepted), 11, vec!["describe web", "keep i-1"], vec!["40"]),
            (Some(Answer::Accepted), 40, vec!["group/web", "describe web", "keep i-1"], vec![]),
        ] {
            let scene = tried(answer);
            let mut wakes = BTreeSet::new();
            let actions = sendable(wishes(&scene), &scene.observed, &scene.policy, at(now), &mut wakes);
            assert_eq!(actions.iter().map(said).collect::<Vec<_>>(), sent, "at {now}");
            assert_eq!(wakes.into_iter().map(seconds).collect::<Vec<_>>(), until, "at {now}");
        }
    }
}
