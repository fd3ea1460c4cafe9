//! An instance's way: into service, out of it, and gone.

use super::activity::{Activity, abandoned_text, time_text};
use super::group::Transition;
use super::instance::Instance;
use super::state::LifecycleState as State;
use super::{Cloud, Due};
use crate::event::What;

/// Why and how an instance is taken out.
#[derive(Clone, Debug)]
pub(crate) struct Termination {
    /// AWS's words after "At … ".
    pub(crate) cause: String,
    /// Do terminating hooks hold it?
    pub(crate) runs_hooks: bool,
}

impl Cloud {
    /// Looks at an instance: has its present state ended?
    pub(crate) fn step_instance(&mut self, id: &str) {
        let Some(instance) = self.instances.get(id) else { return };
        if let Some(removed_ms) = instance.removed_ms {
            if removed_ms + REMEMBERED_MS <= self.now_ms {
                self.instances.remove(id);
                self.told_health.remove(id);
            }
            return;
        }
        if instance.state.waits() {
            return self.expire_waits(id);
        }
        if instance.due_ms.is_none_or(|due_ms| due_ms > self.now_ms) {
            return;
        }
        match instance.state {
            State::Pending | State::WarmedPending => self.booted(id),
            State::PendingProceed => self.enter_service(id),
            State::InService => self.check_health(id),
            State::Terminating | State::WarmedTerminating => self.drained(id),
            State::TerminatingProceed => self.gone(id, State::Terminated),
            State::WarmedTerminatingProceed => self.gone(id, State::WarmedTerminated),
            State::WarmedPendingProceed => self.warmed(id),
            State::Detaching => self.gone(id, State::Detached),
            State::EnteringStandby => self.enter(id, State::Standby, None),
            State::ReplacingRootVolume => self.root_volume_drained(id),
            State::ReplacingRootVolumeProceed => self.root_volume_replaced(id),
            State::PendingWait
            | State::TerminatingWait
            | State::ReplacingRootVolumeWait
            | State::RootVolumeReplaced
            | State::WarmedPendingWait
            | State::WarmedTerminatingWait
            | State::WarmedStopped
            | State::WarmedRunning
            | State::WarmedHibernated
            | State::WarmedTerminated
            | State::Standby
            | State::Terminated
            | State::Detached => {}
        }
    }

    fn booted(&mut self, id: &str) {
        let Some(instance) = self.instances.get(id) else { return };
        let warm = instance.state.is_warm();
        if instance.registered || instance.skips_hooks || !self.begin_waits(id, Transition::Launching) {
            if warm { self.warmed(id) } else { self.enter_service(id) }
        }
    }

    /// Registers first; the next time it is in service.
    fn enter_service(&mut self, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let group = instance.group.clone();
        if !std::mem::replace(&mut instance.registered, true) {
            self.register_with_groups(id, &group);
            return self.set_due(id, self.options.delays.register_ms);
        }
        let now_ms = self.now_ms;
        instance.in_service_ms = Some(now_ms);
        instance.skips_hooks = false;
        if let Some(activity) = instance.activity.take() {
            self.activities.update(&activity, |activity| activity.end(now_ms, "Successful"));
        }
        if let Some(group) = self.groups.get_mut(&group) {
            group.failures = super::Failures::default();
        }
        let grace_ms = self.groups.get(&group).map(|group| u64::from(group.health_check_grace_s) * 1_000);
        self.enter(id, State::InService, grace_ms);
        self.recheck_unhealthy(id);
    }

    fn register_with_groups(&mut self, id: &str, group: &str) {
        let Some(group) = self.groups.get(group) else { return };
        if group.suspended.contains_key("AddToLoadBalancer") {
            return;
        }
        for arn in group.target_groups.clone() {
            self.register_target(&arn, id, None);
        }
    }

    /// Takes an instance out for good: deregistered and drained first, then the hooks, then gone.
    pub(crate) fn terminate(&mut self, id: &str, why: &Termination) {
        let Some(instance) = self.instances.get(id).filter(|instance| !instance.state.is_leaving()) else { return };
        let (group, launching) = (instance.group.clone(), instance.activity.clone());
        let warm = instance.state.is_warm();
        let now_ms = self.now_ms;
        if let Some(activity) = launching {
            self.activities.update(&activity, |activity| {
                if activity.ended_ms.is_none() {
                    activity.end(now_ms, "Cancelled");
                }
            });
        }
        let drains = self.deregister_everywhere(id);
        let status = if drains { "WaitingForELBConnectionDraining" } else { "InProgress" };
        let activity = self.begin_activity(&group, format!("Terminating EC2 instance: {id}"), &why.cause, status);
        if let Some(instance) = self.instances.get_mut(id) {
            instance.waits.clear();
            instance.skips_hooks = !why.runs_hooks;
            instance.activity = Some(activity);
        }
        let delay_ms = if drains { self.options.delays.drain_ms } else { 0 };
        let into = if warm { State::WarmedTerminating } else { State::Terminating };
        self.enter(id, into, Some(delay_ms));
    }

