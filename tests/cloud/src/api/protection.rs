//! Protection from scale-in.

use super::Operation;
use crate::error::ApiError;
use crate::model::{Cloud, LifecycleState};
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[Operation { name: "SetInstanceProtection", run: set }];

impl Cloud {
    /// `SetInstanceProtection` on at most 50 instances, all in service; all or none.
    pub fn set_instance_protection(&mut self, group: &str, ids: &[String], protected: bool) -> Result<(), ApiError> {
        self.group(group)?;
        if ids.len() > PROTECTED_IDS_MAX {
            let message = format!("The number of instance ids that may be passed in is limited to {PROTECTED_IDS_MAX}");
            return Err(ApiError::validation(message));
        }
        for id in ids {
            let state = self.member(group, id)?.state;
            if !matches!(state, LifecycleState::InService | LifecycleState::EnteringStandby | LifecycleState::Standby) {
                let message = format!("The instance {id} is not in InService or EnteringStandby or Standby.");
                return Err(ApiError::validation(message));
            }
        }
        for id in ids {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.protected = protected;
            }
        }
        // An unprotected instance may be the one that a scale-in has been waiting for.
        self.reconcile(group);
        Ok(())
    }
}

fn set(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    let (group, ids) = (params.group()?, params.texts("InstanceIds"));
    params.required("ProtectedFromScaleIn")?;
    cloud.set_instance_protection(&group, &ids, params.boolean("ProtectedFromScaleIn")?.unwrap_or(false))
}

/// AWS's limit.
const PROTECTED_IDS_MAX: usize = 50;
