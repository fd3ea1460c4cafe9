//! What must hold of instances that are taken out of traffic, and brought back.

use portcullis::{
    action::{Action, Departure},
    instance::{GroupName, InstanceId, LifecycleState},
    policy::{Mode, OnDrift},
    record::{Key, Record, Stage, Way},
};

use super::{Invariants, NOTICED, PROMOTION_AGE_MAX, Store, TRUTH_AGE_MAX};
use crate::{
    agent::Kind,
    cloud::{Cloud, Machine},
    controller::Controller,
    world::SKEW_MAX,
};

/// From what a leader knows of the cloud to the effect of its call: a description's age and lag, and the call.
const DESCRIBED: u64 = 11_000;

impl Invariants {
    /// 2, 3, 6: taken out within what its group may lose, for a failure that its agent told of late, and on record.
    pub(crate) fn withdrawn(&mut self, departure: &Departure, cloud: &Cloud, store: &Store, now: u64) {
        let Departure { group, instance: id, .. } = departure;
        let policy = self.policy.groups[group].clone();
        self.must(policy.withdraws(), || format!("{id} was withdrawn from a group that withdraws nothing"));
        self.must(is_on_record(departure, Stage::Out, store), || {
            format!("6: {id} was withdrawn, and no record says so")
        });
        let memory = policy.silent_after.as_millis() as u64 + TRUTH_AGE_MAX;
        let machine = &cloud.instances[id];
        if is_bypassed(id, store) {
            self.had_its_time(id, machine, now);
        } else {
            let told = machine.agent.failed_at.is_some_and(|at| now - at <= memory);
            self.must(told, || {
                format!("3: {id} was withdrawn, and its agent ({:?}) told of no failure", machine.agent.kind)
            });
        }

        let members = || cloud.instances.iter().filter(|(_, machine)| machine.group == *group);
        let ours = members().filter(|(id, machine)| machine.stands_by() && is_open(id, store)).count();
        let size = u32::try_from(cloud.groups[group].desired + ours).unwrap_or(u32::MAX);
        let lost = ours + 1;
        let unavailable_max = policy.unavailable_max(size);
        self.must(departure.way == Way::Replace || lost <= unavailable_max, || {
            format!("2: {lost} of {group} were withdrawn at once, {unavailable_max} may be")
        });
        let proven = members().filter(|(other, machine)| {
            *other != id
                && machine.served_since(now.saturating_sub(DESCRIBED))
                && machine.agent.was_ready(now.saturating_sub(memory), now)
        });
        let (proven, ready_min) = (proven.count(), policy.ready_min(size));
        // The number that is wanted may have changed by one or two since it was described.
        self.must(proven + 1 >= ready_min as usize && proven > 0, || {
            format!("2: {id} was withdrawn, and {proven} others of {group} were proven; {ready_min} must be")
        });
        let frozen = match store.get(&Key::Freeze(group.clone())) {
            Some((_, Record::Freeze(freeze))) => freeze.over_at.is_none() && freeze.since.0 + PROMOTION_AGE_MAX < now,
            _ => false,
        };
        self.must(!frozen, || format!("2: {id} was withdrawn while many of {group} failed for one cause"));
    }

    /// 2, 3: taken out for a bypass after the time that one at the gate has, and never from before there was a gate.
    fn had_its_time(&mut self, id: &InstanceId, machine: &Machine, now: u64) {
        self.must(!machine.before_the_gate, || format!("2: {id} was withdrawn, and was there before the gate"));
        let deadline = self.policy.groups[&machine.group].admission_deadline.as_millis() as u64;
        let served_for = now - machine.since();
        self.must(served_for + SKEW_MAX >= deadline, || {
            format!("3: {id} was withdrawn for a bypass after {served_for} ms, {deadline} ms are allowed")
        });
        let calm = self.healed_at.is_some_and(|healed_at| now > healed_at + 60_000);
        let ready = machine.agent.ready.iter().any(|(from, until)| *from + 100_000 < now && now < *until);
        self.must(!(calm && ready), || format!("3: {id} was withdrawn for a bypass, and has long been ready"));
    }

