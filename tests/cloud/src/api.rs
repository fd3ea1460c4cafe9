//! AWS's calls. One file per family: what a call asks for, the method of [`Cloud`] that does it, and its form and XML.
//!
//! To add a call is to add a method and an operation in the family's list.

mod activities;
mod attachments;
mod capacity;
mod describe;
mod groups;
mod health;
mod hooks;
mod membership;
mod page;
mod policies;
mod processes;
mod protection;
mod refresh;
mod target_groups;
mod warm_pool;

pub use activities::DescribeScalingActivities;
pub use describe::{DescribeAutoScalingGroups, DescribeAutoScalingInstances, Filter, GroupDescription};
pub use groups::{CreateAutoScalingGroup, UpdateAutoScalingGroup};
pub use hooks::{LifecycleAction, PutLifecycleHook};
pub use page::{Page, PageRequest};
pub use target_groups::{CreateTargetGroup, TargetHealth, TargetRef};

use crate::error::ApiError;
use crate::model::{Cloud, Group, Instance};
use crate::wire::{Params, Xml};

/// The services that answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    AutoScaling,
    Balancing,
}

/// A call on the wire.
pub(crate) struct Operation {
    /// AWS's name of the action.
    pub(crate) name: &'static str,
    /// Reads the form, does it, writes what goes inside the result.
    pub(crate) run: fn(&mut Cloud, &Params, &mut Xml) -> Result<(), ApiError>,
}

impl Service {
    pub(crate) fn of_version(version: &str) -> Self {
        if version == Self::Balancing.version() { Self::Balancing } else { Self::AutoScaling }
    }

    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::AutoScaling => "2011-01-01",
            Self::Balancing => "2015-12-01",
        }
    }

    pub(crate) const fn namespace(self) -> &'static str {
        match self {
            Self::AutoScaling => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
            Self::Balancing => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
        }
    }

    /// The service's families.
    const fn families(self) -> &'static [&'static [Operation]] {
        match self {
            Self::AutoScaling => &[
                groups::OPERATIONS,
                describe::OPERATIONS,
                hooks::OPERATIONS,
                capacity::OPERATIONS,
                protection::OPERATIONS,
                refresh::OPERATIONS,
                health::OPERATIONS,
                membership::OPERATIONS,
                attachments::OPERATIONS,
                processes::OPERATIONS,
                policies::OPERATIONS,
                warm_pool::OPERATIONS,
                activities::OPERATIONS,
            ],
            Self::Balancing => &[target_groups::OPERATIONS],
        }
    }
}

/// The operation of a service with this name.
pub(crate) fn find(service: Service, name: &str) -> Option<&'static Operation> {
    service.families().iter().flat_map(|family| family.iter()).find(|operation| operation.name == name)
}

impl Cloud {
    pub(crate) fn group(&self, name: &str) -> Result<&Group, ApiError> {
        self.groups.get(name).filter(|group| !group.deleting).ok_or_else(|| ApiError::no_group(name))
    }

    pub(crate) fn group_mut(&mut self, name: &str) -> Result<&mut Group, ApiError> {
        self.groups.get_mut(name).filter(|group| !group.deleting).ok_or_else(|| ApiError::no_group(name))
    }

    /// An instance that is in some group now.
    pub(crate) fn managed(&self, id: &str) -> Result<&Instance, ApiError> {
        self.instances.get(id).filter(|instance| instance.removed_ms.is_none()).ok_or_else(|| ApiError::no_instance(id))
    }

    /// An instance of this group.
    pub(crate) fn member(&self, group: &str, id: &str) -> Result<&Instance, ApiError> {
        let instance = self.managed(id)?;
        if instance.group == group {
            return Ok(instance);
        }
        Err(ApiError::validation(format!("The instance {id} is not part of Auto Scaling group {group}.")))
    }

    /// Does something to a group that changes how many instances it wants, and puts what follows down to `cause`.
    pub(crate) fn with_cause(&mut self, group: &str, cause: &str, change: impl FnOnce(&mut Group)) {
        let then = crate::model::time_text(self.now_ms);
        if let Some(group) = self.groups.get_mut(group) {
            change(group);
            group.cause = format!("{cause}  At {then} ");
            group.told_all_protected = false;
        }
        self.reconcile(group);
        if let Some(group) = self.groups.get_mut(group) {
            group.cause.clear();
        }
    }
}
