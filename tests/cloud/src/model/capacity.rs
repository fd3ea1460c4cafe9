//! As many instances as wanted: launching, slowing after failures, and choosing whom to take out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use super::group::{Group, LaunchTemplate};
use super::instance::Instance;
use super::lifecycle::Termination;
use super::state::LifecycleState as State;
use super::{Cloud, Due};

impl Cloud {
    /// Brings a group towards its desired capacity. Safe to call at any time.
    pub(crate) fn reconcile(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else { return };
        let (desired, deleting) = (group.desired as usize, group.deleting);
        let counted = self.counted(name).count();
        if counted < desired {
            self.scale_out(name, desired - counted);
        } else if counted > desired {
            self.scale_in(name, counted - desired);
        }
        self.reconcile_pool(name);
        self.refresh(name);
        if deleting && !self.instances.values().any(|i| i.group == name && i.removed_ms.is_none()) {
            self.groups.remove(name);
        }
    }

    /// The instances that count against the desired capacity.
    pub(crate) fn counted(&self, name: &str) -> impl Iterator<Item = &Instance> {
        let present = self.instances.values().filter(|instance| instance.removed_ms.is_none());
        present.filter(move |instance| instance.group == name && instance.state.counts())
    }

    fn scale_out(&mut self, name: &str, missing: usize) {
        for _ in 0..missing {
            if !self.may_launch(name) {
                return;
            }
            if !self.take_from_pool(name) && !self.launch_or_fail(name, State::Pending) {
                return;
            }
        }
    }

    /// Launches are neither suspended nor slowed; in a pause, the group is looked at again after it.
    pub(crate) fn may_launch(&mut self, name: &str) -> bool {
        let Some(group) = self.groups.get(name) else { return false };
        let pause_until_ms = group.failures.pause_until_ms;
        if group.suspended.contains_key("Launch") {
            return false;
        }
        if pause_until_ms > self.now_ms {
            self.wake(pause_until_ms, Due::Group(name.to_owned()));
            return false;
        }
        true
    }

    /// Launches one instance, unless a fault lets the launch fail.
    pub(crate) fn launch_or_fail(&mut self, name: &str, into: State) -> bool {
        if let Some(message) = self.faults.launch_failure() {
            self.fail_launch(name, &message);
            return false;
        }
        self.launch(name, into);
        true
    }

    fn launch(&mut self, name: &str, into: State) {
        let id = self.random.instance_id();
        let zone = self.emptiest_zone(name);
        let address = self.next_address();
        let Some(group) = self.groups.get(name) else { return };
        let have = self.counted(name).count();
        let cause = format!(
            "{}an instance was started in response to a difference between desired and actual capacity, increasing \
             the capacity from {have} to {}.",
            group.cause,
            have + 1
        );
        let mut instance = new_instance(id.clone(), group, zone, address, self.now_ms);
        let text = format!("Launching a new EC2 instance: {id}");
        instance.activity = Some(self.begin_activity(name, text, &cause, "PreInService"));
        instance.enter(into, self.now_ms);
        self.instances.insert(id.clone(), instance);
        self.tell_launched(&id);
        self.set_due(&id, self.options.delays.boot_ms);
    }

    /// A launch that never became an instance: exhausted capacity, quota, a bad template.
    fn fail_launch(&mut self, name: &str, message: &str) {
        let cause = "an instance was started in response to a difference between desired and actual capacity.";
        let activity = self.begin_activity(name, "Launching a new EC2 instance".into(), cause, "PreInService");
        let now_ms = self.now_ms;
        let reason = format!("{message} Launching EC2 instance failed.");
        self.activities.update(&activity, |activity| activity.fail(now_ms, "Failed", &reason));
        self.launch_failed(name);
        let Some(group) = self.groups.get_mut(name) else { return };
        // Nothing else would make this group look again, and looking at once would never end.
        let again_ms = group.failures.pause_until_ms.max(now_ms + self.options.delays.boot_ms.max(1));
        group.failures.pause_until_ms = again_ms;
        self.wake(again_ms, Due::Group(name.to_owned()));
    }

    /// Counts a failed launch: after a few in a row the group is slowed, after a day it may be stopped.
    pub(crate) fn launch_failed(&mut self, name: &str) {
        let (now_ms, delays) = (self.now_ms, self.options.delays);
        let Some(group) = self.groups.get_mut(name) else { return };
        let failures = &mut group.failures;
        if failures.in_a_row == 0 {
            failures.first_ms = now_ms;
        }
        failures.in_a_row += 1;
        if let Some(doublings) = failures.in_a_row.checked_sub(FAILURES_UNPUNISHED) {
            let pause_ms = delays.relaunch_first_ms.saturating_mul(1 << doublings.min(DOUBLINGS_MAX));
            failures.pause_until_ms = now_ms + pause_ms.min(delays.relaunch_most_ms);
        }
        let failing_for_ms = now_ms - failures.first_ms;
        if self.options.behaviour.suspend_launches_after_ms.is_some_and(|limit_ms| failing_for_ms >= limit_ms) {
            group.suspended.insert("Launch".into(), "Administrative suspension: launches keep failing".into());
        }
    }

