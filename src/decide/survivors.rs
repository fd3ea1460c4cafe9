//! Protects instances that are proven and serve from scale-in while new ones are not proven yet: an old one must not go before
//! its successor has shown that it is as it should be.
//!
//! **Impaired** is a group of which fewer serve than are wanted, or that has a launch on its way into service, or whose breaker is
//! open. The danger begins with the launch and not when it is late: a desired number that is lowered meanwhile lets the cloud
//! choose between the old that serve and the new that waits. Where all serve and none is launched, scale-in takes one proven
//! instance of many, and is nobody's business. An open breaker counts by itself, since what goes now does not come back; it
//! tries again by itself, so that a scale-in that is meant is put off and never prevented for good.
//!
//! The cloud keeps one bit for everybody, so whose it is must be known. **Ours is what was described as unprotected, was then put
//! on record, and was protected by a call after that.** What was protected already is somebody else's and never touched; so is
//! what became so after the record and before our first call. Each call is made on a fresh description, one at a time for a
//! group, and described again before the next; whom to let go is taken off the record only when a description shows it after
//! every call that might have protected it, those of an earlier life of this controller included. What remains is that somebody
//! else protects an instance in the second between a description and our call.
//!
//! Planted bugs (tests/simulation): `guard_never_protects`, `guard_never_releases`, `guard_clears_users`, `guard_writes_behind`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{Breaker, gated::Gated};
use crate::{
    action::{Action, AttemptKey, Protection},
    attempt::Attempts,
    instance::{GroupName, InstanceId, LifecycleState},
    observed::{Group, Instance, Observed},
    policy::{GroupPolicy, Limits},
    record::{Key, ProtectionRecord, Record},
    timestamp::Timestamp,
    verdict::Ruling,
};

#[cfg(test)]
mod tests;
mod wanted;

/// Whom of a group the guard protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// Nobody: it is switched off, the group only observes, or nothing is known of it yet.
    #[default]
    Off,
    /// Nobody: all is well.
    AtRest,
    /// All that are proven and serve: new ones are not proven yet.
    Impaired,
    /// All is well, and `always` keeps `ready_min` of them.
    Floor,
    /// Nobody: `always` would keep some, and an instance refresh would wait for them until it fails.
    StandsAside,
}

/// What the guard does in a group; its calls, and what must be on record for them, are added to `wishes`.
pub(super) fn protect(
    rulings: &BTreeMap<InstanceId, Ruling>,
    breaker: &Breaker,
    gated: &Gated<'_>,
    wishes: &mut Vec<Action>,
    wakes: &mut BTreeSet<Timestamp>,
) -> Guard {
    let Gated { name, policy, limits, observed, now, .. } = *gated;
    let Some(group) = gated.group.filter(|group| group.asked_at.is_some()) else { return Guard::Off };
    let kept = kept(name, observed);
    let scope = Scope { name, group, policy, limits, rulings, breaker, kept: &kept, gated, observed, now };
    let guard = scope.guard();
    scope.acts(&scope.wanted(guard), wishes, wakes);
    guard
}

/// Whom of a group we protect, by the record.
pub(super) fn kept(group: &GroupName, observed: &Observed) -> BTreeMap<InstanceId, Timestamp> {
    match observed.records.get(&Key::Protection(group.clone())) {
        Some((_, Record::Protection(record))) => record.instances.clone(),
        _ => BTreeMap::new(),
    }
}

/// One group, described, with all that is known of it.
struct Scope<'a> {
    name: &'a GroupName,
    group: &'a Group,
    policy: &'a GroupPolicy,
    limits: &'a Limits,
    rulings: &'a BTreeMap<InstanceId, Ruling>,
    breaker: &'a Breaker,
    kept: &'a BTreeMap<InstanceId, Timestamp>,
    gated: &'a Gated<'a>,
    observed: &'a Observed,
    now: Timestamp,
}

/// What becomes of an instance that is on record.
enum Step {
    Stays,
    ToProtect,
    ToRelease,
    Forgotten,
}