    /// Ends a launch badly, and its instance with it.
    pub(crate) fn abandon_launch(&mut self, id: &str, token: &str, how: &str) {
        let Some(instance) = self.instances.get(id) else { return };
        let (group, activity) = (instance.group.clone(), instance.activity.clone());
        let now_ms = self.now_ms;
        if let Some(activity) = activity {
            let reason = abandoned_text(token, how);
            self.activities.update(&activity, |activity| activity.fail(now_ms, "Cancelled", &reason));
        }
        self.launch_failed(&group);
        let cause = "an instance was taken out of service in response to its launch lifecycle action being abandoned.";
        let runs_hooks = self.options.behaviour.abandoned_launch_runs_terminating_hooks;
        self.terminate(id, &Termination { cause: cause.into(), runs_hooks });
        self.reconcile(&group);
    }

    fn drained(&mut self, id: &str) {
        let Some(instance) = self.instances.get(id) else { return };
        let warm = instance.state.is_warm();
        if instance.skips_hooks || !self.begin_waits(id, Transition::Terminating) {
            let into = if warm { State::WarmedTerminatingProceed } else { State::TerminatingProceed };
            self.enter(id, into, Some(self.options.delays.proceed_ms));
        }
    }

    fn gone(&mut self, id: &str, last: State) {
        self.enter(id, last, None);
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.removed_ms = Some(now_ms);
        let (group, activity) = (instance.group.clone(), instance.activity.take());
        if let Some(activity) = activity {
            self.activities.update(&activity, |activity| activity.end(now_ms, "Successful"));
        }
        self.wake(now_ms + REMEMBERED_MS, Due::Instance(id.to_owned()));
        self.reconcile(&group);
    }

    /// The grace period ended, or an unhealthy mark reached its time.
    fn check_health(&mut self, id: &str) {
        let fails = |target: &super::TargetView| target.state == super::TargetState::Unhealthy;
        if self.instances.get(id).is_some_and(|instance| !instance.healthy) {
            self.replace_unhealthy(id);
        } else if self.registrations(id).iter().any(fails) {
            self.failed_balancer_check(id);
        }
    }

    /// Replaces, unless the process is suspended.
    fn replace_unhealthy(&mut self, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.due_ms = None;
        let group = instance.group.clone();
        let suspended = self.groups.get(&group).is_none_or(|group| group.suspended.contains_key("ReplaceUnhealthy"));
        if instance.healthy || suspended {
            return;
        }
        let cause = "an instance was taken out of service in response to a user health-check.";
        self.terminate(id, &Termination { cause: cause.into(), runs_hooks: true });
        self.reconcile(&group);
    }

    /// A load balancer's check failed; it counts in groups that go by it, after the grace period.
    pub(crate) fn failed_balancer_check(&mut self, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some(group) = self.groups.get(&instance.group) else { return };
        let in_grace = instance
            .in_service_ms
            .is_none_or(|since_ms| self.now_ms < since_ms + u64::from(group.health_check_grace_s) * 1_000);
        let ignored = group.suspended.contains_key("HealthCheck") || group.health_check_type != "ELB";
        if !ignored && !in_grace && instance.state == State::InService {
            self.mark_unhealthy(id);
        }
    }

    pub(crate) fn mark_unhealthy(&mut self, id: &str) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.healthy = false;
        }
        self.recheck_unhealthy(id);
    }

    /// Gives an unhealthy instance in service its time to be replaced.
    pub(crate) fn recheck_unhealthy(&mut self, id: &str) {
        let unhealthy = |instance: &Instance| !instance.healthy && instance.state == State::InService;
        if self.instances.get(id).is_some_and(unhealthy) {
            self.set_due(id, self.options.delays.replace_ms);
        }
    }

    /// Enters a state that ends by itself after `ends_after_ms`, or does not.
    pub(crate) fn enter(&mut self, id: &str, to: State, ends_after_ms: Option<u64>) {
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let (from, group) = (instance.state, instance.group.clone());
        instance.enter(to, now_ms);
        instance.due_ms = None;
        if to == State::InService {
            // A refresh may have waited for it.
            self.wake(now_ms, Due::Group(group.clone()));
        }
        self.tell(What::StateChanged { instance: id.to_owned(), group, from, to });
        if let Some(delay_ms) = ends_after_ms {
            self.set_due(id, delay_ms);
        }
    }

    pub(crate) fn set_due(&mut self, id: &str, delay_ms: u64) {
        let at_ms = self.now_ms + delay_ms;
        if let Some(instance) = self.instances.get_mut(id) {
            instance.due_ms = Some(at_ms);
            self.wake(at_ms, Due::Instance(id.to_owned()));
        }
    }

    /// Begins an activity; `cause` is what follows "At … ".
    pub(crate) fn begin_activity(
        &mut self,
        group: &str,
        description: String,
        cause: &str,
        status: &'static str,
    ) -> String {
        let id = self.random.uuid();
        self.activities.push(Activity {
            id: id.clone(),
            group: group.to_owned(),
            description,
            cause: format!("At {} {cause}", time_text(self.now_ms)),
            started_ms: self.now_ms,
            ended_ms: None,
            status,
            message: None,
            progress: 0,
        });
        id
    }
}

/// How long a gone instance can still be shown by a lagging description.
const REMEMBERED_MS: u64 = 600_000;
