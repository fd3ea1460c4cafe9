//! How many instances, and taking a single one out.

use super::Operation;
use super::activities::write_activity;
use crate::error::ApiError;
use crate::model::{Activity, Cloud, Termination};
use crate::wire::{Params, Text, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "SetDesiredCapacity", run: set_desired },
    Operation { name: "TerminateInstanceInAutoScalingGroup", run: terminate },
];

impl Cloud {
    /// `SetDesiredCapacity`, within the group's limits.
    pub fn set_desired_capacity(&mut self, group: &str, desired: u32) -> Result<(), ApiError> {
        let found = self.group(group)?;
        let (min, max, old) = (found.min, found.max, found.desired);
        if desired > max {
            let message =
                format!("New SetDesiredCapacity value {desired} is above max value {max} for the AutoScalingGroup.");
            return Err(ApiError::validation(message));
        }
        if desired < min {
            let message =
                format!("New SetDesiredCapacity value {desired} is below min value {min} for the AutoScalingGroup.");
            return Err(ApiError::validation(message));
        }
        let cause = format!(
            "a user request explicitly set group desired capacity changing the desired capacity from {old} to \
             {desired}."
        );
        self.with_cause(group, &cause, |group| group.desired = desired);
        Ok(())
    }

    /// `TerminateInstanceInAutoScalingGroup`: protection does not stop it; without decrement it is replaced.
    pub fn terminate_instance_in_auto_scaling_group(
        &mut self,
        id: &str,
        decrement: bool,
    ) -> Result<Option<Activity>, ApiError> {
        let group = self.managed(id)?.group.clone();
        let found = self.group(&group)?;
        if decrement && found.desired <= found.min {
            return Err(ApiError::validation(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will \
                 violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or \
                 lower group's min size.",
                found.min
            )));
        }
        let cause = "an instance was taken out of service in response to a user request.";
        self.terminate(id, &Termination { cause: cause.into(), runs_hooks: true });
        let activity = self.instances.get(id).and_then(|instance| instance.activity.clone());
        self.after_leaving(&group, u32::from(decrement));
        Ok(activity.and_then(|activity| self.activities.find(&activity).cloned()))
    }

    /// Instances have left service: want fewer, or replace them.
    pub(super) fn after_leaving(&mut self, group: &str, fewer: u32) {
        if let Some(group) = self.groups.get_mut(group) {
            group.desired = group.desired.saturating_sub(fewer);
        }
        self.reconcile(group);
    }
}

fn set_desired(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    let group = params.group()?;
    params.required("DesiredCapacity")?;
    cloud.set_desired_capacity(&group, params.count("DesiredCapacity")?.unwrap_or_default())
}

fn terminate(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let id = params.required_limited("InstanceId", &Text::INSTANCE)?;
    params.required("ShouldDecrementDesiredCapacity")?;
    let decrement = params.boolean("ShouldDecrementDesiredCapacity")?.unwrap_or(false);
    if let Some(activity) = cloud.terminate_instance_in_auto_scaling_group(&id, decrement)? {
        xml.element("Activity", |xml| write_activity(xml, &activity));
    }
    Ok(())
}
