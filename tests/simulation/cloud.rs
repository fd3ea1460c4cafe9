//! The cloud: groups that launch, hooks that hold, timers that end a wait, descriptions that lag.

use std::collections::BTreeMap;

use portcullis::{
    action::Held,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{Answer, Custody, Description, GroupFacts, Hook, InstanceFacts},
    timestamp::Timestamp,
};

use crate::agent::Agent;

pub(crate) const HOOK: &str = "portcullis";
pub(crate) const OTHER_HOOK: &str = "deployer";
/// The group behind a balancer.
pub(crate) const IN_PLACE: &str = "lb";
pub(crate) const HEARTBEAT_TIMEOUT: u64 = 60_000;
pub(crate) const GLOBAL_TIMEOUT: u64 = 900_000;

#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) groups: BTreeMap<GroupName, Group>,
    pub(crate) instances: BTreeMap<InstanceId, Machine>,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) desired: usize,
    pub(crate) other_hook: bool,
    /// Whether new machines will never be ready, even when all else is well.
    pub(crate) hopeless: bool,
    /// Behind a balancer.
    pub(crate) in_place: bool,
    /// What it launches from.
    pub(crate) template: u64,
    /// How many are wanted but for a while.
    pub(crate) usually: usize,
    /// Whether a scale-in takes one that waits before one that serves: nobody knows what AWS does.
    pub(crate) takes_waiting_first: bool,
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) group: GroupName,
    pub(crate) agent: Agent,
    /// States and when they began; the last is the present one. `None`: it is gone.
    history: Vec<(u64, Option<LifecycleState>)>,
    pub(crate) wait: Option<Wait>,
    /// Who protected it, and when; the last counts.
    protections: Vec<(u64, Option<Protector>)>,
    /// When somebody else last took its protection away.
    pub(crate) unprotected_at: u64,
    /// How many waits there truly were.
    pub(crate) waits: u64,
    /// Whether an operator put it in standby.
    pub(crate) by_hand: bool,
    /// Whether it goes to the warm pool first.
    pub(crate) warm: bool,
    /// What it was launched from.
    pub(crate) template: u64,
    /// Whether it came into service without ever waiting.
    pub(crate) attached: bool,
    /// Whether it served when the gate came.
    pub(crate) before_the_gate: bool,
}

/// Who protected a machine from scale-in. The cloud keeps one bit, and does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protector {
    Guard,
    /// Somebody else, then.
    User(u64),
    /// Somebody else, while the guard was at it: nobody could tell.
    Either,
}

/// A wait, as the cloud keeps it.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) began_at: u64,
    /// Before this, the call that completes it is answered "no active action", though described as waiting.
    pub(crate) active_from: u64,
    pub(crate) ours_beaten_at: u64,
    pub(crate) ours_held: bool,
    pub(crate) other_held: bool,
}

impl Machine {
    pub(crate) fn new(group: GroupName, agent: Agent, now: u64) -> Self {
        let history = vec![(now, Some(LifecycleState::Pending))];
        Self {
            group,
            agent,
            history,
            wait: None,
            protections: vec![],
            unprotected_at: 0,
            waits: 0,
            by_hand: false,
            warm: false,
            template: 1,
            attached: false,
            before_the_gate: false,
        }
    }

    pub(crate) fn launched_at(&self) -> u64 {
        self.history.first().map_or(0, |(at, _)| *at)
    }

    /// It is there, not on its way out, and not in standby.
    pub(crate) fn counts(&self) -> bool {
        self.state().is_some_and(|state| *state != LifecycleState::Terminating) && !self.stands_by()
    }

    pub(crate) fn protector(&self) -> Option<Protector> {
        self.protections.last().and_then(|(_, protector)| *protector)
    }

    pub(crate) fn is_protected_by(&mut self, protector: Option<Protector>, now: u64) {
        self.protections.push((now, protector));
    }

    fn was_protected(&self, moment: u64) -> bool {
        self.protections.iter().rev().find(|(since, _)| *since <= moment).is_some_and(|(_, by)| by.is_some())
    }

    pub(crate) fn state(&self) -> Option<&LifecycleState> {
        self.history.last().and_then(|(_, state)| state.as_ref())
    }

    /// When its present state began.
    pub(crate) fn since(&self) -> u64 {
        self.history.last().map_or(0, |(at, _)| *at)
    }

    pub(crate) fn is(&self, state: &LifecycleState) -> bool {
        self.state() == Some(state)
    }

    pub(crate) fn becomes(&mut self, state: Option<LifecycleState>, now: u64) {
        self.history.push((now, state));
    }

