//! A group and its hooks, as they were asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::refresh::InstanceRefresh;
use super::warm_pool::WarmPool;

/// An Auto Scaling group. Its instances are kept by the cloud.
#[derive(Clone, Debug)]
pub struct Group {
    /// The name, unique in the cloud.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The fewest instances.
    pub min: u32,
    /// The most instances.
    pub max: u32,
    /// The instances wanted.
    pub desired: u32,
    /// What new instances are launched from; opaque.
    pub launch_template: Option<LaunchTemplate>,
    /// The older way to say it; opaque.
    pub launch_configuration: Option<String>,
    /// Availability zones, filled in turn.
    pub zones: Vec<String>,
    /// Subnets, as given.
    pub subnets: Option<String>,
    /// The ARNs of the target groups that instances are registered with.
    pub target_groups: Vec<String>,
    /// `EC2` or `ELB`.
    pub health_check_type: String,
    /// How long after InService unhealthy marks are ignored, in seconds.
    pub health_check_grace_s: u32,
    /// Seconds between simple scaling activities; kept, never waited for.
    pub default_cooldown_s: u32,
    /// Are new instances protected from scale-in?
    pub new_instances_protected: bool,
    /// Termination policies, as given.
    pub termination_policies: Vec<String>,
    /// How healthy it must stay while instances are replaced; kept, since nothing is replaced by itself here.
    pub maintenance: Option<Maintenance>,
    /// Scaling policies' types by name; kept, they never scale.
    pub scaling_policies: BTreeMap<String, String>,
    /// Tags, as given.
    pub tags: Vec<Tag>,
    /// Hooks by name.
    pub hooks: BTreeMap<String, Hook>,
    /// Suspended processes, with the reason.
    pub suspended: BTreeMap<String, String>,
    /// Its warm pool, if it has one.
    pub warm_pool: Option<WarmPool>,
    /// Its instance refreshes, the newest last.
    pub refreshes: Vec<InstanceRefresh>,
    /// When it was created, in milliseconds.
    pub created_ms: u64,
    pub(crate) deleting: bool,
    /// The cause that the next launches and terminations are put down to.
    pub(crate) cause: String,
    pub(crate) failures: Failures,
    pub(crate) told_all_protected: bool,
}

/// Launches that failed in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    pub(crate) in_a_row: u32,
    pub(crate) first_ms: u64,
    /// No launch before this time.
    pub(crate) pause_until_ms: u64,
}

/// A launch template by name or id, and a version; all opaque.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LaunchTemplate {
    /// The id, when given or derived from the name.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The version, as given: a number, `$Latest` or `$Default`.
    pub version: Option<String>,
}

/// An instance maintenance policy, in percent of the capacity that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// The least that stays healthy.
    pub min_healthy: u32,
    /// The most that there may be.
    pub max_healthy: u32,
}

/// A tag of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Is it copied to instances?
    pub propagate: bool,
}

/// A lifecycle hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The name, unique in the group.
    pub name: String,
    /// What it holds.
    pub transition: Transition,
    /// How long a held instance waits without a heartbeat, in seconds.
    pub heartbeat_timeout_s: u32,
    /// What happens at the end of a timer.
    pub default_result: ActionResult,
    /// Kept and given in notices.
    pub metadata: Option<String>,
    /// Kept; notices are in the event log instead.
    pub notification_target: Option<String>,
    /// Kept.
    pub role: Option<String>,
}

impl Hook {
    /// The longest time an instance can be held, heartbeats or not: min(48 h, 100 × heartbeat timeout).
    pub fn global_timeout_s(&self) -> u32 {
        GLOBAL_TIMEOUT_MAX_S.min(self.heartbeat_timeout_s * 100)
    }
}

/// What a hook holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Launching instances, before they are registered.
    Launching,
    /// Terminating instances, after they were drained.
    Terminating,
}

impl Transition {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    /// From AWS's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|known| known.as_str() == word)
    }
}

/// How a lifecycle action ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ActionResult {
    /// Go on.
    Continue,
    /// A launch is terminated and replaced; a termination goes on at once.
    Abandon,
}

impl ActionResult {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }

    /// From AWS's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Continue, Self::Abandon].into_iter().find(|known| known.as_str() == word)
    }
}

/// 48 hours: AWS's longest hold.
const GLOBAL_TIMEOUT_MAX_S: u32 = 172_800;
