//! Ranks what is to be done, and keeps the calls to the cloud within their budget.
//!
//! Records are no calls: the store is ours. Of the calls, those that let an instance serve come first, then those that keep one
//! from being lost to a timer or to a scale-in, and descriptions last, since a later one is as good.
//!
//! The budget bounds how many are under way. While the cloud presses us (`Throttling`), it is a share of that, and a rate: calls
//! of the last second count like those under way, or quick answers would let us make as many as before. What one call costs is
//! [`AttemptKey::cost`]; the last that is granted may cost more than is left, or a dear one would never be made.
//!
//! Planted bug (tests/simulation): `throttling_ignored`.

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use crate::{
    action::{Action, AttemptKey},
    attempt::Attempts,
    observed::Observed,
    policy::Policy,
    timestamp::Timestamp,
};

/// What may be sent now, most urgent first. What is left out comes when a call of before no longer counts.
pub(super) fn granted(
    mut wishes: Vec<Action>,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> Vec<Action> {
    wishes.sort_by_key(rank);
    if wishes.iter().all(|wish| wish.key().cost() == 0) {
        return wishes;
    }
    let budget = Budget::of(observed, policy, now);
    let (mut spent, mut left_out) = (budget.spent(), false);
    wishes.retain(|wish| {
        let cost = wish.key().cost();
        let granted = cost == 0 || spent < budget.calls_max;
        spent += if granted { cost } else { 0 };
        left_out |= !granted;
        granted
    });
    if left_out {
        wakes.extend(budget.counted().map(|(_, until)| until));
    }
    wishes
}

struct Budget<'a> {
    observed: &'a Observed,
    policy: &'a Policy,
    calls_max: usize,
    is_rate: bool,
    now: Timestamp,
}

impl<'a> Budget<'a> {
    fn of(observed: &'a Observed, policy: &'a Policy, now: Timestamp) -> Self {
        let most = policy.limits.calls_per_turn_max;
        let pressed = observed.pressure.allows(most, now);
        Self { observed, policy, calls_max: pressed.unwrap_or(most), is_rate: pressed.is_some(), now }
    }

    fn spent(&self) -> usize {
        self.counted().map(|(key, _)| key.cost()).sum()
    }

    /// The calls that count, and until when each does.
    fn counted(&self) -> impl Iterator<Item = (&'a AttemptKey, Timestamp)> + '_ {
        let calls = self.observed.attempts.iter().filter(|(key, _)| key.is_call());
        calls.filter_map(|(key, attempts)| Some((key, self.counts_until(attempts)?)))
    }

    /// Until it is answered, or taken for lost; and, where a rate is kept, for a second.
    fn counts_until(&self, attempts: &Attempts) -> Option<Timestamp> {
        let limits = &self.policy.limits;
        let under_way = attempts.under_way(limits, self.now).then(|| attempts.next_at(limits));
        let lately = Some(attempts.last_sent + SECOND).filter(|until| self.is_rate && self.now < *until);
        under_way.max(lately)
    }
}

const fn rank(action: &Action) -> u8 {
    match action {
        Action::Record { .. } | Action::Tell { .. } => 0,
        Action::Admit(_) => 1,
        Action::KeepWaiting(_) => 2,
        Action::Protect(_) => 3,
        // As CONTINUE, and as ABANDON.
        Action::Return(_) => 1,
        Action::Withdraw(_) => 4,
        Action::GiveUp(_) => 4,
        Action::Describe(_) => 5,
    }
}

/// What a rate is by.
const SECOND: Duration = Duration::from_secs(1);

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
        let wait = WaitRecord { group: web(), wait: WaitId(1), since: at(0), over: false, warm: false };
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
        // Throttled at 10 s: half of the budget, and calls of the last second count.
        let quick = || {
            let mut scene = throttled();
            scene.observed.pressure.throttled(at(10));
            scene
        };
        let answered = |at| quick().tried(AttemptKey::KeepWaiting("i-2".into(), WaitId(1)), at, Some(Answer::Accepted));
        for (scene, calls_max, now, granted_count, until) in [
            (waiting(), 5, 10, 6, vec![]),
            (waiting(), 3, 10, 4, vec![]),
            (waiting(), 0, 10, 1, vec![]),
            // A description costs three.
            (waiting().tried(db(), 10, None), 8, 11, 6, vec![]),
            (waiting().tried(db(), 10, None), 7, 11, 5, vec!["40"]),
            (waiting().tried(db(), 10, None), 4, 11, 2, vec!["40"]),
            (waiting().tried(db(), 10, None), 0, 11, 1, vec!["40"]),
            (waiting().tried(db(), 10, None), 5, 40, 6, vec![]),
            (waiting().tried(record(), 10, None), 5, 11, 6, vec![]),
            // Answered, and not pressed: what was sent is over.
            (throttled(), 5, 10, 6, vec![]),
            (quick(), 16, 10, 6, vec![]),
            (quick(), 14, 10, 5, vec!["11"]),
            (quick(), 10, 10, 3, vec!["11"]),
            (quick(), 6, 10, 1, vec!["11"]),
            (quick(), 6, 11, 4, vec![]),
            (quick(), 1, 11, 2, vec![]),
            (quick(), 6, 35, 6, vec![]),
            (answered(11), 6, 11, 3, vec!["12"]),
            (answered(11).continued(11, None), 6, 11, 2, vec!["12", "41"]),
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