    pub(crate) fn waits(&mut self, other_hook: bool, active_from: u64, now: u64) {
        let waits = if self.warm { LifecycleState::WarmedPendingWait } else { LifecycleState::PendingWait };
        self.becomes(Some(waits), now);
        self.waits += 1;
        self.wait =
            Some(Wait { began_at: now, active_from, ours_beaten_at: now, ours_held: true, other_held: other_hook });
    }

    /// Whether it is out of traffic, or about to be, by somebody's wish.
    pub(crate) fn stands_by(&self) -> bool {
        self.is(&LifecycleState::EnteringStandby) || self.is(&LifecycleState::Standby)
    }

    /// Whether it served at any time since then.
    pub(crate) fn served_since(&self, since: u64) -> bool {
        let ends = self.history.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        let mut served =
            self.history.iter().zip(ends).filter(|((_, state), _)| *state == Some(LifecycleState::InService));
        served.any(|(_, end)| end > since)
    }

    fn state_at(&self, moment: u64) -> Option<&LifecycleState> {
        self.history.iter().rev().find(|(since, _)| *since <= moment).and_then(|(_, state)| state.as_ref())
    }

    /// The wait that `held` is about, if it can be completed now.
    pub(crate) fn active(&mut self, now: u64) -> Option<&mut Wait> {
        self.wait.as_mut().filter(|wait| wait.ours_held && now >= wait.active_from)
    }
}

impl Cloud {
    /// As things were at `as_of`.
    pub(crate) fn describe(&self, name: &GroupName, asked_at: u64, as_of: u64, complete: bool) -> Description {
        let group = &self.groups[name];
        let members = self.instances.iter().filter(|(_, machine)| machine.group == *name);
        let listed = members.filter_map(|(id, machine)| {
            let state = machine.state_at(as_of)?.clone();
            let (instance, protected) = (id.clone(), machine.was_protected(as_of));
            let launch_template = Some(format!("t:{}", machine.template));
            Some(InstanceFacts { instance, state, launch_template, protected, healthy: None })
        });
        let instances = if complete { listed.collect() } else { listed.take(1).collect() };
        let hooks = [HOOK].into_iter().chain(group.other_hook.then_some(OTHER_HOOK));
        let launch_hooks = hooks.map(hook).collect();
        let desired = group.desired as u32;
        let custody = if group.in_place { Custody::InPlace } else { Custody::AtLaunch };
        let launch_template = Some(format!("t:{}", group.template));
        let facts = GroupFacts { desired, launch_hooks, instances, custody, launch_template, ..GroupFacts::default() };
        Description { group: name.clone(), asked_at: Timestamp(asked_at), complete, facts: Some(facts) }
    }

    /// Into standby: the group wants one fewer. Whether it could be done.
    pub(crate) fn enters_standby(&mut self, id: &InstanceId, by_hand: bool, now: u64) -> bool {
        let groups = &self.groups;
        let can = |machine: &&mut Machine| machine.is(&LifecycleState::InService) && groups[&machine.group].desired > 0;
        let Some(machine) = self.instances.get_mut(id).filter(can) else { return false };
        machine.becomes(Some(LifecycleState::EnteringStandby), now);
        machine.by_hand = by_hand;
        let group = machine.group.clone();
        self.groups.entry(group).and_modify(|group| {
            (group.desired, group.usually) = (group.desired - 1, group.usually.saturating_sub(1));
        });
        true
    }

    /// Out of standby, past the hooks: the group wants one more. Whether it could be done.
    pub(crate) fn exits_standby(&mut self, id: &InstanceId, now: u64) -> bool {
        let Some(machine) = self.instances.get_mut(id).filter(|machine| machine.is(&LifecycleState::Standby)) else {
            return false;
        };
        machine.becomes(Some(LifecycleState::Pending), now);
        let group = machine.group.clone();
        self.groups.entry(group).and_modify(|group| {
            (group.desired, group.usually) = (group.desired + 1, group.usually + 1);
        });
        true
    }

    pub(crate) fn heartbeat(&mut self, held: &Held, now: u64) -> Answer {
        match self.instances.get_mut(&held.instance).and_then(|machine| machine.active(now)) {
            Some(wait) => {
                wait.ours_beaten_at = now;
                Answer::Accepted
            }
            None => Answer::NoActiveAction,
        }
    }
}

fn hook(name: &str) -> Hook {
    Hook {
        name: name.into(),
        heartbeat_timeout_s: HEARTBEAT_TIMEOUT / 1_000,
        global_timeout_s: GLOBAL_TIMEOUT / 1_000,
        abandons_by_default: true,
    }
}