    fn scale_in(&mut self, name: &str, surplus: usize) {
        let Some(group) = self.groups.get(name) else { return };
        if group.suspended.contains_key("Terminate") {
            return;
        }
        let (user_cause, deleting) = (group.cause.clone(), group.deleting);
        for _ in 0..surplus {
            let Some(id) = self.victim(name) else { return self.all_protected(name) };
            let have = self.counted(name).count();
            let cause = format!(
                "{user_cause}an instance was taken out of service in response to a difference between desired and \
                 actual capacity, shrinking the capacity from {have} to {}.",
                have - 1
            );
            self.terminate(&id, &Termination { cause, runs_hooks: !deleting });
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.told_all_protected = false;
        }
    }

    /// Whom scale-in takes: never a protected one; then by the first termination policy.
    ///
    /// `Default` is roughly AWS's: the fullest zone, then the oldest launch template version, then the oldest.
    fn victim(&self, name: &str) -> Option<String> {
        let group = self.groups.get(name)?;
        let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in self.counted(name) {
            *in_zone.entry(&instance.zone).or_default() += 1;
        }
        let policy = group.termination_policies.first().map_or("Default", String::as_str);
        let waiting_first = self.options.behaviour.scale_in_takes_waiting_first;
        let candidates = self.counted(name).filter(|instance| !instance.protected || group.deleting);
        let chosen = candidates.min_by_key(|instance| {
            let late = instance.state.is_launching() != waiting_first;
            let zone = Reverse(in_zone.get(instance.zone.as_str()).copied());
            let age = i128::from(instance.launched_ms);
            let rank = match policy {
                "OldestInstance" => (age, 0),
                "NewestInstance" => (-age, 0),
                _ => (template_age(group, instance), age),
            };
            (late, zone, rank, &instance.id)
        });
        chosen.map(|instance| instance.id.clone())
    }

    fn all_protected(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if std::mem::replace(&mut group.told_all_protected, true) {
            return;
        }
        let text = "Could not scale to desired capacity because all remaining instances are protected from scale-in.";
        let cause = "a difference between desired and actual capacity was found.";
        let activity = self.begin_activity(name, text.into(), cause, "Failed");
        let now_ms = self.now_ms;
        self.activities.update(&activity, |activity| activity.end(now_ms, "Failed"));
    }

    fn emptiest_zone(&self, name: &str) -> String {
        let Some(group) = self.groups.get(name) else { return String::new() };
        let used = |zone: &str| self.counted(name).filter(|instance| instance.zone == zone).count();
        group.zones.iter().min_by_key(|zone| used(zone)).cloned().unwrap_or_default()
    }

    pub(crate) fn next_address(&mut self) -> Ipv4Addr {
        let address = u32::from(self.options.first_address).wrapping_add(self.launches);
        self.launches = self.launches.wrapping_add(1);
        Ipv4Addr::from(address)
    }
}

pub(crate) fn new_instance(id: String, group: &Group, zone: String, private_ip: Ipv4Addr, now_ms: u64) -> Instance {
    Instance {
        id,
        group: group.name.clone(),
        zone,
        private_ip,
        instance_type: INSTANCE_TYPE.into(),
        launch_template: group.launch_template.clone(),
        launch_configuration: group.launch_configuration.clone(),
        state: State::Pending,
        launched_ms: now_ms,
        healthy: true,
        protected: group.new_instances_protected,
        waits: BTreeMap::new(),
        due_ms: None,
        registered: false,
        skips_hooks: false,
        activity: None,
        in_service_ms: None,
        removed_ms: None,
        history: VecDeque::new(),
    }
}

/// Smaller is older: another template than the group's present one before every version of it.
fn template_age(group: &Group, instance: &Instance) -> i128 {
    if instance.launch_template == group.launch_template {
        return i128::MAX;
    }
    let version = |template: &LaunchTemplate| template.version.as_deref().and_then(|v| v.parse::<u32>().ok());
    instance.launch_template.as_ref().and_then(version).map_or(-1, i128::from)
}

/// The one instance type there is.
const INSTANCE_TYPE: &str = "t3.micro";

/// Failed launches in a row before AWS slows a group; the figure is a guess, no source gives one.
const FAILURES_UNPUNISHED: u32 = 5;

/// Enough doublings to pass any pause; keeps the shift in range.
const DOUBLINGS_MAX: u32 = 20;
