//! What happens to the store and the controllers, and what becomes of their calls.

use portcullis::{
    action::{Action, AttemptKey, Departure, Held, Told},
    alert::AlertKey,
    instance::{GroupName, LifecycleState},
    observation::{Answer, Observation},
    record::{DetachRecord, FreezeRecord, GroupRecord, Key, OverrideRecord, PauseRecord, Record, Warrant, Way, Word},
    timestamp::Timestamp,
};

use super::{Event, Fault, LEASE, LEASE_RENEWAL, Lease, World, release, told};
use crate::invariants::LEAVING;

impl World {
    // --- operators and the store

    /// The wanted release, the one before it, or only the wanted one; or all there ever were.
    pub(super) fn promotes(&mut self, group: &GroupName, releases: usize) {
        let accepted: Vec<_> = match releases {
            0 => vec![],
            1 => vec![release(1)],
            2 => vec![release(2), release(1)],
            3 => vec![release(2)],
            5 => vec![release(3), release(2), release(1)],
            _ => vec![release(3)],
        };
        self.invariants.promoted(group, &accepted, self.now);
        self.writes(&Key::Group(group.clone()), &Record::Group(GroupRecord { accepted, at: Timestamp(self.now) }));
    }

    /// On one that waits, as far as anybody knows, or on the whole group.
    pub(super) fn operator_speaks(&mut self, group: &GroupName) {
        let (at, until) = (Timestamp(self.now), Timestamp(self.now + self.random.between(3_000, 90_000)));
        let warrant = Warrant { by: "ada".into(), because: "I looked".into() };
        self.figures.words += 1;
        let frozen = match self.store.get(&Key::Freeze(group.clone())) {
            Some((_, Record::Freeze(freeze))) if freeze.over_at.is_none() => Some(freeze.clone()),
            _ => None,
        };
        if let Some(freeze) = frozen {
            let record = FreezeRecord { over_at: Some(at), warrant: Some(warrant), ..freeze };
            return self.writes(&Key::Freeze(group.clone()), &Record::Freeze(record));
        }
        if self.random.percent(25) {
            return self.writes(&Key::Pause(group.clone()), &Record::Pause(PauseRecord { warrant, at, until }));
        }
        if self.random.percent(20) {
            return self.operator_leaves(group);
        }
        let waits = self.store.iter().filter_map(|(key, (_, record))| match (key, record) {
            (Key::Wait(id), Record::Wait(wait)) if wait.group == *group && !wait.over => Some((id.clone(), wait.wait)),
            _ => None,
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return;
        }
        let (id, wait) = waits[self.random.between(0, waits.len() as u64 - 1) as usize].clone();
        let word = self.random.one_of(&[Word::Admit, Word::Hold, Word::Hold, Word::Reject]);
        let record = OverrideRecord { group: group.clone(), wait, word, warrant, at, until };
        self.invariants.said(&id, &record);
        self.writes(&Key::Override(id), &Record::Override(record));
    }

    /// Detaches the group; attaches it again, if it is detached.
    fn operator_leaves(&mut self, group: &GroupName) {
        let (key, at) = (Key::Detach(group.clone()), Timestamp(self.now));
        let detached = matches!(self.store.get(&key), Some((_, Record::Detach(record))) if record.ended_at.is_none());
        let warrant = Warrant { by: "ada".into(), because: LEAVING.into() };
        self.invariants.detached(group, !detached, self.now);
        self.writes(&key, &Record::Detach(DetachRecord { warrant, at, ended_at: detached.then_some(at) }));
    }

    fn writes(&mut self, key: &Key, record: &Record) {
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

    pub(super) fn crashes(&mut self, index: usize) {
        if self.controllers[index].alive {
            self.figures.crashes += 1;
            self.controllers[index].crashes();
            let delay = self.random.between(200, 15_000);
            self.after(delay, Event::Starts(index));
        }
    }

    /// Somebody sets its clock. The controller's own never goes back while the process lives: see its `Clock`.
    pub(super) fn clock_set(&mut self, index: usize, skew: u64) {
        let ahead = skew > self.controllers[index].skew || !self.controllers[index].alive;
        if !self.healed && ahead {
            self.controllers[index].skew = skew;
            // A rate means nothing across a clock that was set.
            self.controllers[index].pressed = None;
            self.controllers[index].clock_set_at = self.now;
            self.figures.clocks_set += 1;
            self.turn(index);
        }
    }

    /// Begins by reading the whole store; or sees it again.
    pub(super) fn starts(&mut self, index: usize) {
        if self.is_cut_off(index) {
            return;
        }
        self.controllers[index].alive = true;
        for (key, (revision, record)) in self.store.clone() {
            self.folds(index, Observation::Stored { key, revision, record: Some(record) });
        }
    }

    pub(super) fn leases(&mut self, index: usize) {
        self.after(LEASE_RENEWAL, Event::Leases(index));
        if !self.controllers[index].alive || self.is_cut_off(index) {
            return;
        }
        if self.lease.until <= self.now {
            self.lease = Lease { holder: index, epoch: self.lease.epoch + 1, until: 0 };
        }
        if self.lease.holder == index {
            self.lease.until = self.now + LEASE;
            let controller = &mut self.controllers[index];
            let until = controller.local(self.lease.until);
            let observation = Observation::Lease { epoch: self.lease.epoch, until };
            // As the controller sees it, by its own clock: then it does not listen anew.
            let local = controller.local(self.now);
            let led_already = controller.observed.lease.is_some_and(|(_, until)| until > local);
            controller.leads_until = self.lease.until;
            self.invariants.leased(index, controller.life, led_already, self.now);
            self.controllers[index].folds(observation, self.now);
            if !led_already {
                self.turn(index);
            }
        }
    }

    /// What comes within a few milliseconds is decided on together.
    pub(super) fn folds(&mut self, index: usize, observation: Observation) {
        let now = self.now;
        self.controllers[index].folds(observation, now);
        if !self.controllers[index].turn_pending {
            self.controllers[index].turn_pending = true;
            self.after(5, Event::Turn(index));
        }
    }

    pub(super) fn turn(&mut self, index: usize) {
        let now = self.now;
        self.controllers[index].turn_pending = false;
        if !self.controllers[index].alive {
            return;
        }
        self.figures.turns += 1;
        let decision = self.controllers[index].turns(now);
        self.invariants.decided(index, &self.controllers[index], &decision, now);
        if self.lease.holder == index && self.lease.until > now {
            let by = (index, self.controllers[index].life);
            self.invariants.tells(by, &self.cloud, &decision, now);
            self.invariants.nobody_slips(by, &self.cloud, &self.store, now);
        }
        if self.loud {
            decision.rulings.iter().for_each(|(id, ruling)| println!("            {index}: {id} {}", told(ruling)));
        }
        for action in decision.actions {
            self.sends(index, action);
        }
        let skew = self.controllers[index].skew;
        self.controllers[index].wake_at = decision.wake_at.map(|at| at.0.saturating_sub(skew).max(now + 1));
        if let Some(at) = self.controllers[index].wake_at {
            self.after(at - now, Event::Wakes(index, at));
        }
    }

    fn sends(&mut self, index: usize, action: Action) {
        let (now, attempt) = (self.now, action.key());
        self.invariants.sends(&self.controllers[index], &action, now);
        let at = self.controllers[index].local(now);
        self.folds(index, Observation::Sent { attempt: attempt.clone(), at });
        if !self.controllers[index].may_act(now) {
            let answer = Answer::Refused { because: "not sent: the lease ends too soon".into() };
            return self.answers(index, self.controllers[index].life, attempt, answer);
        }
        let life = self.controllers[index].life;
        let fault = self.fault();
        let latency = match action {
            Action::Record { .. } => self.random.between(1, 20),
            Action::Describe(_)
            | Action::Admit(_)
            | Action::KeepWaiting(_)
            | Action::GiveUp(_)
            | Action::Withdraw(_)
            | Action::Return(_)
            | Action::Protect(_)
            | Action::Tell { .. } => self.latency(),
        };
        self.after(latency, Event::Call(index, life, action, fault));
    }

    pub(super) fn call(&mut self, index: usize, life: u64, action: Action, fault: Fault) {
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
        let at = self.controllers[index].local(self.now + latency);
        self.after(latency, Event::Tells(index, life, Observation::Answered { attempt, answer, at }));
    }

    fn done(&mut self, index: usize, life: u64, action: Action) -> Answer {
        let by_holder = self.lease.holder == index && self.lease.until > self.now;
        self.invariants.arrives(&action, by_holder);
        match action {
            Action::Record { key, revision, record } => self.records((index, life), &key, revision, &record),
            Action::Describe(group) => self.describes(index, life, &group),
            Action::Admit(held) if self.is_in_place(&held.group) => self.lets_in(&held),
            Action::KeepWaiting(held) if self.is_in_place(&held.group) => self.holds(&held),
            Action::KeepWaiting(held) => self.cloud.heartbeat(&held, self.now),
            Action::Admit(held) => self.ends(&held, true),
            Action::GiveUp(held) => self.ends(&held, false),
            Action::Withdraw(departure) => self.withdraws(&departure),
            Action::Return(departure) => self.brings_back(&departure),
            Action::Protect(protection) => self.protects(&protection),
            Action::Tell { key, sink, told, .. } => self.told(key, sink, told),
        }
    }

    /// A sink takes it, unless it is deaf.
    fn told(&mut self, key: AlertKey, sink: String, told: Told) -> Answer {
        if self.deaf && sink == "mail" {
            return Answer::Unknown { because: "nobody listens".into() };
        }
        self.figures.told += 1;
        self.invariants.told(key, sink, told, self.now);
        Answer::Accepted
    }

    fn records(&mut self, by: (usize, u64), key: &Key, revision: Option<u64>, record: &Record) -> Answer {
        if self.store.get(key).map(|(revision, _)| *revision) != revision {
            return Answer::Refused { because: "another revision".into() };
        }
        self.invariants.recorded(by, key, record, &self.store, self.now);
        self.figures.frozen += u64::from(matches!(record, Record::Freeze(freeze) if freeze.over_at.is_none()));
        self.writes(key, record);
        Answer::Accepted
    }

    fn describes(&mut self, index: usize, life: u64, group: &GroupName) -> Answer {
        let asked_at = self.controllers[index].under_way.get(&AttemptKey::Describe(group.clone()));
        let asked_at = asked_at.copied().filter(|_| self.controllers[index].life == life).unwrap_or(self.now);
        let lag = if self.chaos(25) { self.random.between(0, 2_500) } else { self.random.between(0, 100) };
        let complete = !self.chaos(5);
        let asked_at = self.controllers[index].local(asked_at).0;
        let description = self.cloud.describe(group, asked_at, self.now.saturating_sub(lag), complete);
        let latency = self.latency();
        self.after(latency, Event::Tells(index, life, Observation::Described(description.clone())));
        if self.chaos(5) {
            self.after(latency + 5_000, Event::Tells(index, life, Observation::Described(description)));
        }
        Answer::Accepted
    }

    fn withdraws(&mut self, departure: &Departure) -> Answer {
        let (id, now) = (&departure.instance, self.now);
        if !self.cloud.instances.get(id).is_some_and(|machine| machine.is(&LifecycleState::InService)) {
            return Answer::Refused { because: "not in service".into() };
        }
        self.invariants.withdrawn(departure, &self.cloud, &self.store, now);
        self.figures.withdrawn += 1;
        match departure.way {
            Way::Standby => drop(self.enters_standby(id, false)),
            Way::Replace => self.terminates(id),
        }
        Answer::Accepted
    }

    fn brings_back(&mut self, departure: &Departure) -> Answer {
        let (id, now) = (&departure.instance, self.now);
        if !self.cloud.instances.get(id).is_some_and(|machine| machine.is(&LifecycleState::Standby)) {
            return Answer::Refused { because: "not in standby".into() };
        }
        self.invariants.returned(departure, &self.cloud, &self.store, now);
        self.figures.returned += 1;
        self.exits_standby(id);
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
            self.figures.on_a_word += u64::from(self.invariants.is_warranted(held, &self.store));
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
