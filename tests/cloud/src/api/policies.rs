//! Scaling policies: kept and described. Nothing is measured here, so they never scale.

use super::Operation;
use super::page::{Page, PageLimits, PageRequest};
use crate::error::ApiError;
use crate::model::Cloud;
use crate::wire::{Params, Text, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "PutScalingPolicy", run: put },
    Operation { name: "DeletePolicy", run: delete },
    Operation { name: "DescribePolicies", run: describe },
];

impl Cloud {
    /// `PutScalingPolicy`, of one of AWS's types.
    pub fn put_scaling_policy(&mut self, group: &str, name: &str, policy_type: &str) -> Result<(), ApiError> {
        if !TYPES.contains(&policy_type) {
            let text = format!("Member must satisfy enum value set: {TYPES:?}");
            return Err(ApiError::constraint(policy_type, "PolicyType", &text));
        }
        self.group_mut(group)?.scaling_policies.insert(name.to_owned(), policy_type.to_owned());
        Ok(())
    }
}

fn put(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let (group, name) = (params.group()?, params.required_limited("PolicyName", &Text::NAME)?);
    cloud.put_scaling_policy(&group, &name, params.text("PolicyType").unwrap_or(TYPES[0]))?;
    xml.text("PolicyARN", arn(cloud, &group, &name));
    Ok(())
}

fn delete(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    let name = params.required("PolicyName")?;
    cloud.group_mut(&params.group()?)?.scaling_policies.remove(name);
    Ok(())
}

/// Of one group, or of all.
fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let only = params.text("AutoScalingGroupName");
    only.map(|name| cloud.group(name)).transpose()?;
    let (names, types) = (params.list("PolicyNames"), params.list("PolicyTypes"));
    let of_all = cloud.groups.values().filter(|group| only.is_none_or(|only| group.name == only));
    let policies = of_all.flat_map(|group| group.scaling_policies.iter().map(|policy| (group.name.clone(), policy)));
    let wanted = policies.filter(|(_, (name, kind))| {
        (names.is_empty() || names.contains(&name.as_str())) && (types.is_empty() || types.contains(&kind.as_str()))
    });
    let all: Vec<_> = wanted.map(|(group, (name, kind))| (group, name.clone(), kind.clone())).collect();
    let page: Page<_> = PageRequest::parse(params)?.cut(all, &PAGE, |(group, name, _)| format!("{group}/{name}"))?;
    page.write(xml, "ScalingPolicies", |xml, (group, name, kind)| {
        xml.text("AutoScalingGroupName", group);
        xml.text("PolicyName", name);
        xml.text("PolicyARN", arn(cloud, group, name));
        xml.text("PolicyType", kind);
        xml.text("Enabled", true);
    });
    Ok(())
}

fn arn(cloud: &Cloud, group: &str, name: &str) -> String {
    let (region, account) = (&cloud.options.region, &cloud.options.account);
    format!("arn:aws:autoscaling:{region}:{account}:scalingPolicy:autoScalingGroupName/{group}:policyName/{name}")
}

/// AWS's, the default first.
const TYPES: [&str; 4] = ["SimpleScaling", "StepScaling", "TargetTrackingScaling", "PredictiveScaling"];

/// AWS: 50 by default, at most 100.
const PAGE: PageLimits = PageLimits { default: 50, max: 100 };
