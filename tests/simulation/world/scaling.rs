//! How many are wanted, whom a scale-in takes, and who is protected from it.

use portcullis::{
    action::Protection,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::Answer,
    record::{Key, Record},
};

use super::{CHAOS, Event, World};
use crate::cloud::Protector;

/// Who protects a machine so long before the guard puts it on record cannot have been seen: a description that lags (2.5 s), on
/// its way (3.8 s), and not too old (4 s).
const UNSEEN: u64 = 8_000;

impl World {
    /// Now and then fewer are wanted for a while, and somebody protects one, or takes its protection away.
    pub(super) fn plan_scaling(&mut self, group: &GroupName) {
        for _ in 0..self.random.between(0, 3) {
            let at = self.random.between(30_000, CHAOS + 60_000);
            self.after(at, Event::ScalesIn(group.clone()));
        }
        for _ in 0..self.random.between(0, 3) {
            let at = self.random.between(5_000, CHAOS);
            self.after(at, Event::SomebodyProtects(group.clone()));
        }
    }

    pub(super) fn wants_fewer(&mut self, name: &GroupName) {
        let Some(group) = self.cloud.groups.get_mut(name).filter(|group| group.desired > 1) else { return };
        group.desired -= 1;
        self.scales_in(name);
        let delay = self.random.between(5_000, 60_000);
        self.after(delay, Event::ScalesBack(name.clone()));
    }

    pub(super) fn wants_as_usual(&mut self, name: &GroupName) {
        let Some(group) = self.cloud.groups.get_mut(name) else { return };
        for _ in group.desired..group.usually {
            group.desired += 1;
            self.sequence += 1;
            self.queue.insert((self.now + 1_000, self.sequence), Event::Launch(name.clone()));
        }
    }

    pub(super) fn counted(&self, group: &GroupName) -> usize {
        self.cloud.instances.values().filter(|machine| machine.group == *group && machine.counts()).count()
    }

    /// The oldest first, and never a protected one: then nothing happens until one no longer is.
    fn scales_in(&mut self, name: &GroupName) {
        while self.counted(name) > self.cloud.groups[name].desired {
            let waiting_first = self.cloud.groups[name].takes_waiting_first;
            let members = self.cloud.instances.iter().filter(|(_, machine)| machine.group == *name && machine.counts());
            let members = members.filter(|(_, machine)| machine.protector().is_none());
            let victim = members.min_by_key(|(_, machine)| {
                (machine.is(&LifecycleState::InService) == waiting_first, machine.launched_at())
            });
            let Some(victim) = victim.map(|(id, _)| id.clone()) else { return };
            self.figures.scaled_in += 1;
            let leader = (self.lease.holder, self.controllers[self.lease.holder].life);
            let leader = Some(leader).filter(|_| self.lease.until > self.now);
            self.invariants.scaled_in(&victim, &self.cloud.instances[&victim], leader, self.now);
            self.terminates(&victim);
        }
    }

    /// All or none, and only what serves.
    pub(super) fn protects(&mut self, protection: &Protection) -> Answer {
        let serves = |id: &InstanceId| {
            let machine = self.cloud.instances.get(id).filter(|machine| machine.group == protection.group);
            machine.is_some_and(|machine| machine.is(&LifecycleState::InService))
        };
        if !protection.instances.iter().all(serves) {
            return Answer::Refused { because: "not in service".into() };
        }
        for id in &protection.instances {
            let since = self.on_record_since(&protection.group, id);
            let now = self.now;
            let Some(machine) = self.cloud.instances.get_mut(id) else { continue };
            let before = match machine.protector() {
                Some(Protector::User(at)) if since.is_some_and(|since| at + UNSEEN > since) => Some(Protector::Either),
                known => known,
            };
            let after = protection.protected.then_some(before.unwrap_or(Protector::Guard));
            machine.is_protected_by(after, now);
            self.invariants.protects(id, before, protection.protected, since.is_some());
            self.figures.protected += u64::from(protection.protected);
            self.figures.released += u64::from(!protection.protected);
        }
        self.scales_in(&protection.group);
        Answer::Accepted
    }

    /// On one that serves.
    pub(super) fn somebody_protects(&mut self, group: &GroupName) {
        let serving = self.cloud.instances.iter().filter(|(_, machine)| machine.group == *group);
        let serving: Vec<_> =
            serving.filter(|(_, one)| one.is(&LifecycleState::InService)).map(|(id, _)| id.clone()).collect();
        if serving.is_empty() {
            return;
        }
        let id = &serving[self.random.between(0, serving.len() as u64 - 1) as usize];
        let (now, on_record) = (self.now, self.on_record_since(group, id).is_some());
        let Some(machine) = self.cloud.instances.get_mut(id) else { return };
        if machine.protector().is_some() {
            machine.is_protected_by(None, now);
            machine.unprotected_at = now;
            return self.scales_in(group);
        }
        machine.is_protected_by(Some(if on_record { Protector::Either } else { Protector::User(now) }), now);
    }

    fn on_record_since(&self, group: &GroupName, id: &InstanceId) -> Option<u64> {
        match self.store.get(&Key::Protection(group.clone())) {
            Some((_, Record::Protection(record))) => record.instances.get(id).map(|since| since.0),
            _ => None,
        }
    }
}
