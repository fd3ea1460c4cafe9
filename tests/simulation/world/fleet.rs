//! What happens to machines, and to the agents on them.

use portcullis::{
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState, WaitId},
    observation::Observation,
    record::{Key, Record, Stage},
    timestamp::Timestamp,
};

use super::{Event, REPORT_EVERY, World, release};
use crate::{
    agent::{Agent, CHECKS, Challenge, Kind},
    cloud::{GLOBAL_TIMEOUT, HEARTBEAT_TIMEOUT, Machine},
};

impl World {
    fn machine(&mut self, id: &InstanceId) -> Option<&mut Machine> {
        self.cloud.instances.get_mut(id).filter(|machine| machine.state().is_some())
    }

    pub(super) fn new_agent(&mut self, group: &GroupName) -> Agent {
        self.boots += 1;
        let hopeless = self.cloud.groups[group].hopeless;
        let bad = self.random.percent(if hopeless { 100 } else { self.bad_percent });
        let kind = if bad { self.random.one_of(&Kind::BAD) } else { Kind::Good };
        let release = self.image(group);
        Agent::new(kind, release, self.boots, self.now, &mut self.random)
    }

    /// The release in a new machine's image: mostly the wanted one.
    fn image(&mut self, group: &GroupName) -> Digest {
        let wanted = match self.store.get(&Key::Group(group.clone())) {
            Some((_, Record::Group(record))) => record.accepted.first().copied(),
            _ => None,
        };
        let old = self.chaos(20);
        wanted.filter(|_| !old).unwrap_or(release(1))
    }

    pub(super) fn launches(&mut self, group: GroupName) {
        if self.counted(&group) >= self.cloud.groups[&group].desired {
            return;
        }
        self.launched += 1;
        let id: InstanceId = (*format!("i-{}", self.launched)).into();
        let mut agent = self.new_agent(&group);
        let challenge = Challenge { issued: Timestamp(self.now), wait: WaitId(0) };
        agent.checks(challenge, false, self.now);
        let boot = agent.boot;
        let warm = self.chaos(15) && !self.is_in_place(&group);
        let template = self.cloud.groups[&group].template;
        let mut machine = Machine::new(group, agent, self.now);
        (machine.warm, machine.template) = (warm, template);
        self.cloud.instances.insert(id.clone(), machine);
        let delay = self.random.between(500, 4_000);
        self.after(delay, Event::Waits(id.clone()));
        self.after(delay / 2, Event::Speaks(id.clone(), boot));
        self.mishaps(&id);
    }

    fn mishaps(&mut self, id: &InstanceId) {
        let at = self.random.between(2_000, 100_000);
        if self.chaos(25) {
            self.after(at, Event::Reboots(id.clone()));
        }
        if self.chaos(5) {
            self.after(at, Event::ScaledIn(id.clone()));
        }
        if self.chaos(8) {
            self.after(at, Event::MovedByHand(id.clone()));
        }
        let in_place = self.machine(id).map(|machine| machine.group.clone());
        let in_place = in_place.is_some_and(|group| self.is_in_place(&group));
        if self.chaos(30) && !in_place {
            self.after(at + 20_000, Event::RootReplaced(id.clone()));
        }
    }

    pub(super) fn waits(&mut self, id: &InstanceId) {
        let (now, race) = (self.now, if self.chaos(20) { self.random.between(100, 4_000) } else { 0 });
        let other_hook = self.machine(id).map(|machine| machine.group.clone());
        let other_hook = other_hook.is_some_and(|group| self.cloud.groups[&group].other_hook);
        let Some(machine) = self.machine(id).filter(|machine| !machine.is(&LifecycleState::Terminating)) else {
            return;
        };
        let group = machine.group.clone();
        if self.is_in_place(&group) {
            self.cloud
                .instances
                .entry(id.clone())
                .and_modify(|held| held.becomes(Some(LifecycleState::PendingWait), now));
            return self.notifies(&group);
        }
        let Some(machine) = self.machine(id) else { return };
        machine.waits(other_hook, now + race, now);
        let wait = machine.waits;
        let other = self.random.between(3_000, 40_000);
        self.after(other, Event::OtherHookDone(id.clone(), wait));
        self.after(HEARTBEAT_TIMEOUT, Event::Timer(id.clone(), wait));
        self.notifies(&group);
    }

    fn notifies(&mut self, group: &GroupName) {
        for index in 0..self.controllers.len() {
            if !self.notices || self.chaos(30) {
                continue;
            }
            let life = self.controllers[index].life;
            for _ in 0..if self.chaos(20) { 2 } else { 1 } {
                let delay = if self.chaos(20) { self.random.between(0, 20_000) } else { self.random.between(5, 300) };
                self.after(delay, Event::Tells(index, life, Observation::Noticed(group.clone())));
            }
        }
    }

    pub(super) fn serves(&mut self, id: &InstanceId) {
        let now = self.now;
        if let Some(machine) = self.machine(id).filter(|machine| machine.is(&LifecycleState::PendingProceed)) {
            machine.becomes(Some(LifecycleState::InService), now);
        }
    }

