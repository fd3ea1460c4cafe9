//! Target groups, registration, health and draining.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cloud, Due};
use crate::event::What;
use crate::options::TargetHealthSource;

/// A target group. It is taken to be in use by a load balancer.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    /// The ARN.
    pub arn: String,
    /// The name.
    pub name: String,
    /// `HTTP`, `TCP`…
    pub protocol: String,
    /// The port that targets get unless they name another.
    pub port: u16,
    /// The VPC, as given.
    pub vpc: Option<String>,
    /// `instance` or `ip`.
    pub target_type: String,
    /// The path that health checks ask for.
    pub health_check_path: String,
    /// The port that they ask, or `traffic-port`.
    pub health_check_port: String,
    /// The registered targets, by id and port.
    pub targets: BTreeMap<(String, u16), Target>,
}

/// A registered target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its health.
    pub state: TargetState,
    /// When the present state ends by itself, in milliseconds.
    pub(crate) due_ms: Option<u64>,
}

/// A target's health, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// Registered, not yet looked at.
    Initial,
    /// Passes its checks.
    Healthy,
    /// Fails its checks.
    Unhealthy,
    /// Deregistered; requests in flight may finish.
    Draining,
    /// Not registered.
    Unused,
}

impl TargetState {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
        }
    }

    /// AWS's reason code and text, for the states that have one.
    pub const fn reason(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Initial => Some(("Elb.RegistrationInProgress", "Target registration is in progress")),
            Self::Healthy => None,
            Self::Unhealthy => Some(("Target.FailedHealthChecks", "Health checks failed")),
            Self::Draining => Some(("Target.DeregistrationInProgress", "Target deregistration is in progress")),
            Self::Unused => Some(("Target.NotRegistered", "Target is not registered to the target group")),
        }
    }
}

impl Cloud {
    /// Tells what a target's health checks find. It counts for every target group the instance is in, now or later.
    ///
    /// Only `Healthy` and `Unhealthy` can be told; the other states follow from registration.
    pub fn tell_target_health(&mut self, instance: &str, healthy: bool) {
        self.told_health.insert(instance.to_owned(), healthy);
        for arn in self.target_groups.keys().cloned().collect::<Vec<_>>() {
            self.step_targets(&arn, instance);
        }
    }

    /// Registers a target, or takes a draining one back.
    pub(crate) fn register_target(&mut self, arn: &str, id: &str, port: Option<u16>) {
        let due_ms = self.now_ms + self.options.delays.initial_ms;
        let Some(group) = self.target_groups.get_mut(arn) else { return };
        let key = (id.to_owned(), port.unwrap_or(group.port));
        if group.targets.get(&key).is_some_and(|target| target.state != TargetState::Draining) {
            return;
        }
        group.targets.insert(key, Target { state: TargetState::Initial, due_ms: Some(due_ms) });
        self.target_changed(arn, id, Some(TargetState::Initial));
        self.wake(due_ms, Due::Target { arn: arn.to_owned(), id: id.to_owned() });
    }

    /// Starts draining a target on every port (or the one given). Returns whether there was one.
    pub(crate) fn deregister_target(&mut self, arn: &str, id: &str, port: Option<u16>) -> bool {
        let due_ms = self.now_ms + self.options.delays.drain_ms;
        let Some(group) = self.target_groups.get_mut(arn) else { return false };
        let mut found = false;
        for ((target, target_port), state) in &mut group.targets {
            if target == id && port.is_none_or(|port| port == *target_port) && state.state != TargetState::Draining {
                *state = Target { state: TargetState::Draining, due_ms: Some(due_ms) };
                found = true;
            }
        }
        if found {
            self.target_changed(arn, id, Some(TargetState::Draining));
            self.wake(due_ms, Due::Target { arn: arn.to_owned(), id: id.to_owned() });
        }
        found
    }

    /// Starts draining an instance everywhere; returns whether it was registered anywhere.
    pub(crate) fn deregister_everywhere(&mut self, id: &str) -> bool {
        let arns: Vec<String> = self.target_groups.keys().cloned().collect();
        let mut found = false;
        for arn in arns {
            found |= self.deregister_target(&arn, id, None);
        }
        found
    }

    /// Moves a target on, when its time has come or its health was told.
    pub(crate) fn step_targets(&mut self, arn: &str, id: &str) {
        let told = self.told_health.get(id).copied();
        let automatic = self.options.target_health == TargetHealthSource::Automatic;
        let verdict = told.or(automatic.then_some(true));
        let now_ms = self.now_ms;
        let Some(group) = self.target_groups.get_mut(arn) else { return };
        let keys: Vec<_> = group.targets.keys().filter(|(target, _)| target == id).cloned().collect();
        let mut changed = None;
        for key in keys {
            let Some(target) = group.targets.get_mut(&key) else { continue };
            let next = target.next(verdict, now_ms);
            if next == Some(target.state) {
                continue;
            }
            changed = Some(next);
            match next {
                Some(state) => *target = Target { state, due_ms: None },
                None => drop(group.targets.remove(&key)),
            }
        }
        if let Some(state) = changed {
            self.target_changed(arn, id, state);
        }
    }

    fn target_changed(&mut self, arn: &str, id: &str, to: Option<TargetState>) {
        self.tell(What::TargetChanged { target_group: arn.to_owned(), target: id.to_owned(), to });
        if to == Some(TargetState::Unhealthy) {
            self.failed_balancer_check(id);
        }
    }
}

impl Target {
    /// The state that follows now; `None` is no longer registered.
    fn next(&self, healthy: Option<bool>, now_ms: u64) -> Option<TargetState> {
        let due = self.due_ms.is_none_or(|due_ms| due_ms <= now_ms);
        match (self.state, healthy) {
            (TargetState::Draining, _) if due => None,
            (TargetState::Draining, _) => Some(TargetState::Draining),
            (TargetState::Initial, _) if !due => Some(TargetState::Initial),
            (_, Some(true)) => Some(TargetState::Healthy),
            (_, Some(false)) => Some(TargetState::Unhealthy),
            (state, None) => Some(state),
        }
    }
}
