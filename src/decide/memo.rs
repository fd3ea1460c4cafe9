//! Decides like [`decide`](super::decide), and looks again only at the groups of which something was observed, or whose time has come.
//!
//! [`decide`](super::decide) is the specification: `turn == decide` after every step of the state machine and of the simulation,
//! and now and then in production. What is remembered is what was decided of a whole group: pace, breaker, freeze and guard look at
//! all of its instances, so that less would have to be put together again each time. A group that wishes for something is looked at in
//! every turn: what it would put on record says when. What groups have in common (lease, budget, sinks) is never remembered.
//!
//! Everything that is observed must go through [`Memo::fold`]: what is folded behind its back is not seen.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    Decision,
    gated::{Gated, Members, groups_of},
    group::{self, OfGroup},
    whole,
};
use crate::{
    instance::{GroupName, InstanceId},
    observation::Observation,
    observed::{Observed, Touched},
    policy::Policy,
    timestamp::Timestamp,
};

/// What was decided, and of whom something was observed since.
#[derive(Debug, Clone, Default)]
pub struct Memo {
    /// What was decided of each group, until it must be looked at again.
    groups: BTreeMap<GroupName, OfGroup>,
    /// Who is in a group, or has a record that names it.
    known: BTreeMap<GroupName, BTreeSet<InstanceId>>,
    dirty: BTreeSet<GroupName>,
    /// What all of it was decided by.
    policy: Policy,
    decided_at: Timestamp,
}

impl Memo {
    /// One that has decided nothing yet.
    pub fn of(observed: &Observed) -> Self {
        let mut memo = Self::default();
        for (group, members) in Members::of_each(observed) {
            memo.known.insert(group.clone(), members.names());
        }
        memo
    }

    /// Takes in one observation, and notes whom it is about.
    pub fn fold(&mut self, observed: &mut Observed, observation: Observation, now: Timestamp) {
        let Touched { groups, mut instances, whole } = Touched::by(&observation);
        instances.extend(whole.iter().filter_map(|group| self.known.get(group)).flatten().cloned());
        let before: Vec<_> = instances.iter().map(|id| groups_of(id, observed)).collect();
        let listening_since = observed.listening_since;
        observed.fold(observation, now);
        if observed.listening_since != listening_since {
            self.groups.clear();
        }
        for (id, before) in instances.iter().zip(before) {
            let after = groups_of(id, observed);
            for group in before.difference(&after) {
                self.known.get_mut(group).map(|known| known.remove(id));
            }
            for group in after.difference(&before) {
                self.known.entry(group.clone()).or_default().insert(id.clone());
            }
            self.dirty.extend(before);
            self.dirty.extend(after);
        }
        self.dirty.extend(groups);
    }

    /// What [`decide`](super::decide) gives.
    pub fn turn(&mut self, observed: &Observed, policy: &Policy, now: Timestamp) -> Decision {
        // Somebody set the clock: what was to come has come, and the other way round.
        if now < self.decided_at || self.policy != *policy {
            self.groups.clear();
            self.policy = policy.clone();
        }
        self.groups.retain(|name, group| !self.dirty.contains(name) && group.holds_at(now));
        for (name, of_group) in &policy.groups {
            if !self.groups.contains_key(name) {
                let members = self.known.get(name).map(|known| Members::among(known, name, observed));
                let members = members.unwrap_or_default();
                let gated = Gated::of((name, of_group), &policy.limits, &members, observed, now);
                self.groups.insert(name.clone(), group::decide(&gated));
            }
        }
        (self.dirty, self.decided_at) = (BTreeSet::new(), now);
        whole(&self.groups, observed, policy, now)
    }
}

impl OfGroup {
    /// What was wished for then would be wished for as of now; the rest stays as it is until it wakes.
    fn holds_at(&self, now: Timestamp) -> bool {
        self.wishes.is_empty() && self.wake_at.is_none_or(|at| now < at)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, *};
    use crate::decide::decide;

    /// A scene that is known to a memo, and decided by it: nothing is left to do in it.
    fn quiet() -> (Scene, Memo) {
        let scene = in_state(crate::instance::LifecycleState::InService).described(98);
        let mut memo = Memo::of(&scene.observed);
        assert_eq!(memo.turn(&scene.observed, &scene.policy, at(100)), decide(&scene.observed, &scene.policy, at(100)));
        (scene, memo)
    }

    fn is_right(memo: &mut Memo, scene: &Scene, now: u64) -> bool {
        memo.turn(&scene.observed, &scene.policy, at(now)) == decide(&scene.observed, &scene.policy, at(now))
    }

    /// What is not seen is not decided anew; and that is found.
    #[test]
    fn what_is_folded_behind_its_back_is_found() {
        let report = || Observation::Reported(ready().received(99));
        let (mut scene, mut memo) = quiet();
        memo.fold(&mut scene.observed, report(), at(99));
        assert!(is_right(&mut memo, &scene, 101));
        let (mut scene, mut memo) = quiet();
        scene.observed.fold(report(), at(99));
        assert!(!is_right(&mut memo, &scene, 101));
        assert!(is_right(&mut Memo::of(&scene.observed), &scene, 101));
    }

    /// Nothing is observed: what changes then changes by time alone.
    #[test]
    fn when_a_word_ends() {
        use crate::{instance::LifecycleState::PendingProceed, observation::Answer, record::Word};
        let rejected = || {
            let scene = waiting().rejection("i-1", 1, 1_200).beaten(1_250, Some(Answer::Accepted)).described(1_299);
            scene.reported(ready().challenged(at(1_298)).received(1_299))
        };
        let let_in = || in_state(PendingProceed).in_place().wait(1, true).admission(1).described(1_299);
        let let_in = || let_in().reported(ready().challenged(at(1_298)).received(1_299));
        let missed = |(scene, before, after): &(Scene, u64, u64)| {
            let mut memo = Memo::of(&scene.observed);
            memo.turn(&scene.observed, &scene.policy, at(*before));
            !is_right(&mut memo, scene, *after)
        };
        let rows = [
            (rejected().paused(1_310), 1_300, 1_310),
            (let_in().paused(1_310), 1_300, 1_310),
            (let_in().said(Word::Hold, 1, 1_290, 1_310), 1_300, 1_310),
        ];
        let missed: Vec<_> = (0..rows.len()).filter(|number| missed(&rows[*number])).collect();
        assert_eq!(missed, [0; 0]);
    }
}
