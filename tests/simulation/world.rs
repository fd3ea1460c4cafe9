//! The world: everything there is, and a queue of what happens next, ordered by time and sequence.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::{
    action::{Action, AttemptKey, Held},
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{Answer, Observation},
    record::{GroupRecord, Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};

use crate::{
    agent::{Agent, Challenge, Kind},
    cloud::{Cloud, GLOBAL_TIMEOUT, Group, HEARTBEAT_TIMEOUT, Machine},
    controller::{Controller, policy},
    invariants::Invariants,
    planted::Bug,
    random::Random,
};

/// When chaos ends and healing begins.
pub(crate) const CHAOS: u64 = 150_000;
/// When everything must have settled: a last look at a deadline (100 s), three turns of abandons, a launch.
const END: u64 = CHAOS + 420_000;
const LEASE: u64 = 15_000;
const LEASE_RENEWAL: u64 = 3_000;
const REPORT_EVERY: u64 = 3_000;

#[derive(Debug, Clone)]
enum Event {
    Launch(GroupName),
    Waits(InstanceId),
    Serves(InstanceId),
    Gone(InstanceId),
    OtherHookDone(InstanceId, u64),
    Timer(InstanceId, u64),
    RootReplaced(InstanceId),
    Reboots(InstanceId),
    ScaledIn(InstanceId),
    Speaks(InstanceId, u64),
    Checks(InstanceId, u64, Challenge),
    Reports(usize, Evidence),
    Promoted(GroupName, usize),
    Crashes(usize),
    Starts(usize),
    CutOff(usize),
    Leases(usize),
    Turn(usize),
    Wakes(usize, u64),
    Call(usize, u64, Action, Fault),
    Tells(usize, u64, Observation),
    Heals,
}

/// What becomes of a call, or of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Nothing arrives, nothing comes back.
    Lost,
    Throttled,
    /// An error, and nothing done.
    Failed,
    /// Done, and the answer is lost.
    AnswerLost,
    /// Done, and answered with an error.
    DoneAndFailed,
    Refused,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) steps: u64,
    pub(crate) turns: u64,
    pub(crate) virtual_s: u64,
    pub(crate) admitted: u64,
    pub(crate) given_up: u64,
    pub(crate) timed_out: u64,
    pub(crate) crashes: u64,
    pub(crate) faults: u64,
    pub(crate) lies: u64,
    pub(crate) roots_replaced: u64,
}

impl Figures {
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            turns: self.turns + other.turns,
            virtual_s: self.virtual_s + other.virtual_s,
            admitted: self.admitted + other.admitted,
            given_up: self.given_up + other.given_up,
            timed_out: self.timed_out + other.timed_out,
            crashes: self.crashes + other.crashes,
            faults: self.faults + other.faults,
            lies: self.lies + other.lies,
            roots_replaced: self.roots_replaced + other.roots_replaced,
        }
    }

    /// Whether what it is all about happened at all.
    pub(crate) const fn covers(&self) -> bool {
        self.admitted > 0
            && self.given_up > 0
            && self.crashes > 0
            && self.faults > 0
            && self.lies > 0
            && self.roots_replaced > 0
    }
}

#[derive(Debug)]
struct Lease {
    holder: usize,
    epoch: u64,
    until: u64,
}

