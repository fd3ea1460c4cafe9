//! Instances that stand by, come back, leave alive, or join from outside.

use super::Operation;
use super::activities::write_activity;
use crate::error::ApiError;
use crate::model::{Activity, Cloud, Instance, LifecycleState};
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "EnterStandby", run: enter },
    Operation { name: "ExitStandby", run: exit },
    Operation { name: "DetachInstances", run: detach },
    Operation { name: "AttachInstances", run: attach },
];

impl Cloud {
    /// `EnterStandby` of at most 20 instances in service: deregistered and drained, then `Standby`.
    pub fn enter_standby(&mut self, group: &str, ids: &[String], decrement: bool) -> Result<Vec<Activity>, ApiError> {
        self.check_leaving(group, ids, decrement, "place into standby")?;
        self.leave(group, ids, decrement, LifecycleState::EnteringStandby, "Moving EC2 instance to Standby")
    }

    /// `DetachInstances`: deregistered and drained, then out of the group, alive.
    pub fn detach_instances(
        &mut self,
        group: &str,
        ids: &[String],
        decrement: bool,
    ) -> Result<Vec<Activity>, ApiError> {
        self.check_leaving(group, ids, decrement, "detach")?;
        self.leave(group, ids, decrement, LifecycleState::Detaching, "Detaching EC2 instance")
    }

    /// `ExitStandby`: back into service without any hook; the group wants as many more.
    pub fn exit_standby(&mut self, group: &str, ids: &[String]) -> Result<Vec<Activity>, ApiError> {
        check_count(ids)?;
        for id in ids {
            let state = self.member(group, id)?.state;
            if state != LifecycleState::Standby {
                return Err(ApiError::validation(format!("The instance {id} is not in Standby.")));
            }
        }
        self.want_more(group, ids.len())?;
        Ok(ids.iter().filter_map(|id| self.join(group, id, "Moving EC2 instance out of Standby")).collect())
    }

    /// `AttachInstances`: unknown ids are taken for running instances from elsewhere. No hook runs for them.
    pub fn attach_instances(&mut self, group: &str, ids: &[String]) -> Result<(), ApiError> {
        check_count(ids)?;
        self.group(group)?;
        if let Some(id) = ids.iter().find(|id| self.managed(id).is_ok()) {
            return Err(ApiError::validation(format!("Instance {id} is already part of an Auto Scaling group.")));
        }
        self.want_more(group, ids.len())?;
        for id in ids {
            let address = self.next_address();
            let found = self.group(group)?;
            let zone = found.zones.first().cloned().unwrap_or_default();
            let instance = crate::model::new_instance(id.clone(), found, zone, address, self.now_ms);
            self.instances.insert(id.clone(), instance);
            self.join(group, id, "Attaching an existing EC2 instance");
            self.tell_launched(id);
        }
        Ok(())
    }

    fn check_leaving(&self, group: &str, ids: &[String], decrement: bool, what: &str) -> Result<(), ApiError> {
        check_count(ids)?;
        let found = self.group(group)?;
        for id in ids {
            if self.member(group, id)?.state != LifecycleState::InService {
                return Err(ApiError::validation(format!("The instance {id} is not in InService.")));
            }
        }
        let left = (found.desired as usize).checked_sub(ids.len());
        if decrement && left.is_none_or(|left| left < found.min as usize) {
            return Err(ApiError::validation(format!(
                "AutoScalingGroup {group} has min-size={}, max-size={}, and desired-size={}. To {what} {} \
                 instances, please update the AutoScalingGroup sizes appropriately.",
                found.min,
                found.max,
                found.desired,
                ids.len()
            )));
        }
        Ok(())
    }

    fn leave(
        &mut self,
        group: &str,
        ids: &[String],
        decrement: bool,
        into: LifecycleState,
        text: &str,
    ) -> Result<Vec<Activity>, ApiError> {
        let mut activities = Vec::new();
        for id in ids {
            let drains = self.deregister_everywhere(id);
            let cause = format!("instance {id} was moved in response to a user request.");
            activities.push(self.begin_activity(group, format!("{text}: {id}"), &cause, "InProgress"));
            if let Some(instance) = self.instances.get_mut(id) {
                instance.registered = false;
                instance.activity = activities.last().cloned();
            }
            self.enter(id, into, Some(if drains { self.options.delays.drain_ms } else { 0 }));
        }
        let fewer = if decrement { u32::try_from(ids.len()).unwrap_or(u32::MAX) } else { 0 };
        self.after_leaving(group, fewer);
        Ok(activities.iter().filter_map(|id| self.activities.find(id).cloned()).collect())
    }

    /// Brings an instance into service past the hooks.
    fn join(&mut self, group: &str, id: &str, text: &str) -> Option<Activity> {
        let cause = format!("instance {id} was moved in response to a user request.");
        let activity = self.begin_activity(group, format!("{text}: {id}"), &cause, "PreInService");
        let instance: &mut Instance = self.instances.get_mut(id)?;
        (instance.registered, instance.skips_hooks) = (false, true);
        instance.activity = Some(activity.clone());
        self.enter(id, LifecycleState::Pending, Some(self.options.delays.proceed_ms));
        self.activities.find(&activity).cloned()
    }

    fn want_more(&mut self, group: &str, more: usize) -> Result<(), ApiError> {
        let found = self.group_mut(group)?;
        let desired = u32::try_from(more).ok().and_then(|more| found.desired.checked_add(more));
        let Some(desired) = desired.filter(|desired| *desired <= found.max) else {
            return Err(ApiError::validation(format!(
                "AutoScalingGroup {group} has min-size={}, max-size={}, and desired-size={}. To add {more} \
                 instances, please update the AutoScalingGroup sizes appropriately.",
                found.min, found.max, found.desired
            )));
        };
        found.desired = desired;
        Ok(())
    }
}

fn check_count(ids: &[String]) -> Result<(), ApiError> {
    if ids.is_empty() {
        return Err(ApiError::validation("At least one instance id must be given"));
    }
    if ids.len() > MOVED_IDS_MAX {
        let message = format!("The number of instance ids that may be passed in is limited to {MOVED_IDS_MAX}");
        return Err(ApiError::validation(message));
    }
    Ok(())
}

fn enter(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let moved = cloud.enter_standby(&params.group()?, &params.texts("InstanceIds"), decrement(params)?)?;
    write(xml, &moved);
    Ok(())
}

fn detach(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let moved = cloud.detach_instances(&params.group()?, &params.texts("InstanceIds"), decrement(params)?)?;
    write(xml, &moved);
    Ok(())
}

fn exit(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let moved = cloud.exit_standby(&params.group()?, &params.texts("InstanceIds"))?;
    write(xml, &moved);
    Ok(())
}

fn attach(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.attach_instances(&params.group()?, &params.texts("InstanceIds"))
}

fn decrement(params: &Params) -> Result<bool, ApiError> {
    params.required("ShouldDecrementDesiredCapacity")?;
    Ok(params.boolean("ShouldDecrementDesiredCapacity")?.unwrap_or(false))
}

fn write(xml: &mut Xml, activities: &[Activity]) {
    xml.list("Activities", activities, write_activity);
}

/// AWS's limit for all four calls.
const MOVED_IDS_MAX: usize = 20;