    /// Whatever ends it, a new one is launched in its place, if it is still wanted then.
    pub(super) fn terminates(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(machine) = self.machine(id).filter(|machine| !machine.is(&LifecycleState::Terminating)) else {
            return;
        };
        machine.becomes(Some(LifecycleState::Terminating), now);
        machine.wait = None;
        let group = machine.group.clone();
        let (gone, launch) = (self.random.between(500, 5_000), self.random.between(1_000, 6_000));
        self.after(gone, Event::Gone(id.clone()));
        self.after(launch, Event::Launch(group));
    }

    pub(super) fn comes_back(&mut self, id: &InstanceId) {
        let now = self.now;
        if let Some(machine) = self.machine(id).filter(|machine| machine.is(&LifecycleState::Pending)) {
            machine.becomes(Some(LifecycleState::InService), now);
        }
    }

    pub(super) fn stands_by(&mut self, id: &InstanceId) {
        let now = self.now;
        if let Some(machine) = self.machine(id).filter(|machine| machine.is(&LifecycleState::EnteringStandby)) {
            machine.becomes(Some(LifecycleState::Standby), now);
        }
    }

    /// Into standby; it takes a while until its connections have drained.
    pub(super) fn enters_standby(&mut self, id: &InstanceId, by_hand: bool) -> bool {
        let done = self.cloud.enters_standby(id, by_hand, self.now);
        if done {
            let drained = self.random.between(500, 4_000);
            self.after(drained, Event::StandsBy(id.clone()));
        }
        done
    }

    pub(super) fn exits_standby(&mut self, id: &InstanceId) -> bool {
        let done = self.cloud.exits_standby(id, self.now);
        if done {
            let registered = self.random.between(300, 4_000);
            self.after(registered, Event::ComesBack(id.clone()));
        }
        done
    }

    /// An operator takes one out, or brings one back.
    pub(super) fn moved_by_hand(&mut self, id: &InstanceId) {
        let ours = matches!(self.store.get(&Key::Withdrawal(id.clone())),
            Some((_, Record::Withdrawal(record))) if record.stage != Stage::Over);
        let Some(machine) = self.cloud.instances.get(id) else { return };
        if machine.is(&LifecycleState::Standby) {
            self.exits_standby(id);
        } else if !ours && self.enters_standby(id, true) {
            self.figures.by_hand += 1;
            let again = self.random.between(15_000, 200_000);
            self.after(again, Event::MovedByHand(id.clone()));
        }
    }

    /// The content of one that serves, or of all, is no longer as it should be: for a while.
    pub(super) fn drifts(&mut self, group: &GroupName, whole: bool) {
        let (now, check) = (self.now, self.random.one_of(&CHECKS));
        let good = |machine: &&mut Machine| machine.group == *group && machine.is(&LifecycleState::InService);
        let mut noticed = vec![];
        let first = self.random.between(0, 5) as usize;
        for (id, machine) in self.cloud.instances.iter_mut().filter(|(_, machine)| good(machine)) {
            if machine.agent.kind == Kind::Good {
                noticed.push((id.clone(), machine.agent.boot));
            }
        }
        if !whole && !noticed.is_empty() {
            noticed = vec![noticed[first % noticed.len()].clone()];
        }
        let lasts = self.random.between(5_000, 60_000);
        for (id, boot) in noticed {
            self.machine(&id).into_iter().for_each(|machine| machine.agent.drifts(check, now));
            let (soon, heals) = (self.random.between(100, 1_000), lasts + self.random.between(0, 20_000));
            self.after(soon, Event::Asks(id.clone(), boot));
            self.after(heals, Event::Mends(id));
        }
    }

    pub(super) fn mends(&mut self, id: &InstanceId) {
        let now = self.now;
        self.machine(id).into_iter().for_each(|machine| machine.agent.heals(now));
    }

    pub(super) fn goes(&mut self, id: &InstanceId) {
        let now = self.now;
        self.machine(id).into_iter().for_each(|machine| machine.becomes(None, now));
    }

    pub(super) fn other_hook_done(&mut self, id: &InstanceId, wait: u64) {
        let Some(machine) = self.machine(id).filter(|machine| machine.waits == wait) else { return };
        if let Some(wait) = &mut machine.wait {
            wait.other_held = false;
        }
        self.proceeds(id);
    }

    /// Once no hook holds it.
    pub(super) fn proceeds(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(machine) = self.machine(id) else { return };
        if machine.wait.as_ref().is_some_and(|wait| !wait.ours_held && !wait.other_held) {
            machine.wait = None;
            if machine.warm {
                return self.rests(id);
            }
            machine.becomes(Some(LifecycleState::PendingProceed), now);
            let delay = self.random.between(300, 4_000);
            self.after(delay, Event::Serves(id.clone()));
        }
    }

    /// In the warm pool, shut down, for a while.
    fn rests(&mut self, id: &InstanceId) {
        let (now, rest) = (self.now, self.random.between(2_000, 40_000));
        let Some(machine) = self.machine(id) else { return };
        machine.warm = false;
        machine.becomes(Some(stopped()), now);
        self.figures.warmed += 1;
        self.after(rest, Event::LeavesPool(id.clone()));
    }

