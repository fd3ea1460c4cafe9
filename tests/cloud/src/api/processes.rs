//! Suspending and resuming what a group does by itself.

use super::Operation;
use crate::error::ApiError;
use crate::model::Cloud;
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "SuspendProcesses", run: suspend },
    Operation { name: "ResumeProcesses", run: resume },
    Operation { name: "DescribeScalingProcessTypes", run: types },
];

impl Cloud {
    /// `SuspendProcesses`; no names are all of them.
    pub fn suspend_processes(&mut self, group: &str, names: &[String]) -> Result<(), ApiError> {
        let reason = format!("User suspended at {}", crate::model::time_text(self.now_ms));
        let suspended = &mut self.group_mut(group)?.suspended;
        for name in chosen(names)? {
            suspended.insert(name, reason.clone());
        }
        Ok(())
    }

    /// `ResumeProcesses`; no names are all of them. Instances launched without registration stay unregistered.
    pub fn resume_processes(&mut self, group: &str, names: &[String]) -> Result<(), ApiError> {
        let names = chosen(names)?;
        let found = self.group_mut(group)?;
        found.suspended.retain(|name, _| !names.contains(name));
        if names.iter().any(|name| name == "Launch") {
            found.failures = crate::model::Failures::default();
        }
        if names.iter().any(|name| name == "ReplaceUnhealthy") {
            self.recheck_group(group);
        }
        self.reconcile(group);
        Ok(())
    }

    fn recheck_group(&mut self, group: &str) {
        for id in self.counted(group).map(|instance| instance.id.clone()).collect::<Vec<_>>() {
            self.recheck_unhealthy(&id);
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<String>, ApiError> {
    if let Some(unknown) = names.iter().find(|name| !PROCESSES.contains(&name.as_str())) {
        return Err(ApiError::validation(format!(
            "Invalid scaling process: {unknown}. Valid processes: {PROCESSES:?}"
        )));
    }
    if names.is_empty() {
        return Ok(PROCESSES.iter().map(|name| (*name).to_owned()).collect());
    }
    Ok(names.to_vec())
}

fn suspend(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.suspend_processes(&params.group()?, &params.texts("ScalingProcesses"))
}

fn resume(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.resume_processes(&params.group()?, &params.texts("ScalingProcesses"))
}

fn types(_: &mut Cloud, _: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    xml.list("Processes", PROCESSES, |xml, name| xml.text("ProcessName", name));
    Ok(())
}

/// Launch, Terminate, AddToLoadBalancer, HealthCheck and ReplaceUnhealthy act; the others are only kept.
const PROCESSES: &[&str] = &[
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];
