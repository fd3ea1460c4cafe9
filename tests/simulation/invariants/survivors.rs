//! The survivors guard: whom it must have protected, whom it must leave alone, and that nothing of it is left.

use portcullis::{
    decide::Breaker,
    instance::{GroupName, InstanceId, LifecycleState},
    policy::SurvivorsGuard,
    record::{Key, Record},
};

use super::{Invariants, Store};
use crate::{
    agent::Kind,
    cloud::{Cloud, Machine, Protector},
    controller::Controller,
};

/// Until whoever leads knows that a group is impaired, has that on record, and has got its call through: several of each may fail.
const GUARDED: u64 = 80_000;

/// Until whoever leads knows that a group is well, and has let go, with nothing in the way.
const RELEASED: u64 = 60_000;

impl Invariants {
    /// Notes since when a group is impaired or well, in truth: fewer serve than are wanted, or one is on its way.
    pub(crate) fn looks(&mut self, cloud: &Cloud, now: u64) {
        for name in cloud.groups.keys() {
            if is_impaired(name, cloud) {
                self.impaired_since.entry(name.clone()).or_insert(now);
                self.well_since.remove(name);
            } else {
                self.impaired_since.remove(name);
                self.well_since.entry(name.clone()).or_insert(now);
            }
        }
    }

    /// 2: no survivor goes while new ones are not proven, once the guard had its time.
    pub(crate) fn scaled_in(&mut self, id: &InstanceId, machine: &Machine, leader: Option<(usize, u64)>, now: u64) {
        let led_since = leader.and_then(|leader| self.leads_since.get(&leader));
        let impaired_since = self.impaired_since.get(&machine.group);
        let (Some(led_since), Some(impaired_since)) = (led_since, impaired_since) else { return };
        let ready_since =
            machine.agent.ready.iter().find(|(from, until)| *from <= now && now < *until).map(|(from, _)| *from);
        let (Some(ready_since), Some(proven_since)) = (ready_since, self.proven_since(id, machine)) else { return };
        let since = [*led_since, *impaired_since, ready_since, proven_since, machine.unprotected_at];
        let since = since.into_iter().max().unwrap_or(now);
        let guarded = self.enforces(&machine.group) && machine.agent.kind == Kind::Good && now - since >= GUARDED;
        self.must(!guarded, || format!("2: {id} serves and was proven, and went while new ones were not proven"));
    }

    /// Since when it serves, having been admitted on proof.
    fn proven_since(&self, id: &InstanceId, machine: &Machine) -> Option<u64> {
        let serves_since = Some(machine.since()).filter(|_| machine.is(&LifecycleState::InService))?;
        let admitted = self.admitted.iter().filter(|((admitted, _), at)| admitted == id && **at <= serves_since);
        let admitted_at = admitted.map(|(_, at)| *at).max()?;
        (admitted_at >= machine.agent.booted_at && machine.agent.booted_at < serves_since).then_some(serves_since)
    }

    /// 6: nothing is protected or let go that is not on record; what somebody else protected is never let go.
    pub(crate) fn protects(&mut self, id: &InstanceId, by: Option<Protector>, protected: bool, on_record: bool) {
        self.must(on_record, || format!("6: {id} is protected or let go, and no record says so"));
        let theirs = matches!(by, Some(Protector::User(_)));
        self.must(protected || !theirs, || format!("{id} was protected by somebody else, and is let go"));
    }

    /// Whether no more is protected on the guard's account than should be in a group that is well.
    pub(crate) fn guard_is_at_rest(&self, name: &GroupName, cloud: &Cloud, store: &Store) -> bool {
        let policy = &self.policy.groups[name];
        let most = match policy.survivors_guard {
            SurvivorsGuard::Always => policy.ready_min(cloud.groups[name].desired as u32) as usize,
            SurvivorsGuard::WhileImpaired | SurvivorsGuard::Off => 0,
        };
        let members = cloud.instances.values().filter(|machine| machine.group == *name && machine.counts());
        let protected = members.filter(|machine| machine.protector() == Some(Protector::Guard)).count();
        // Of one that stands by the cloud takes no word: it is let go when it serves again.
        let stands_by = |id: &InstanceId| cloud.instances.get(id).is_some_and(Machine::stands_by);
        let on_record = match store.get(&Key::Protection(name.clone())) {
            Some((_, Record::Protection(record))) => record.instances.keys().filter(|id| !stands_by(id)).count(),
            _ => 0,
        };
        protected <= most && on_record <= most
    }

    /// In the end nothing of it is left but where it is needed; of a group that never heals, nobody can tell.
    pub(crate) fn guard_at_the_end(&mut self, cloud: &Cloud, leader: &Controller, store: &Store, now: u64) {
        let decision = leader.decides(now);
        for name in cloud.groups.keys().filter(|name| !cloud.groups[*name].hopeless) {
            let open = matches!(decision.breakers.get(name), Some(Breaker::Open { .. }));
            let well = !open && self.well_since.get(name).is_some_and(|since| now - since >= RELEASED);
            let at_rest = self.guard_is_at_rest(name, cloud, store);
            self.must(!well || at_rest, || format!("2: {name} is well, and its survivors are protected still"));
        }
    }
}

fn is_impaired(name: &GroupName, cloud: &Cloud) -> bool {
    let members = || cloud.instances.values().filter(|machine| machine.group == *name && machine.counts());
    let serving = members().filter(|machine| machine.is(&LifecycleState::InService)).count();
    let launched = [LifecycleState::Pending, LifecycleState::PendingWait, LifecycleState::PendingProceed];
    serving < cloud.groups[name].desired || members().any(|one| launched.iter().any(|state| one.is(state)))
}
