//! An instance of a group, and the view of it that tests, drills and descriptions share.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use serde::Serialize;

use super::group::LaunchTemplate;
use super::state::LifecycleState;
use super::targets::TargetState;

/// An instance. It stays for a while after it is gone, so that lagging descriptions can still show it.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) zone: String,
    pub(crate) private_ip: Ipv4Addr,
    pub(crate) instance_type: String,
    pub(crate) launch_template: Option<LaunchTemplate>,
    pub(crate) launch_configuration: Option<String>,
    pub(crate) state: LifecycleState,
    pub(crate) launched_ms: u64,
    pub(crate) healthy: bool,
    pub(crate) protected: bool,
    /// The lifecycle actions in progress, by hook name.
    pub(crate) waits: BTreeMap<String, Wait>,
    /// When the present state ends by itself.
    pub(crate) due_ms: Option<u64>,
    /// Was it registered (or found nothing to register with) on this way into service?
    pub(crate) registered: bool,
    /// Hooks do not run for attached instances, exits from standby and forced deletion.
    pub(crate) skips_hooks: bool,
    /// The activity that its launch or termination is reported in.
    pub(crate) activity: Option<String>,
    pub(crate) in_service_ms: Option<u64>,
    pub(crate) removed_ms: Option<u64>,
    /// States with the time they began, oldest first.
    pub(crate) history: VecDeque<(u64, LifecycleState)>,
}

/// A lifecycle action in progress.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    /// The hook.
    pub hook: String,
    /// The token that notices carry.
    pub token: String,
    /// When it began, in milliseconds.
    pub started_ms: u64,
    /// When the heartbeat timer ends, in milliseconds.
    pub heartbeat_ends_ms: u64,
    /// When the global timer ends, in milliseconds.
    pub global_ends_ms: u64,
}

impl Wait {
    pub(crate) fn ends_ms(&self) -> u64 {
        self.heartbeat_ends_ms.min(self.global_ends_ms)
    }
}

/// An instance as it is described.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceView {
    /// `i-` and 17 hexadecimal digits.
    pub id: String,
    /// The group.
    pub group: String,
    /// The lifecycle state.
    pub state: LifecycleState,
    /// The availability zone.
    pub zone: String,
    /// The private address.
    pub private_ip: Ipv4Addr,
    /// The instance type; always the same.
    pub instance_type: String,
    /// What it was launched from.
    pub launch_template: Option<LaunchTemplate>,
    /// What it was launched from, the older way.
    pub launch_configuration: Option<String>,
    /// Auto Scaling's health status: is it `Healthy`?
    pub healthy: bool,
    /// Is it protected from scale-in?
    pub protected: bool,
    /// When it was launched, in milliseconds.
    pub launched_ms: u64,
    /// The hooks that hold it.
    pub waits: Vec<Wait>,
    /// Where it is registered, and its health there.
    pub targets: Vec<TargetView>,
}

/// A registration of an instance.
#[derive(Clone, Debug, Serialize)]
pub struct TargetView {
    /// The target group's ARN.
    pub target_group: String,
    /// The port.
    pub port: u16,
    /// Its health there.
    pub state: TargetState,
}

impl Instance {
    /// The state at a moment; `None` before it was launched and after it was gone.
    pub(crate) fn state_at(&self, at_ms: u64) -> Option<LifecycleState> {
        if self.removed_ms.is_some_and(|removed_ms| removed_ms <= at_ms) {
            return None;
        }
        self.history.iter().rev().find(|(since_ms, _)| *since_ms <= at_ms).map(|(_, state)| *state)
    }

    /// Does the wait that begins belong to a root volume replacement: of the old content, or of the new?
    pub(crate) fn replaces_root_volume(&self) -> bool {
        let recent = self.history.iter().rev().map(|(_, state)| *state);
        let mut recent =
            recent.skip_while(|state| matches!(state, LifecycleState::Pending | LifecycleState::PendingWait));
        matches!(recent.next(), Some(LifecycleState::RootVolumeReplaced | LifecycleState::ReplacingRootVolumeWait))
    }

    /// Was it prepared in a warm pool?
    pub(crate) fn comes_from_pool(&self) -> bool {
        let mut earlier = self.history.iter().rev().map(|(_, state)| *state);
        let before = earlier.find(|state| !matches!(state, LifecycleState::Pending | LifecycleState::PendingWait));
        before.is_some_and(LifecycleState::rests)
    }

    pub(crate) fn enter(&mut self, state: LifecycleState, now_ms: u64) {
        self.state = state;
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((now_ms, state));
    }
}

/// States remembered per instance: a whole life has ten, a few rounds of standby more.
const HISTORY_MAX: usize = 32;