impl<'a> Scope<'a> {
    fn members(&self) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> + use<'a> {
        self.gated.members.instances.iter().copied()
    }

    fn acts(&self, wanted: &BTreeSet<&InstanceId>, wishes: &mut Vec<Action>, wakes: &mut BTreeSet<Timestamp>) {
        let claims: Vec<_> = self.members().filter(|(id, one)| self.is_to_be_claimed(id, one, wanted)).collect();
        let (mut to_protect, mut to_release, mut on_record) = (Vec::new(), Vec::new(), self.kept.clone());
        for (id, since) in self.kept {
            let instance = self.observed.instances.get(id).filter(|instance| instance.group == *self.name);
            match instance.map_or(Step::Forgotten, |instance| self.step(*since, instance, wanted.contains(id))) {
                Step::Stays => {}
                Step::ToProtect => to_protect.push(id),
                Step::ToRelease => to_release.push(id),
                Step::Forgotten => drop(on_record.remove(id)),
            }
        }
        if !claims.is_empty() {
            let looked_at = claims.iter().map(|(_, instance)| instance.described_at).min().unwrap_or_default();
            if self.is_fresh(looked_at, wakes) {
                on_record.extend(claims.iter().map(|(id, _)| ((*id).clone(), self.now)));
            } else {
                wishes.push(Action::Describe(self.name.clone()));
            }
        }
        if on_record != *self.kept {
            wishes.push(self.write(on_record));
        }
        // Whoever is to be protected comes first: fewer than are wanted must at no time be.
        if !to_protect.is_empty() {
            self.call(&to_protect, true, wishes, wakes);
        } else if claims.is_empty() && !to_release.is_empty() {
            self.call(&to_release, false, wishes, wakes);
        }
    }

    /// What is protected and not on record is protected by somebody else: there is nothing to do.
    fn is_to_be_claimed(&self, id: &InstanceId, instance: &Instance, wanted: &BTreeSet<&InstanceId>) -> bool {
        wanted.contains(id) && !instance.protected && !self.kept.contains_key(id)
    }

    fn step(&self, since: Timestamp, instance: &Instance, wanted: bool) -> Step {
        let serves = instance.state == LifecycleState::InService;
        match (instance.protected, wanted) {
            _ if instance.state == LifecycleState::Terminating => Step::Forgotten,
            (true, _) if !self.may_have_protected(since) => Step::Forgotten,
            (true, false) if serves => Step::ToRelease,
            (false, true) if serves => Step::ToProtect,
            (false, false) if self.is_surely_unprotected(since, instance) => Step::Forgotten,
            _ => Step::Stays,
        }
    }

    /// Whether a call of ours may have protected an instance that is on record since: one of this life, or of an earlier one.
    fn may_have_protected(&self, since: Timestamp) -> bool {
        let earlier = self.observed.listening_since.is_none_or(|began| since < began);
        earlier || self.tried(true).is_some_and(|attempts| attempts.last_sent >= since)
    }

    /// A description that shows no protection may be of a moment before we set it. It counts when nothing was ever sent, when
    /// the cloud took our word that it should go, or when it was asked for long after every call had its effect.
    fn is_surely_unprotected(&self, since: Timestamp, instance: &Instance) -> bool {
        let set_at = self.settled_at(true).max(self.earlier_calls_end());
        let released_at = self.tried(false).filter(|attempts| attempts.was_accepted() && attempts.last_sent >= set_at);
        let released_at = released_at.and_then(|attempts| attempts.accepted_at);
        !self.may_have_protected(since)
            || released_at.is_some_and(|at| instance.described_at >= at)
            || instance.described_at >= set_at + self.limits.propagation_max
    }

    /// Wishes for the call, or for what must come before it.
    fn call(&self, ids: &[&InstanceId], protected: bool, wishes: &mut Vec<Action>, wakes: &mut BTreeSet<Timestamp>) {
        let again_at = self.tried(protected).map_or(Timestamp(0), |attempts| attempts.next_at(self.limits));
        // What an earlier life sent must not arrive after this.
        let earlier = if protected { Timestamp(0) } else { self.earlier_calls_end() };
        let settled_at = self.settled_at(true).max(self.settled_at(false)).max(earlier);
        let may_at = settled_at.max(again_at);
        if self.now < may_at {
            wakes.insert(may_at);
            return;
        }
        let described = ids.iter().filter_map(|id| self.observed.instances.get(*id));
        let described_at = described.map(|instance| instance.described_at).min().unwrap_or_default();
        if described_at < settled_at || !self.is_fresh(described_at, wakes) {
            return wishes.push(Action::Describe(self.name.clone()));
        }
        let instances = ids.iter().take(INSTANCES_MAX).map(|id| (*id).clone()).collect();
        wishes.push(Action::Protect(Protection { group: self.name.clone(), instances, protected }));
    }

    fn write(&self, instances: BTreeMap<InstanceId, Timestamp>) -> Action {
        let key = Key::Protection(self.name.clone());
        let revision = self.observed.records.get(&key).map(|(revision, _)| *revision);
        Action::Record { key, revision, record: Record::Protection(ProtectionRecord { instances }) }
    }

    fn tried(&self, protected: bool) -> Option<&'a Attempts> {
        self.observed.attempts.get(&AttemptKey::Protect(self.name.clone(), protected))
    }

    fn settled_at(&self, protected: bool) -> Timestamp {
        self.tried(protected).map_or(Timestamp(0), |attempts| attempts.settled_at(self.limits))
    }

    /// When all calls of an earlier life have had their effect, where there may have been any.
    fn earlier_calls_end(&self) -> Timestamp {
        let Some(began) = self.observed.listening_since else { return Timestamp(0) };
        match self.kept.values().any(|since| *since < began) {
            true => began + self.limits.call_timeout,
            false => Timestamp(0),
        }
    }

    fn is_fresh(&self, described_at: Timestamp, wakes: &mut BTreeSet<Timestamp>) -> bool {
        let old_at = super::case::Case::too_old_at(described_at, self.limits.describe_age_max);
        if self.now < old_at {
            wakes.insert(old_at);
        }
        self.now < old_at
    }
}

/// In one attempt: ten requests of AWS, which are over within its time.
const INSTANCES_MAX: usize = 500;