    /// Started again, and wanted: it waits once more.
    pub(super) fn leaves_pool(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(machine) = self.machine(id).filter(|machine| machine.is(&stopped())) else { return };
        machine.becomes(Some(LifecycleState::Pending), now);
        let boot = machine.agent.boot;
        self.after(1_000, Event::Speaks(id.clone(), boot));
        self.reboots(id);
        let delay = self.random.between(500, 4_000);
        self.after(delay, Event::Waits(id.clone()));
    }

    /// The heartbeat timer, or the global one: the default result is ABANDON.
    pub(super) fn timer(&mut self, id: &InstanceId, wait: u64) {
        let now = self.now;
        let Some(machine) = self.machine(id).filter(|machine| machine.waits == wait) else { return };
        let Some(wait_now) = machine.wait.as_ref().filter(|wait| wait.ours_held) else { return };
        let ends_at = (wait_now.ours_beaten_at + HEARTBEAT_TIMEOUT).min(wait_now.began_at + GLOBAL_TIMEOUT);
        if now < ends_at {
            return self.after(ends_at - now, Event::Timer(id.clone(), wait));
        }
        self.figures.timed_out += 1;
        self.invariants.timed_out(id, now);
        self.terminates(id);
    }

    /// The same id, other content: it waits again, and perhaps nobody saw it leave.
    pub(super) fn root_replaced(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(machine) = self.machine(id).filter(|machine| machine.is(&LifecycleState::InService)) else { return };
        machine.becomes(Some(LifecycleState::Other("ReplacingRootVolume".into())), now);
        let group = machine.group.clone();
        let mut agent = self.new_agent(&group);
        let known = self.controllers.iter().find(|controller| controller.alive);
        let wait = known.map_or(WaitId(0), |controller| controller.present_wait(id));
        agent.checks(Challenge { issued: Timestamp(now), wait }, false, now);
        let boot = agent.boot;
        let template = self.cloud.groups[&group].template;
        if let Some(machine) = self.machine(id) {
            machine.template = template;
            let former = core::mem::replace(&mut machine.agent, agent);
            machine.agent.follows(former, now);
        }
        self.figures.roots_replaced += 1;
        let delay = self.random.between(1_000, 12_000);
        self.after(delay, Event::Waits(id.clone()));
        self.after(delay + 50, Event::Speaks(id.clone(), boot));
    }

    // --- agents

    pub(super) fn reboots(&mut self, id: &InstanceId) {
        self.boots += 1;
        let (now, boot) = (self.now, self.boots);
        let Some(machine) = self.cloud.instances.get_mut(id).filter(|machine| machine.state().is_some()) else {
            return;
        };
        if machine.agent.kind == Kind::Good {
            machine.agent.boot = boot;
            machine.agent.boots(now, &mut self.random);
            self.after(2_000, Event::Speaks(id.clone(), boot));
        }
    }

    pub(super) fn speaks(&mut self, id: &InstanceId, boot: u64) {
        let Some(machine) = self.machine(id).filter(|machine| machine.agent.boot == boot) else { return };
        if machine.is(&stopped()) {
            return;
        }
        let pause = if machine.is(&LifecycleState::InService) { 20_000 } else { REPORT_EVERY };
        let jitter = self.random.between(0, 400);
        self.after(pause + jitter, Event::Speaks(id.clone(), boot));
        self.asks(id, boot);
    }

    /// For a challenge; then it checks.
    pub(super) fn asks(&mut self, id: &InstanceId, boot: u64) {
        let index = self.random.between(0, 1) as usize;
        let Some(controller) = Some(&self.controllers[index]).filter(|controller| controller.alive) else { return };
        let challenge = Challenge { issued: Timestamp(self.now), wait: controller.present_wait(id) };
        let takes = self.random.between(50, 1_500);
        self.after(takes, Event::Checks(id.clone(), boot, challenge));
    }

    pub(super) fn checks(&mut self, id: &InstanceId, boot: u64, challenge: Challenge) {
        let (now, outage) = (self.now, self.now < self.outage_until);
        let Some(machine) = self.machine(id).filter(|machine| machine.agent.boot == boot) else { return };
        let lies = u64::from(machine.agent.kind == Kind::Lying);
        let Some((challenge, readiness)) = machine.agent.checks(challenge, outage, now) else { return };
        self.figures.lies += lies;
        for index in 0..self.controllers.len() {
            if self.chaos(15) {
                continue;
            }
            let delay = if self.chaos(10) { self.random.between(10, 3_000) } else { self.random.between(5, 100) };
            let machine = &self.cloud.instances[id];
            let (id, group) = (id.clone(), machine.group.clone());
            let received_at = Timestamp(now + delay);
            let evidence = machine.agent.evidence(id, group, challenge, readiness.clone(), received_at);
            if self.chaos(10) {
                let again = delay + self.random.between(0, 60_000);
                self.after(again, Event::Reports(index, evidence.clone()));
            }
            self.after(delay, Event::Reports(index, evidence));
        }
    }
}

fn stopped() -> LifecycleState {
    LifecycleState::Other("Warmed:Stopped".into())
}
