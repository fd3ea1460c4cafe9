//! Which target groups a group's instances are registered with.

use super::Operation;
use super::page::{Page, PageLimits, PageRequest};
use crate::error::ApiError;
use crate::model::{Cloud, LifecycleState};
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "AttachLoadBalancerTargetGroups", run: attach },
    Operation { name: "DetachLoadBalancerTargetGroups", run: detach },
    Operation { name: "DescribeLoadBalancerTargetGroups", run: describe },
];

impl Cloud {
    /// `AttachLoadBalancerTargetGroups`: instances in service are registered at once.
    pub fn attach_load_balancer_target_groups(&mut self, group: &str, arns: &[String]) -> Result<(), ApiError> {
        check_count(arns)?;
        self.check_target_groups(arns)?;
        let attached = &mut self.group_mut(group)?.target_groups;
        let new: Vec<String> = arns.iter().filter(|arn| !attached.contains(arn)).cloned().collect();
        attached.extend(new.iter().cloned());
        for (arn, id) in self.pairs(group, &new) {
            self.register_target(&arn, &id, None);
        }
        Ok(())
    }

    /// `DetachLoadBalancerTargetGroups`: instances are drained.
    pub fn detach_load_balancer_target_groups(&mut self, group: &str, arns: &[String]) -> Result<(), ApiError> {
        check_count(arns)?;
        self.group_mut(group)?.target_groups.retain(|arn| !arns.contains(arn));
        for (arn, id) in self.pairs(group, arns) {
            self.deregister_target(&arn, &id, None);
        }
        Ok(())
    }

    fn pairs(&self, group: &str, arns: &[String]) -> Vec<(String, String)> {
        let serving = |id: &&str| self.instances.get(*id).is_some_and(|i| i.state == LifecycleState::InService);
        let ids: Vec<&str> = self.counted(group).map(|i| i.id.as_str()).filter(serving).collect();
        arns.iter().flat_map(|arn| ids.iter().map(move |id| (arn.clone(), (*id).to_owned()))).collect()
    }
}

fn check_count(arns: &[String]) -> Result<(), ApiError> {
    if arns.len() > TARGET_GROUPS_MAX {
        let message = format!("The number of target groups that may be passed in is limited to {TARGET_GROUPS_MAX}");
        return Err(ApiError::validation(message));
    }
    Ok(())
}

fn attach(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.attach_load_balancer_target_groups(&params.group()?, &params.texts("TargetGroupARNs"))
}

fn detach(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.detach_load_balancer_target_groups(&params.group()?, &params.texts("TargetGroupARNs"))
}

fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let arns = cloud.group(&params.group()?)?.target_groups.clone();
    let page: Page<String> = PageRequest::parse(params)?.cut(arns, &PAGE, String::clone)?;
    page.write(xml, "LoadBalancerTargetGroups", |xml, arn| {
        xml.text("LoadBalancerTargetGroupARN", arn);
        xml.text("State", "InService");
    });
    Ok(())
}

/// AWS: ten in one call.
const TARGET_GROUPS_MAX: usize = 10;

/// AWS: 100 by default and at most.
const PAGE: PageLimits = PageLimits { default: 100, max: 100 };
