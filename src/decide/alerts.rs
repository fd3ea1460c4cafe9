//! What should be told of each group now. An alert is a function of what is known, like everything else: it begins, stays and
//! ends by itself. How often and to whom it is told is decided elsewhere.
//!
//! Where evidence is missing, that is a finding: agents that say nothing, and a cloud that cannot be described, are told like
//! what is wrong.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    Breaker, Freeze, Guard,
    gated::{Gated, Members},
};
use crate::{
    alert::{Alert, AlertKey},
    instance::{GroupName, InstanceId, LifecycleState},
    observed::{Group, Instance, Observed},
    policy::{GroupPolicy, Limits, Policy},
    record::{DetachRecord, Key, Record},
    timestamp::Timestamp,
    verdict::Ruling,
};

mod broken;
mod bypassed;
mod certificates;
mod common_cause;
mod deaf;
mod detached;
mod disputed;
mod drifted;
mod refresh_waits;
mod silent;
mod stalled;
mod undescribed;
mod unguarded;
mod unprotected;

/// One group, with all that is known of it.
pub(super) struct Scope<'a> {
    name: &'a GroupName,
    /// As described; `None` if it never was.
    group: Option<&'a Group>,
    policy: &'a GroupPolicy,
    limits: &'a Limits,
    observed: &'a Observed,
    rulings: &'a BTreeMap<InstanceId, Ruling>,
    breaker: &'a Breaker,
    freeze: Option<&'a Freeze>,
    guard: Guard,
    gated: &'a Gated<'a>,
    now: Timestamp,
}

type Rule = fn(&Scope<'_>, &mut BTreeSet<Timestamp>) -> Option<Alert>;

const RULES: [Rule; 13] = [
    stalled::rule,
    broken::rule,
    bypassed::rule,
    drifted::rule,
    silent::rule,
    disputed::rule,
    deaf::rule,
    undescribed::rule,
    unguarded::rule,
    common_cause::rule,
    detached::rule,
    refresh_waits::rule,
    unprotected::rule,
];

/// Of the controller itself.
const OWN_RULES: [Rule; 4] = [certificates::aging, certificates::expiring, certificates::unusable, deaf::rule];

/// What was decided of a group.
pub(super) struct Ruled<'a> {
    pub(super) rulings: &'a BTreeMap<InstanceId, Ruling>,
    pub(super) breaker: &'a Breaker,
    pub(super) freeze: Option<&'a Freeze>,
    pub(super) guard: Guard,
}

/// All that fires of a group; and when that changes by time alone.
pub(super) fn firing(ruled: &Ruled<'_>, gated: &Gated<'_>, wakes: &mut BTreeSet<Timestamp>) -> Vec<Alert> {
    let scope = Scope::of(ruled, gated);
    RULES.iter().filter_map(|rule| rule(&scope, wakes)).collect()
}

/// The same of the controller itself.
pub(super) fn own(
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> BTreeMap<AlertKey, Alert> {
    let (name, group_policy, members) = (GroupName::controller(), GroupPolicy::default(), Members::default());
    let (breaker, rulings) = (Breaker::default(), BTreeMap::new());
    let ruled = Ruled { rulings: &rulings, breaker: &breaker, freeze: None, guard: Guard::default() };
    let gated = Gated::of((&name, &group_policy), &policy.limits, &members, observed, now);
    let scope = Scope::of(&ruled, &gated);
    let fires = OWN_RULES.iter().filter_map(|rule| rule(&scope, wakes));
    fires.map(|alert| (AlertKey { group: name.clone(), code: alert.code().into() }, alert)).collect()
}

impl<'a> Scope<'a> {
    fn of(ruled: &Ruled<'a>, gated: &'a Gated<'a>) -> Self {
        let Gated { name, group, policy, limits, observed, now, .. } = *gated;
        let Ruled { rulings, breaker, freeze, guard } = *ruled;
        Self { name, group, policy, limits, observed, rulings, breaker, freeze, guard, gated, now }
    }

    fn members(&self) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> + use<'a> {
        self.gated.members.instances.iter().copied()
    }

    fn serving(&self) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> + use<'a> {
        self.members().filter(|(_, instance)| instance.state == LifecycleState::InService)
    }

    /// The word that the group does without the gate, while it is in effect.
    const fn detached(&self) -> Option<&'a DetachRecord> {
        self.gated.detached
    }

    /// When the present wait of an instance began.
    fn wait_since(&self, id: &InstanceId) -> Option<Timestamp> {
        match self.observed.records.get(&Key::Wait(id.clone())) {
            Some((_, Record::Wait(wait))) if !wait.over => Some(wait.since),
            _ => None,
        }
    }

    /// Whether `at` has come; else it is when this is to be looked at again.
    fn has_come(&self, at: Timestamp, wakes: &mut BTreeSet<Timestamp>) -> bool {
        if self.now < at {
            wakes.insert(at);
        }
        self.now >= at
    }
}

#[cfg(test)]
mod testing {
    use alloc::{
        collections::BTreeMap,
        string::{String, ToString},
        vec::Vec,
    };

    use crate::{
        alert::Alert,
        decide::{decide, fixtures::*},
    };

    /// What is told of that kind, and when it is looked at next if it is not.
    pub(super) fn told(scene: &Scene, now: u64, code: &str) -> String {
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let all: BTreeMap<&str, &Alert> = decision.alerts.iter().map(|(key, alert)| (&*key.code, alert)).collect();
        all.get(code).map_or_else(|| "-".into(), ToString::to_string)
    }

    pub(super) fn check(code: &str, rows: &[(Scene, u64, &str)]) {
        for (number, (scene, now, expected)) in rows.iter().enumerate() {
            assert_eq!(told(scene, *now, code), *expected, "row {number}, at {now} s");
        }
    }

    /// Nothing changes by time alone before it is said to.
    pub(super) fn wakes(scene: &Scene, now: u64, then: u64, code: &str) {
        assert_ne!(told(scene, now, code), told(scene, then, code));
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let wake_at = decision.wake_at.expect("it wakes");
        assert!(wake_at <= at(then), "it wakes at {wake_at}");
        let codes = |now| -> Vec<String> {
            let decision = decide(&scene.observed, &scene.policy, now);
            decision.alerts.into_keys().map(|key| key.code).collect()
        };
        assert_eq!(codes(at(now)), codes(crate::timestamp::Timestamp(at(then).0 - 1)));
    }
}
