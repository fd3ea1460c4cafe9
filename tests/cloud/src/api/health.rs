//! Auto Scaling's own health status of an instance.

use super::Operation;
use crate::error::ApiError;
use crate::model::Cloud;
use crate::wire::{Params, Text, Xml};

pub(super) const OPERATIONS: &[Operation] = &[Operation { name: "SetInstanceHealth", run: set }];

impl Cloud {
    /// `SetInstanceHealth`: an unhealthy instance in service is replaced, unless it is in its grace and that counts.
    pub fn set_instance_health(&mut self, id: &str, healthy: bool, respect_grace: bool) -> Result<(), ApiError> {
        let instance = self.managed(id)?;
        let grace_ms = u64::from(self.group(&instance.group)?.health_check_grace_s) * 1_000;
        let in_grace = instance.in_service_ms.is_none_or(|since_ms| self.now_ms < since_ms + grace_ms);
        match healthy {
            false if respect_grace && in_grace && grace_ms > 0 => {}
            false => self.mark_unhealthy(id),
            true => {
                if let Some(instance) = self.instances.get_mut(id) {
                    instance.healthy = true;
                }
            }
        }
        Ok(())
    }
}

fn set(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    let id = params.required_limited("InstanceId", &Text::INSTANCE)?;
    let healthy = match params.required("HealthStatus")? {
        "Healthy" => true,
        "Unhealthy" => false,
        other => {
            return Err(ApiError::validation(format!(
                "{other} is not a valid health status: use Healthy or Unhealthy"
            )));
        }
    };
    cloud.set_instance_health(&id, healthy, params.boolean("ShouldRespectGracePeriod")?.unwrap_or(true))
}
