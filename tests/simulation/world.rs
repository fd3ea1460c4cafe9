//! The world: everything there is, and a queue of what happens next, ordered by time and sequence.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::{
    action::Action,
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::Observation,
    policy::{OnDrift, SurvivorsGuard},
    record::{Key, Record},
    report::Evidence,
};

use crate::{
    agent::Challenge,
    cloud::{Cloud, Group, IN_PLACE, Machine},
    controller::{Controller, policy},
    invariants::Invariants,
    planted::Bug,
    random::Random,
};

pub(crate) use figures::Figures;

mod balancer;
mod control;
mod figures;
mod fleet;
mod scaling;

/// When chaos ends and healing begins.
pub(crate) const CHAOS: u64 = 150_000;
/// When everything must have settled: a last look at a deadline (100 s), a breaker's time and one launch that is tried (200 s),
/// three turns of abandons, a launch.
const END: u64 = CHAOS + 700_000;
/// How far two clocks are apart at most: far more than any that are kept in step.
pub(crate) const SKEW_MAX: u64 = 5_000;
const LEASE: u64 = 15_000;
/// In one run of so many the memo is compared with what is decided from scratch, in every turn.
const REMEMBERED: u64 = 4;
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
    LeavesPool(InstanceId),
    Reboots(InstanceId),
    ScaledIn(InstanceId),
    Drifts(GroupName, bool),
    Mends(InstanceId),
    Outage(u64),
    MovedByHand(InstanceId),
    StandsBy(InstanceId),
    ComesBack(InstanceId),
    Asks(InstanceId, u64),
    ScalesIn(GroupName),
    ScalesBack(GroupName),
    SomebodyProtects(GroupName),
    Speaks(InstanceId, u64),
    Checks(InstanceId, u64, Challenge),
    Reports(usize, Evidence),
    BalancerRestarts(GroupName, bool),
    Promoted(GroupName, usize),
    OperatorSpeaks(GroupName),
    Crashes(usize),
    Starts(usize),
    CutOff(usize),
    ClockSet(usize),
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
    /// Whether one of the two sinks takes nothing.
    deaf: bool,
    /// Until when what lies outside of all machines is down.
    outage_until: u64,
    /// Until when something goes on after all was healed.
    busy_until: u64,
    bad_percent: u64,
    notices: bool,
    healed: bool,
    loud: bool,
    figures: Figures,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let balanced = seed.is_multiple_of(3).then_some(IN_PLACE);
        let groups: BTreeSet<GroupName> =
            ["db", "web"].into_iter().take(1 + seed as usize % 2).chain(balanced).map(Into::into).collect();
        let observing = groups.iter().filter(|_| random.percent(12)).cloned().collect();
        let on_drift = groups.iter().map(|name| (name.clone(), random.one_of(&ON_DRIFT))).collect();
        let guards = [SurvivorsGuard::WhileImpaired, SurvivorsGuard::WhileImpaired, SurvivorsGuard::Always];
        let policy = policy(&groups, &observing, random.one_of(&guards), &on_drift);
        let remembers = seed.is_multiple_of(REMEMBERED) && matches!(bug, None | Some(Bug::ForgottenByTheMemo));
        let controller = || Controller::new(policy.clone(), bug);
        let controllers = (0..2).map(|_| if remembers { controller().remembering() } else { controller() }).collect();
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
            deaf: random.percent(30),
            outage_until: 0,
            busy_until: CHAOS + 30_000,
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
            self.invariants.looks(&self.cloud, self.now);
            self.invariants.verdict().map_err(|violation| self.dated(&violation))?;
        }
        self.figures.virtual_s = self.now / 1_000;
        self.invariants.at_the_end(&self.cloud, &self.controllers, self.lease.holder, self.now);
        self.invariants.guard_at_the_end(&self.cloud, &self.controllers[self.lease.holder], &self.store, self.now);
        self.invariants.everybody_was_told(&self.controllers[self.lease.holder], self.deaf, self.now);
        self.invariants.verdict().map_err(|violation| self.dated(&violation))?;
        Ok(self.figures)
    }

    fn dated(&self, violation: &str) -> String {
        format!("{violation} (after {}.{:03} s)", self.now / 1_000, self.now % 1_000)
    }

    // --- beginning and end

    fn populate(&mut self, groups: &BTreeSet<GroupName>) {
        for name in groups {
            let largest = self.random.one_of(&[3, 3, 3, 6]);
            let desired = self.random.between(1, largest) as usize;
            let (other_hook, hopeless) = (self.random.percent(25), self.random.percent(20));
            let in_place = name.as_str() == IN_PLACE;
            let (other_hook, hopeless) = (other_hook && !in_place, hopeless && !in_place);
            let takes_waiting_first = self.random.percent(50);
            let group = Group { desired, other_hook, hopeless, usually: desired, takes_waiting_first, in_place };
            self.cloud.groups.insert(name.clone(), group);
            if in_place {
                self.plan_restarts(name);
            } else {
                self.plan_scaling(name);
            }
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
            for _ in 0..self.random.one_of(&[0, 0, 2, 6]) {
                let at = self.random.between(5_000, CHAOS);
                self.after(at, Event::OperatorSpeaks(name.clone()));
            }
            self.plan_drift(name);
        }
    }

    /// One that drifts alone, or all at once.
    fn plan_drift(&mut self, name: &GroupName) {
        for _ in 0..self.random.between(0, 4) {
            let (at, whole) = (self.random.between(20_000, CHAOS), self.random.percent(20));
            self.after(at, Event::Drifts(name.clone(), whole));
        }
    }

    /// Drift is no chaos: it comes when all else is well, too.
    fn plan_calm_drift(&mut self, name: GroupName) {
        if self.random.percent(50) {
            let (at, whole) = (self.random.between(30_000, 90_000), self.random.percent(25));
            self.after(at, Event::Promoted(name.clone(), 5));
            self.after(at, Event::Drifts(name, whole));
            self.busy_until = CHAOS + 180_000;
        }
    }

    fn plan(&mut self) {
        if self.random.percent(20) {
            let at = self.random.between(20_000, CHAOS - 30_000);
            self.after(at, Event::Outage(at + 25_000));
        }
        for index in 0..self.controllers.len() {
            self.controllers[index].skew = self.random.between(0, SKEW_MAX);
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
            for _ in 0..self.random.between(0, 4) {
                let at = self.random.between(0, CHAOS - 1);
                self.after(at, Event::ClockSet(index));
            }
        }
        self.after(CHAOS, Event::Heals);
    }

    fn is_settled(&self) -> bool {
        let serves = LifecycleState::InService;
        self.cloud.groups.iter().all(|(name, group)| {
            let mut members = self.cloud.instances.values().filter(|machine| machine.group == *name);
            let serving = members.by_ref().filter(|machine| machine.is(&serves)).count();
            let returns =
                self.cloud.instances.values().any(|machine| machine.group == *name && self.is_to_return(machine));
            let at_rest = self.invariants.guard_is_at_rest(name, &self.cloud, &self.store);
            (serving == group.desired && !returns && at_rest)
                || (group.hopeless && self.now > CHAOS + 300_000 && self.figures.given_up > 0)
        }) && self.now > self.busy_until
    }

    /// Withdrawn by us, and well: it must come back.
    fn is_to_return(&self, machine: &Machine) -> bool {
        machine.stands_by() && self.invariants.is_well(machine, self.now)
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
            Event::LeavesPool(id) => self.leaves_pool(&id),
            Event::Reboots(id) => self.reboots(&id),
            Event::ScaledIn(id) => self.terminates(&id),
            Event::Drifts(group, whole) => self.drifts(&group, whole),
            Event::Mends(id) => self.mends(&id),
            Event::Outage(until) => self.outage_until = until,
            Event::MovedByHand(id) => self.moved_by_hand(&id),
            Event::StandsBy(id) => self.stands_by(&id),
            Event::ComesBack(id) => self.comes_back(&id),
            Event::Asks(id, boot) => self.asks(&id, boot),
            Event::ScalesIn(group) => self.wants_fewer(&group),
            Event::ScalesBack(group) => self.wants_as_usual(&group),
            Event::SomebodyProtects(group) => self.somebody_protects(&group),
            Event::Speaks(id, boot) => self.speaks(&id, boot),
            Event::Checks(id, boot, challenge) => self.checks(&id, boot, challenge),
            Event::Reports(index, evidence) => {
                if self.controllers[index].alive {
                    self.folds(index, Observation::Reported(evidence));
                }
            }
            Event::BalancerRestarts(group, forgets_to_hold) => self.balancer_restarts(&group, forgets_to_hold),
            Event::Promoted(group, releases) => self.promotes(&group, releases),
            Event::OperatorSpeaks(group) => self.operator_speaks(&group),
            Event::Crashes(index) => self.crashes(index),
            Event::Starts(index) => self.starts(index),
            Event::CutOff(index) => {
                let length = self.random.between(5_000, 30_000);
                self.controllers[index].cut_off_until = self.now + length;
                self.after(length, Event::Starts(index));
            }
            Event::ClockSet(index) => {
                let skew = self.random.between(0, SKEW_MAX);
                self.clock_set(index, skew);
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
        self.cloud.instances.values_mut().for_each(|machine| machine.agent.heals(self.now));
        let groups: Vec<_> = self.cloud.groups.keys().cloned().collect();
        for group in &groups {
            self.promotes(group, 4);
            self.wants_as_usual(group);
        }
        self.is_mended();
        self.invariants.heals(self.now);
        groups.into_iter().for_each(|group| self.plan_calm_drift(group));
    }
}

fn told(ruling: &portcullis::verdict::Ruling) -> String {
    format!("{} {}", ruling.verdict, ruling.reason)
}

/// Mostly what can be undone.
const ON_DRIFT: [OnDrift; 5] =
    [OnDrift::Standby, OnDrift::Standby, OnDrift::Standby, OnDrift::Replace, OnDrift::Observe];

pub(crate) fn release(number: u8) -> Digest {
    Digest::of(&[number])
}
