//! Instance refresh.

use super::Operation;
use super::describe::iso_ms;
use crate::error::ApiError;
use crate::model::{Cloud, ForProtected, InstanceRefresh};
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "StartInstanceRefresh", run: start },
    Operation { name: "CancelInstanceRefresh", run: cancel },
    Operation { name: "DescribeInstanceRefreshes", run: describe },
];

impl Cloud {
    /// `StartInstanceRefresh`, of the preferences only what becomes of protected instances; its id.
    pub fn start_instance_refresh(&mut self, group: &str, protected: ForProtected) -> Result<String, ApiError> {
        let (id, now_ms) = (self.random.uuid(), self.now_ms);
        let found = self.group_mut(group)?;
        if found.refreshes.last().is_some_and(|refresh| refresh.ended_ms.is_none()) {
            let message =
                "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.";
            return Err(ApiError::sender("InstanceRefreshInProgress", message));
        }
        found.refreshes.push(InstanceRefresh {
            id: id.clone(),
            status: "InProgress",
            reason: None,
            protected,
            started_ms: now_ms,
            ended_ms: None,
            to_update: 0,
            waits_since_ms: None,
        });
        self.reconcile(group);
        Ok(id)
    }

    /// `CancelInstanceRefresh`; the id of what was cancelled.
    pub fn cancel_instance_refresh(&mut self, group: &str) -> Result<String, ApiError> {
        let now_ms = self.now_ms;
        let active = self.group_mut(group)?.refreshes.last_mut().filter(|refresh| refresh.ended_ms.is_none());
        let Some(active) = active else {
            let message = format!("No in progress or pending Instance Refresh found for Auto Scaling group {group}");
            return Err(ApiError::sender("ActiveInstanceRefreshNotFound", message));
        };
        active.end("Cancelled", Some("Cancelled due to user request."), now_ms);
        Ok(active.id.clone())
    }
}

fn start(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let preferences = params.structure("Preferences");
    let word = preferences.as_ref().and_then(|preferences| preferences.text("ScaleInProtectedInstances"));
    let protected = match word {
        Some(word) => ForProtected::parse(word).ok_or_else(|| {
            let values = "Member must satisfy enum value set: [Wait, Ignore, Refresh]";
            ApiError::constraint(word, "preferences.scaleInProtectedInstances", values)
        })?,
        None => ForProtected::default(),
    };
    xml.text("InstanceRefreshId", cloud.start_instance_refresh(&params.group()?, protected)?);
    Ok(())
}

fn cancel(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    xml.text("InstanceRefreshId", cloud.cancel_instance_refresh(&params.group()?)?);
    Ok(())
}

/// The newest first; no paging, since a group here has few.
fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let (name, ids) = (params.group()?, params.texts("InstanceRefreshIds"));
    let found = cloud.group(&name)?.refreshes.iter().rev();
    let found = found.filter(|refresh| ids.is_empty() || ids.contains(&refresh.id));
    xml.list("InstanceRefreshes", found.take(REFRESHES_MAX), |xml, refresh| {
        xml.text("InstanceRefreshId", &refresh.id);
        xml.text("AutoScalingGroupName", &name);
        xml.text("Status", refresh.status);
        xml.optional("StatusReason", refresh.reason);
        xml.text("StartTime", iso_ms(refresh.started_ms));
        xml.optional("EndTime", refresh.ended_ms.map(iso_ms));
        xml.text("InstancesToUpdate", refresh.to_update);
        xml.element("Preferences", |xml| xml.text("ScaleInProtectedInstances", refresh.protected.as_str()));
    });
    Ok(())
}

/// AWS: at most this many a page.
const REFRESHES_MAX: usize = 100;