    /// 1: whoever came past the gate, and never was ready, does not serve in the end, where nothing forbids to take it out.
    pub(super) fn nobody_bypasses_for_ever(&mut self, name: &GroupName, cloud: &Cloud, leader: &Controller, now: u64) {
        let policy = self.policy.groups[name].clone();
        let known = &leader.observed.records;
        let forbidden = [Key::Pause(name.clone()), Key::Detach(name.clone()), Key::Freeze(name.clone())];
        let forbidden = forbidden.iter().any(|key| known.contains_key(key));
        if policy.mode == Mode::Observe || policy.on_bypass == OnDrift::Observe || forbidden {
            return;
        }
        let members: Vec<_> = cloud.instances.iter().filter(|(_, machine)| machine.group == *name).collect();
        let long = policy.admission_deadline.as_millis() as u64 + 2 * NOTICED;
        let bad = |machine: &Machine| machine.attached && machine.agent.ready.is_empty();
        let (bad, others): (Vec<_>, Vec<_>) =
            members.into_iter().filter(|(_, one)| one.state().is_some()).partition(|(_, machine)| bad(machine));
        let well = others.iter().all(|(_, one)| {
            one.is(&LifecycleState::InService)
                && one.agent.kind == Kind::Good
                && one.agent.was_ready(now - long, now - long)
        });
        let size = u32::try_from(cloud.groups[name].desired).unwrap_or(u32::MAX);
        let enough = others.len() >= policy.ready_min(size) as usize;
        let [(id, machine)] = bad[..] else { return };
        let stays = machine.is(&LifecycleState::InService) && now - machine.since() > long;
        let by_hand = machine.by_hand || machine.before_the_gate;
        self.must(!(stays && well && enough && !by_hand), || {
            format!("1: {id} came past the gate, and serves for ever")
        });
    }

    /// 2: who knows that many began to fail at once withdraws none.
    pub(crate) fn is_no_common_cause(&mut self, controller: &Controller, action: &Action, now: u64) {
        let (group, id) = match action {
            Action::Withdraw(departure) => (&departure.group, &departure.instance),
            Action::Record { key: Key::Withdrawal(id), record: Record::Withdrawal(record), .. }
                if record.stage == Stage::Out && record.at == record.changed_at =>
            {
                (&record.group, id)
            }
            _ => return,
        };
        let known = &controller.observed;
        let over_at = match known.records.get(&Key::Freeze(group.clone())) {
            Some((_, Record::Freeze(freeze))) => freeze.over_at,
            _ => None,
        };
        let window = self.policy.groups[group].common_cause_window.as_millis() as u64;
        let of_group = known.instances.values().filter(|instance| instance.group == *group);
        let serving = of_group.filter(|instance| instance.state == LifecycleState::InService);
        for check in crate::agent::CHECKS {
            let alike = serving.clone().filter(|instance| {
                let lately = instance.drifting_since.is_some_and(|at| Some(at) > over_at && at.0 + window > now);
                let drift = instance.evidence.iter().flat_map(|evidence| &evidence.drift);
                lately && drift.into_iter().any(|cause| cause.check == check)
            });
            // Groups are small here: two are always more than a fifth.
            let alike = alike.count();
            self.must(alike < 2, || format!("2: {id} is withdrawn from {group}, of which {alike} fail alike"));
        }
    }

    /// 1: brought back on the truth; and only what we took out.
    pub(crate) fn returned(&mut self, departure: &Departure, cloud: &Cloud, store: &Store, now: u64) {
        let (id, machine) = (&departure.instance, &cloud.instances[&departure.instance]);
        self.must(is_on_record(departure, Stage::Back, store), || {
            format!("6: {id} was brought back, and no record says so")
        });
        self.must(!machine.by_hand, || format!("{id} was brought back, and an operator had put it in standby"));
        let ready = machine.agent.was_ready(now.saturating_sub(TRUTH_AGE_MAX), now);
        self.must(ready, || format!("1: {id} was brought back, and is {:?} and not ready", machine.agent.kind));
    }

    /// Whether it was withdrawn by us, is well for long, and says so: then it must be back.
    pub(crate) fn is_well(&self, machine: &Machine, now: u64) -> bool {
        let policy = &self.policy.groups[&machine.group];
        let accepted = self.accepted[&machine.group].last();
        !machine.by_hand
            && policy.withdraws()
            && machine.agent.kind == Kind::Good
            && machine.agent.was_ready(now, now)
            && accepted.is_some_and(|(_, accepted)| accepted.contains(&machine.agent.release))
    }
}

fn is_on_record(departure: &Departure, stage: Stage, store: &Store) -> bool {
    matches!(store.get(&Key::Withdrawal(departure.instance.clone())), Some((_, Record::Withdrawal(record)))
        if record.stage == stage && record.changed_at == departure.decided_at)
}

fn is_bypassed(id: &InstanceId, store: &Store) -> bool {
    matches!(store.get(&Key::Withdrawal(id.clone())), Some((_, Record::Withdrawal(record))) if record.bypassed)
}

fn is_open(id: &InstanceId, store: &Store) -> bool {
    matches!(store.get(&Key::Withdrawal(id.clone())), Some((_, Record::Withdrawal(record))) if record.stage != Stage::Over)
}
