//! What should be told of each group now. An alert is a function of what is known, like everything else: it begins, stays and
//! ends by itself. How often and to whom it is told is decided elsewhere.
//!
//! Where evidence is missing, that is a finding: agents that say nothing, and a cloud that cannot be described, are told like
//! what is wrong.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Breaker, Freeze, Guard};
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
mod unreadable;

/// One group, with all that is known of it.
pub(super) struct Scope<'a> {
    name: &'a GroupName,
    /// As described; `None` if it never was.
    group: Option<&'a Group>,
    policy: &'a GroupPolicy,
    limits: &'a Limits,
    observed: &'a Observed,
    rulings: &'a BTreeMap<InstanceId, Ruling>,
    breaker: Option<&'a Breaker>,
    freeze: Option<&'a Freeze>,
    guard: Guard,
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
const OWN_RULES: [Rule; 5] =
    [certificates::aging, certificates::expiring, certificates::unusable, deaf::rule, unreadable::rule];

/// What was decided of the groups.
pub(super) struct Ruled<'a> {
    pub(super) rulings: &'a BTreeMap<InstanceId, Ruling>,
    pub(super) breakers: &'a BTreeMap<GroupName, Breaker>,
    pub(super) guards: &'a BTreeMap<GroupName, Guard>,
    pub(super) freezes: &'a BTreeMap<GroupName, Freeze>,
}

/// All that fires; and when that changes by time alone.
pub(super) fn firing(
    observed: &Observed,
    policy: &Policy,
    ruled: &Ruled<'_>,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> BTreeMap<AlertKey, Alert> {
    let mut firing = BTreeMap::new();
    for (name, group_policy) in &policy.groups {
        let (group, rulings, breaker) = (observed.groups.get(name), ruled.rulings, ruled.breakers.get(name));
        let (freeze, guard) = (ruled.freezes.get(name), ruled.guards.get(name).copied().unwrap_or_default());
        let (policy, limits) = (group_policy, &policy.limits);
        let scope = Scope { name, group, policy, limits, observed, rulings, breaker, freeze, guard, now };
        for alert in RULES.iter().filter_map(|rule| rule(&scope, wakes)) {
            firing.insert(AlertKey { group: name.clone(), code: alert.code().into() }, alert);
        }
    }
    let (name, group_policy) = (GroupName::controller(), GroupPolicy::default());
    let (group, rulings, breaker, freeze) = (None, ruled.rulings, None, None);
    let (name, policy, limits, guard) = (&name, &group_policy, &policy.limits, Guard::default());
    let own = Scope { name, group, policy, limits, observed, rulings, breaker, freeze, guard, now };
    for alert in OWN_RULES.iter().filter_map(|rule| rule(&own, wakes)) {
        firing.insert(AlertKey { group: name.clone(), code: alert.code().into() }, alert);
    }
    firing
}

impl<'a> Scope<'a> {
    fn members(&self) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> + use<'a> {
        let name = self.name;
        self.observed.instances.iter().filter(move |(_, instance)| instance.group == *name)
    }

    fn serving(&self) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> + use<'a> {
        self.members().filter(|(_, instance)| instance.state == LifecycleState::InService)
    }

    /// The word that the group does without the gate, while it is in effect.
    fn detached(&self) -> Option<&'a DetachRecord> {
        match self.observed.records.get(&Key::Detach(self.name.clone())) {
            Some((_, Record::Detach(detached))) if detached.ended_at.is_none() => Some(detached),
            _ => None,
        }
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
