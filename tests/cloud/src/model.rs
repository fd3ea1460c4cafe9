//! The cloud itself: a value that is told the time and asked questions. No IO, no clock, no threads.
//!
//! ```text
//! calls (src/api) ─▶ groups, hooks, targets ─▶ reconcile (capacity) ─▶ instances ─▶ waits ─▶ events, activities
//!                                                    ▲                    │
//!                                  advance(now) ─────┴── agenda ◀─────────┘
//! ```
//!
//! Whatever is to happen later is an entry of the agenda. An entry only says "look here now": who is looked at judges
//! by its own deadlines, so a stale entry does no harm and nothing has to be cancelled.

mod activity;
mod capacity;
mod group;
mod hooks;
mod instance;
mod lifecycle;
mod notice;
mod refresh;
mod root_volume;
mod state;
mod targets;
mod warm_pool;

use std::collections::{BTreeMap, BTreeSet};

pub use activity::Activity;
pub(crate) use activity::time_text;
pub(crate) use capacity::new_instance;
pub(crate) use group::Failures;
pub use group::{ActionResult, Group, Hook, LaunchTemplate, Maintenance, Tag, Transition};
pub(crate) use hooks::EndedBy;
pub(crate) use instance::Instance;
pub use instance::{InstanceView, TargetView, Wait};
pub(crate) use lifecycle::Termination;
pub use refresh::{ForProtected, InstanceRefresh};
pub use state::LifecycleState;
pub use targets::{Target, TargetGroup, TargetState};
pub use warm_pool::{Rests, WarmPool};

use crate::event::{Event, EventLog, Events, What};
use crate::fault::{Fault, Faults};
use crate::options::Options;
use crate::random::Random;

/// A simulated cloud at one moment.
#[derive(Clone, Debug)]
pub struct Cloud {
    pub(crate) now_ms: u64,
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) target_groups: BTreeMap<String, TargetGroup>,
    pub(crate) activities: activity::Activities,
    pub(crate) told_health: BTreeMap<String, bool>,
    pub(crate) faults: Faults,
    pub(crate) tokens: Tokens,
    pub(crate) launches: u32,
    events: EventLog,
    agenda: BTreeSet<(u64, Due)>,
}

/// Where to look when its time has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Instance(String),
    Target { arn: String, id: String },
    Group(String),
}

/// What is left in the token bucket, in thousandths of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    pub(crate) left_thousandths: u64,
    pub(crate) counted_ms: u64,
}

impl Cloud {
    /// An empty cloud at `now_ms` milliseconds since the Unix epoch.
    pub fn new(options: Options, now_ms: u64) -> Self {
        let burst = options.rate.map_or(0, |rate| rate.burst);
        Self {
            now_ms,
            random: Random::new(options.seed),
            options,
            groups: BTreeMap::new(),
            instances: BTreeMap::new(),
            target_groups: BTreeMap::new(),
            activities: activity::Activities::default(),
            told_health: BTreeMap::new(),
            faults: Faults::default(),
            tokens: Tokens { left_thousandths: u64::from(burst) * 1_000, counted_ms: now_ms },
            launches: 0,
            events: EventLog::default(),
            agenda: BTreeSet::new(),
        }
    }

    /// The simulated time, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Lets time pass until `now_ms`, doing everything that falls due on the way, each at its own time.
    /// A time in the past changes nothing.
    pub fn advance(&mut self, now_ms: u64) {
        while self.agenda.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let Some((at_ms, due)) = self.agenda.pop_first() else { break };
            self.now_ms = self.now_ms.max(at_ms);
            match due {
                Due::Instance(id) => self.step_instance(&id),
                Due::Target { arn, id } => self.step_targets(&arn, &id),
                Due::Group(name) => self.reconcile(&name),
            }
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// When something happens next by itself, in milliseconds; `None` when nothing will.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.agenda.first().map(|(at_ms, _)| *at_ms)
    }

    /// What happened after event number `after`; 0 for everything that is still known.
    pub fn events_since(&self, after: u64) -> Events {
        self.events.since(after)
    }

    /// Everything that happened; `None` when the oldest of it is no longer known.
    pub fn events_of_all_time(&self) -> Option<Vec<Event>> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.events.since(after);
            if page.gap || page.events.is_empty() {
                return (!page.gap).then_some(all);
            }
            after = page.next;
            all.extend(page.events);
        }
    }

    /// The number of the newest event; 0 before the first.
    pub fn last_event(&self) -> u64 {
        self.events.last()
    }

    /// Orders a fault.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.inject(fault);
    }

    /// The faults that are ordered, to look at or to clear.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The instances as they are in this moment (no lag), those of one group or all.
    pub fn instances(&self, group: Option<&str>) -> Vec<InstanceView> {
        let present = self.instances.values().filter(|instance| instance.removed_ms.is_none());
        present
            .filter(|instance| group.is_none_or(|group| instance.group == group))
            .map(|instance| self.view(instance, instance.state))
            .collect()
    }

    /// One instance as it is in this moment.
    pub fn instance(&self, id: &str) -> Option<InstanceView> {
        let instance = self.instances.get(id).filter(|instance| instance.removed_ms.is_none())?;
        Some(self.view(instance, instance.state))
    }

    /// The groups, by name.
    pub fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// The target groups, by ARN.
    pub fn target_groups(&self) -> &BTreeMap<String, TargetGroup> {
        &self.target_groups
    }

    /// What descriptions show: instances as they were `describe_lag` ago.
    pub(crate) fn described(&self) -> Vec<InstanceView> {
        let at_ms = self.now_ms.saturating_sub(self.faults.describe_lag_ms());
        let shown = self.instances.values().filter_map(|instance| Some((instance, instance.state_at(at_ms)?)));
        shown.map(|(instance, state)| self.view(instance, state)).collect()
    }

    fn view(&self, instance: &Instance, state: LifecycleState) -> InstanceView {
        InstanceView {
            id: instance.id.clone(),
            group: instance.group.clone(),
            state,
            zone: instance.zone.clone(),
            private_ip: instance.private_ip,
            instance_type: instance.instance_type.clone(),
            launch_template: instance.launch_template.clone(),
            launch_configuration: instance.launch_configuration.clone(),
            healthy: instance.healthy,
            protected: instance.protected,
            launched_ms: instance.launched_ms,
            waits: instance.waits.values().cloned().collect(),
            targets: self.registrations(&instance.id),
        }
    }

    fn registrations(&self, id: &str) -> Vec<TargetView> {
        let all = self.target_groups.values().flat_map(|group| group.targets.iter().map(move |entry| (group, entry)));
        all.filter(|(_, ((target, _), _))| target == id)
            .map(|(group, ((_, port), target))| TargetView {
                target_group: group.arn.clone(),
                port: *port,
                state: target.state,
            })
            .collect()
    }

    pub(crate) fn tell(&mut self, what: What) {
        self.events.push(self.now_ms, what);
    }

    /// Tells embedders that an instance exists whose programs should run.
    pub(crate) fn tell_launched(&mut self, id: &str) {
        if let Some(view) = self.instance(id) {
            self.tell(What::Launched { instance: Box::new(view) });
        }
    }

    pub(crate) fn wake(&mut self, at_ms: u64, due: Due) {
        self.agenda.insert((at_ms, due));
    }
}