pub(crate) struct World {
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    random: Random,
    cloud: Cloud,
    controllers: Vec<Controller>,
    store: BTreeMap<Key, (u64, Record)>,
    revision: u64,
    lease: Lease,
    invariants: Invariants,
    launched: u64,
    boots: u64,
    bad_percent: u64,
    notices: bool,
    healed: bool,
    loud: bool,
    figures: Figures,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let groups: BTreeSet<GroupName> =
            ["db", "web"].into_iter().take(1 + seed as usize % 2).map(Into::into).collect();
        let observing = groups.iter().filter(|_| random.percent(12)).cloned().collect();
        let policy = policy(&groups, &observing);
        let controllers = (0..2).map(|_| Controller::new(policy.clone(), bug)).collect();
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            cloud: Cloud::default(),
            controllers,
            store: BTreeMap::new(),
            revision: 0,
            lease: Lease { holder: 0, epoch: 0, until: 0 },
            invariants: Invariants::new(policy),
            launched: 0,
            boots: 0,
            bad_percent: random.one_of(&[0, 30, 60, 100]),
            notices: random.percent(70),
            healed: false,
            loud: false,
            figures: Figures::default(),
            random,
        };
        world.populate(&groups);
        world.plan();
        world
    }

    pub(crate) const fn loud(mut self) -> Self {
        self.loud = true;
        self
    }

    /// # Errors
    /// With the first invariant that does not hold.
    pub(crate) fn run(mut self) -> Result<Figures, String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if self.now >= END || (self.healed && self.is_settled()) {
                break;
            }
            self.figures.steps += 1;
            if self.loud {
                println!("{:>9.3} {event:?}", self.now as f64 / 1_000.0);
            }
            self.happens(event);
            self.invariants.verdict().map_err(|violation| self.dated(&violation))?;
        }
        self.figures.virtual_s = self.now / 1_000;
        self.invariants.at_the_end(&self.cloud, &self.controllers, self.lease.holder, self.now);
        self.invariants.verdict().map_err(|violation| self.dated(&violation))?;
        Ok(self.figures)
    }

    fn dated(&self, violation: &str) -> String {
        format!("{violation} (after {}.{:03} s)", self.now / 1_000, self.now % 1_000)
    }

    // --- beginning and end

    fn populate(&mut self, groups: &BTreeSet<GroupName>) {
        for name in groups {
            let desired = self.random.between(1, 3) as usize;
            let (other_hook, hopeless) = (self.random.percent(25), self.random.percent(20));
            self.cloud.groups.insert(name.clone(), Group { desired, other_hook, hopeless });
            let releases = if self.random.percent(85) { 1 } else { 0 };
            self.promotes(name, releases);
            for _ in 0..desired {
                let at = self.random.between(0, 60_000);
                self.after(at, Event::Launch(name.clone()));
            }
            for _ in 0..2 {
                let at = self.random.between(5_000, CHAOS);
                let releases = self.random.between(1, 4) as usize;
                self.after(at, Event::Promoted(name.clone(), releases));
            }
        }
    }

    fn plan(&mut self) {
        for index in 0..self.controllers.len() {
            self.after(index as u64, Event::Leases(index));
            self.after(0, Event::Turn(index));
            for _ in 0..self.random.between(0, 3) {
                let at = self.random.between(1_000, CHAOS - 1);
                self.after(at, Event::Crashes(index));
            }
            if self.random.percent(40) {
                let at = self.random.between(1_000, CHAOS - 1);
                self.after(at, Event::CutOff(index));
            }
        }
        self.after(CHAOS, Event::Heals);
    }

    fn is_settled(&self) -> bool {
        let serves = LifecycleState::InService;
        self.cloud.groups.iter().all(|(name, group)| {
            let mut members = self.cloud.instances.values().filter(|machine| machine.group == *name);
            let serving = members.by_ref().filter(|machine| machine.is(&serves)).count();
            serving == group.desired || (group.hopeless && self.now > CHAOS + 300_000 && self.figures.given_up > 0)
        }) && self.now > CHAOS + 30_000
    }

    // --- chance

    fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    /// Chance that something goes wrong: none once all is healed.
    fn chaos(&mut self, percent: u64) -> bool {
        let hit = self.random.percent(percent) && !self.healed;
        self.figures.faults += u64::from(hit);
        hit
    }

    fn latency(&mut self) -> u64 {
        if self.chaos(10) { self.random.between(20, 3_800) } else { self.random.between(5, 150) }
    }

    fn fault(&mut self) -> Fault {
        if !self.chaos(35) {
            return Fault::None;
        }
        self.random.one_of(&[
            Fault::Lost,
            Fault::Throttled,
            Fault::Failed,
            Fault::AnswerLost,
            Fault::DoneAndFailed,
            Fault::Refused,
        ])
    }

    // --- what happens

    fn happens(&mut self, event: Event) {
        match event {
            Event::Launch(group) => self.launches(group),
            Event::Waits(id) => self.waits(&id),
            Event::Serves(id) => self.serves(&id),
            Event::Gone(id) => self.goes(&id),
            Event::OtherHookDone(id, wait) => self.other_hook_done(&id, wait),
            Event::Timer(id, wait) => self.timer(&id, wait),
            Event::RootReplaced(id) => self.root_replaced(&id),
            Event::Reboots(id) => self.reboots(&id),
            Event::ScaledIn(id) => self.terminates(&id),
            Event::Speaks(id, boot) => self.speaks(&id, boot),
            Event::Checks(id, boot, challenge) => self.checks(&id, boot, challenge),
            Event::Reports(index, evidence) => {
                if self.controllers[index].alive {
                    self.folds(index, Observation::Reported(evidence));
                }
            }
            Event::Promoted(group, releases) => self.promotes(&group, releases),
            Event::Crashes(index) => self.crashes(index),
            Event::Starts(index) => self.starts(index),
            Event::CutOff(index) => {
                let length = self.random.between(5_000, 30_000);
                self.controllers[index].cut_off_until = self.now + length;
                self.after(length, Event::Starts(index));
            }
            Event::Leases(index) => self.leases(index),
            Event::Turn(index) => self.turn(index),
            Event::Wakes(index, at) => {
                if self.controllers[index].wake_at == Some(at) {
                    self.turn(index);
                }
            }
            Event::Call(index, life, action, fault) => self.call(index, life, action, fault),
            Event::Tells(index, life, observation) => {
                if self.controllers[index].alive && self.controllers[index].life == life {
                    self.folds(index, observation);
                }
            }
            Event::Heals => self.heals(),
        }
    }

    fn heals(&mut self) {
        self.healed = true;
        self.bad_percent = 0;
        for index in 0..self.controllers.len() {
            self.controllers[index].cut_off_until = 0;
            self.starts(index);
        }
        let groups: Vec<_> = self.cloud.groups.keys().cloned().collect();
        groups.iter().for_each(|group| self.promotes(group, 4));
        self.invariants.heals(self.now);
    }

    // --- the cloud

    fn machine(&mut self, id: &InstanceId) -> Option<&mut Machine> {
        self.cloud.instances.get_mut(id).filter(|machine| machine.state().is_some())
    }

    fn new_agent(&mut self, group: &GroupName) -> Agent {
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

    fn launches(&mut self, group: GroupName) {
        self.launched += 1;
        let id: InstanceId = (*format!("i-{}", self.launched)).into();
        let mut agent = self.new_agent(&group);
        let challenge = Challenge { issued: Timestamp(self.now), wait: portcullis::instance::WaitId(0) };
        agent.checks(challenge, self.now);
        let boot = agent.boot;
        self.cloud.instances.insert(id.clone(), Machine::new(group, agent, self.now));
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
        if self.chaos(30) {
            self.after(at + 20_000, Event::RootReplaced(id.clone()));
        }
    }

    fn waits(&mut self, id: &InstanceId) {
        let (now, race) = (self.now, if self.chaos(20) { self.random.between(100, 4_000) } else { 0 });
        let other_hook = self.machine(id).map(|machine| machine.group.clone());
        let other_hook = other_hook.is_some_and(|group| self.cloud.groups[&group].other_hook);
        let Some(machine) = self.machine(id).filter(|machine| !machine.is(&LifecycleState::Terminating)) else {
            return;
        };
        machine.waits(other_hook, now + race, now);
        let (wait, group) = (machine.waits, machine.group.clone());
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

    fn serves(&mut self, id: &InstanceId) {
        let now = self.now;
        if let Some(machine) = self.machine(id).filter(|machine| machine.is(&LifecycleState::PendingProceed)) {
            machine.becomes(Some(LifecycleState::InService), now);
        }
    }

    /// Whatever ends it, a new one is launched in its place.
    fn terminates(&mut self, id: &InstanceId) {
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

    fn goes(&mut self, id: &InstanceId) {
        let now = self.now;
        self.machine(id).into_iter().for_each(|machine| machine.becomes(None, now));
    }

    fn other_hook_done(&mut self, id: &InstanceId, wait: u64) {
        let Some(machine) = self.machine(id).filter(|machine| machine.waits == wait) else { return };
        if let Some(wait) = &mut machine.wait {
            wait.other_held = false;
        }
        self.proceeds(id);
    }

    /// Once no hook holds it.
    fn proceeds(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(machine) = self.machine(id) else { return };
        if machine.wait.as_ref().is_some_and(|wait| !wait.ours_held && !wait.other_held) {
            machine.wait = None;
            machine.becomes(Some(LifecycleState::PendingProceed), now);
            let delay = self.random.between(300, 4_000);
            self.after(delay, Event::Serves(id.clone()));
        }
    }

    /// The heartbeat timer, or the global one: the default result is ABANDON.
    fn timer(&mut self, id: &InstanceId, wait: u64) {
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
    fn root_replaced(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(machine) = self.machine(id).filter(|machine| machine.is(&LifecycleState::InService)) else { return };
        machine.becomes(Some(LifecycleState::Other("ReplacingRootVolume".into())), now);
        let group = machine.group.clone();
        let mut agent = self.new_agent(&group);
        let known = self.controllers.iter().find(|controller| controller.alive);
        let wait = known.map_or(portcullis::instance::WaitId(0), |controller| controller.present_wait(id));
        agent.checks(Challenge { issued: Timestamp(now), wait }, now);
        let boot = agent.boot;
        if let Some(machine) = self.machine(id) {
            machine.agent = agent;
        }
        self.figures.roots_replaced += 1;
        let delay = self.random.between(1_000, 12_000);
        self.after(delay, Event::Waits(id.clone()));
        self.after(delay + 50, Event::Speaks(id.clone(), boot));
    }

    // --- agents

    fn reboots(&mut self, id: &InstanceId) {
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

    fn speaks(&mut self, id: &InstanceId, boot: u64) {
        let Some(machine) = self.machine(id).filter(|machine| machine.agent.boot == boot) else { return };
        let pause = if machine.is(&LifecycleState::InService) { 20_000 } else { REPORT_EVERY };
        let jitter = self.random.between(0, 400);
        self.after(pause + jitter, Event::Speaks(id.clone(), boot));
        let index = self.random.between(0, 1) as usize;
        let Some(controller) = Some(&self.controllers[index]).filter(|controller| controller.alive) else { return };
        let challenge = Challenge { issued: Timestamp(self.now), wait: controller.present_wait(id) };
        let takes = self.random.between(50, 1_500);
        self.after(takes, Event::Checks(id.clone(), boot, challenge));
    }

    fn checks(&mut self, id: &InstanceId, boot: u64, challenge: Challenge) {
        let now = self.now;
        let Some(machine) = self.machine(id).filter(|machine| machine.agent.boot == boot) else { return };
        let lies = u64::from(machine.agent.kind == Kind::Lying);
        let Some((challenge, readiness)) = machine.agent.checks(challenge, now) else { return };
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

    // --- operators and the store

    /// The wanted release, the one before it, or only the wanted one.
    fn promotes(&mut self, group: &GroupName, releases: usize) {
        let accepted: Vec<_> = match releases {
            0 => vec![],
            1 => vec![release(1)],
            2 => vec![release(2), release(1)],
            3 => vec![release(2)],
            _ => vec![release(3)],
        };
        self.invariants.promoted(group, &accepted, self.now);
        self.writes(Key::Group(group.clone()), Record::Group(GroupRecord { accepted }));
    }

    fn writes(&mut self, key: Key, record: Record) {
        self.revision += 1;
        let revision = self.revision;
        self.store.insert(key.clone(), (revision, record.clone()));
        for index in 0..self.controllers.len() {
            if self.is_cut_off(index) {
                continue;
            }
            let delay = if self.chaos(10) { self.random.between(1, 900) } else { self.random.between(1, 20) };
            let told = Observation::Stored { key: key.clone(), revision, record: Some(record.clone()) };
            let life = self.controllers[index].life;
            self.after(delay, Event::Tells(index, life, told));
        }
    }

    fn is_cut_off(&self, index: usize) -> bool {
        self.now < self.controllers[index].cut_off_until
    }

    // --- controllers

    fn crashes(&mut self, index: usize) {
        if self.controllers[index].alive {
            self.figures.crashes += 1;
            self.controllers[index].crashes();
            let delay = self.random.between(200, 15_000);
            self.after(delay, Event::Starts(index));
        }
    }

    /// Begins by reading the whole store; or sees it again.
    fn starts(&mut self, index: usize) {
        if self.is_cut_off(index) {
            return;
        }
        self.controllers[index].alive = true;
        for (key, (revision, record)) in self.store.clone() {
            self.folds(index, Observation::Stored { key, revision, record: Some(record) });
        }
    }

    fn leases(&mut self, index: usize) {
        self.after(LEASE_RENEWAL, Event::Leases(index));
        if !self.controllers[index].alive || self.is_cut_off(index) {
            return;
        }
        if self.lease.until <= self.now {
            self.lease = Lease { holder: index, epoch: self.lease.epoch + 1, until: 0 };
        }
        if self.lease.holder == index {
            self.lease.until = self.now + LEASE;
            let observation = Observation::Lease { epoch: self.lease.epoch, until: Timestamp(self.lease.until) };
            let controller = &self.controllers[index];
            let led_already = controller.leads_until() > self.now;
            self.invariants.leased(index, controller.life, led_already, self.now);
            self.controllers[index].folds(observation, self.now);
            if !led_already {
                self.turn(index);
            }
        }
    }

    /// What comes within a few milliseconds is decided on together.
    fn folds(&mut self, index: usize, observation: Observation) {
        let now = self.now;
        self.controllers[index].folds(observation, now);
        if !self.controllers[index].turn_pending {
            self.controllers[index].turn_pending = true;
            self.after(5, Event::Turn(index));
        }
    }

    fn turn(&mut self, index: usize) {
        let now = self.now;
        self.controllers[index].turn_pending = false;
        if !self.controllers[index].alive {
            return;
        }
        self.figures.turns += 1;
        let decision = self.controllers[index].decides(now);
        self.invariants.decided(index, &self.controllers[index], &decision, now);
        if self.loud {
            decision.rulings.iter().for_each(|(id, ruling)| println!("            {index}: {id} {}", told(ruling)));
        }
        for action in decision.actions {
            self.sends(index, action);
        }
        self.controllers[index].wake_at = decision.wake_at.map(|at| at.0.max(now + 1));
        if let Some(at) = self.controllers[index].wake_at {
            self.after(at - now, Event::Wakes(index, at));
        }
    }

    fn sends(&mut self, index: usize, action: Action) {
        let (now, attempt) = (self.now, action.key());
        self.invariants.sends(&self.controllers[index], &action, now);
        self.folds(index, Observation::Sent { attempt, at: Timestamp(now) });
        let life = self.controllers[index].life;
        let fault = self.fault();
        let latency = match action {
            Action::Record { .. } => self.random.between(1, 20),
            Action::Describe(_) | Action::Admit(_) | Action::KeepWaiting(_) | Action::GiveUp(_) => self.latency(),
        };
        self.after(latency, Event::Call(index, life, action, fault));
    }

    fn call(&mut self, index: usize, life: u64, action: Action, fault: Fault) {
        let fault = match &action {
            Action::Record { .. } if self.is_cut_off(index) => Fault::Lost,
            Action::Record { .. } if matches!(fault, Fault::Throttled | Fault::Refused) => Fault::Failed,
            _ => fault,
        };
        let failed = || Answer::Unknown { because: "connection reset".into() };
        let key = action.key();
        let answer = match fault {
            Fault::Lost => return,
            Fault::Throttled => Answer::Throttled,
            Fault::Failed => failed(),
            Fault::Refused => Answer::Refused { because: "not authorised".into() },
            Fault::None => self.done(index, life, action),
            Fault::AnswerLost => return drop(self.done(index, life, action)),
            Fault::DoneAndFailed => {
                self.done(index, life, action);
                failed()
            }
        };
        self.answers(index, life, key, answer);
    }

    fn answers(&mut self, index: usize, life: u64, attempt: AttemptKey, answer: Answer) {
        let latency = self.latency().min(2_000);
        let at = Timestamp(self.now + latency);
        self.after(latency, Event::Tells(index, life, Observation::Answered { attempt, answer, at }));
    }

    fn done(&mut self, index: usize, life: u64, action: Action) -> Answer {
        let by_holder = self.lease.holder == index && self.lease.until > self.now;
        self.invariants.arrives(&action, by_holder);
        match action {
            Action::Record { key, revision, record } => self.records((index, life), key, revision, record),
            Action::Describe(group) => self.describes(index, life, &group),
            Action::KeepWaiting(held) => self.cloud.heartbeat(&held, self.now),
            Action::Admit(held) => self.ends(&held, true),
            Action::GiveUp(held) => self.ends(&held, false),
        }
    }

    fn records(&mut self, by: (usize, u64), key: Key, revision: Option<u64>, record: Record) -> Answer {
        if self.store.get(&key).map(|(revision, _)| *revision) != revision {
            return Answer::Refused { because: "another revision".into() };
        }
        self.invariants.recorded(by, &key, &record, &self.store, self.now);
        self.writes(key, record);
        Answer::Accepted
    }

    fn describes(&mut self, index: usize, life: u64, group: &GroupName) -> Answer {
        let asked_at = self.controllers[index].under_way.get(&AttemptKey::Describe(group.clone()));
        let asked_at = asked_at.copied().filter(|_| self.controllers[index].life == life).unwrap_or(self.now);
        let lag = if self.chaos(25) { self.random.between(0, 2_500) } else { self.random.between(0, 100) };
        let complete = !self.chaos(5);
        let description = self.cloud.describe(group, asked_at, self.now.saturating_sub(lag), complete);
        let latency = self.latency();
        self.after(latency, Event::Tells(index, life, Observation::Described(description.clone())));
        if self.chaos(5) {
            self.after(latency + 5_000, Event::Tells(index, life, Observation::Described(description)));
        }
        Answer::Accepted
    }

    fn ends(&mut self, held: &Held, admit: bool) -> Answer {
        let now = self.now;
        let Some(machine) = self.cloud.instances.get_mut(&held.instance) else { return Answer::NoActiveAction };
        let Some(wait) = machine.active(now) else { return Answer::NoActiveAction };
        wait.ours_held = false;
        let began_at = wait.began_at;
        let machine = &self.cloud.instances[&held.instance];
        if admit {
            self.figures.admitted += 1;
            self.invariants.admitted(held, machine, began_at, &self.store, now);
            self.proceeds(&held.instance);
        } else {
            self.figures.given_up += 1;
            self.invariants.given_up(held, machine, began_at, &self.store, now);
            self.terminates(&held.instance);
        }
        Answer::Accepted
    }
}

fn told(ruling: &portcullis::verdict::Ruling) -> String {
    format!("{} {}", ruling.verdict, ruling.reason)
}

pub(crate) fn release(number: u8) -> Digest {
    Digest::of(&[number])
}
