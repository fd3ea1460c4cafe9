//! Descriptions of groups and instances. Only these lag when a fault says so.

use super::Operation;
use super::page::{Page, PageLimits, PageRequest};
use crate::error::ApiError;
use crate::model::{Cloud, Group, InstanceView, LaunchTemplate, WarmPool};
use crate::wire::{Params, Text, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "DescribeAutoScalingGroups", run: groups },
    Operation { name: "DescribeAutoScalingInstances", run: instances },
];

/// Which groups to describe.
#[derive(Clone, Debug, Default)]
pub struct DescribeAutoScalingGroups {
    /// Their names; empty for all. Unknown names are silently missing from the answer.
    pub names: Vec<String>,
    /// Filters by tag; all must match.
    pub filters: Vec<Filter>,
    /// Which page.
    pub page: PageRequest,
}

/// A filter by tag.
#[derive(Clone, Debug)]
pub struct Filter {
    /// `tag-key`, `tag-value` or `tag:KEY`.
    pub name: String,
    /// One of these must match.
    pub values: Vec<String>,
}

/// Which instances to describe.
#[derive(Clone, Debug, Default)]
pub struct DescribeAutoScalingInstances {
    /// Their ids, at most 50; empty for all. Unknown ids are silently missing from the answer.
    pub ids: Vec<String>,
    /// Which page.
    pub page: PageRequest,
}

/// A group with its instances.
#[derive(Clone, Debug)]
pub struct GroupDescription {
    /// The group.
    pub group: Group,
    /// Its instances, those on their way out included, without its warm pool.
    pub instances: Vec<InstanceView>,
    /// The instances of its warm pool.
    pub warm: usize,
}

impl Cloud {
    /// `DescribeAutoScalingGroups`.
    pub fn describe_auto_scaling_groups(
        &self,
        request: &DescribeAutoScalingGroups,
    ) -> Result<Page<GroupDescription>, ApiError> {
        let wanted = |group: &&Group| {
            (request.names.is_empty() || request.names.contains(&group.name))
                && request.filters.iter().all(|filter| filter.matches(group))
        };
        let groups: Vec<Group> = self.groups.values().filter(wanted).cloned().collect();
        let page = request.page.cut(groups, &GROUPS_PAGE, |group| group.name.clone())?;
        let shown = self.described();
        let describe = |group: Group| {
            let members = shown.iter().filter(|instance| instance.group == group.name);
            let (warm, instances): (Vec<_>, Vec<_>) = members.cloned().partition(|i| i.state.is_warm());
            GroupDescription { group, instances, warm: warm.len() }
        };
        Ok(Page { items: page.items.into_iter().map(describe).collect(), next_token: page.next_token })
    }

    /// `DescribeAutoScalingInstances`.
    pub fn describe_auto_scaling_instances(
        &self,
        request: &DescribeAutoScalingInstances,
    ) -> Result<Page<InstanceView>, ApiError> {
        if request.ids.len() > INSTANCE_IDS_MAX {
            return Err(ApiError::validation(format!(
                "The number of instance ids that may be passed in is limited to {INSTANCE_IDS_MAX}"
            )));
        }
        let mut shown = self.described();
        shown.retain(|instance| request.ids.is_empty() || request.ids.contains(&instance.id));
        request.page.cut(shown, &INSTANCES_PAGE, |instance| instance.id.clone())
    }
}

impl Filter {
    fn matches(&self, group: &Group) -> bool {
        group.tags.iter().any(|tag| match self.name.strip_prefix("tag:") {
            Some(key) => tag.key == key && self.values.contains(&tag.value),
            None if self.name == "tag-key" => self.values.contains(&tag.key),
            None => self.values.contains(&tag.value),
        })
    }

    fn parse(params: &Params) -> Result<Self, ApiError> {
        let name = params.required("Name")?.to_owned();
        if !name.starts_with("tag:") && name != "tag-key" && name != "tag-value" {
            return Err(ApiError::validation(format!(
                "Filter type {name} is not correct. Allowed Filter types are: tag-key tag-value tag:<key>"
            )));
        }
        Ok(Self { name, values: params.texts("Values") })
    }
}

fn groups(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let filters = params.structures("Filters");
    let mut page = cloud.describe_auto_scaling_groups(&DescribeAutoScalingGroups {
        names: params.texts("AutoScalingGroupNames"),
        filters: filters.iter().map(Filter::parse).collect::<Result<_, _>>()?,
        page: PageRequest::parse(params)?,
    })?;
    if params.boolean("IncludeInstances")? == Some(false) {
        page.items.iter_mut().for_each(|description| description.instances.clear());
    }
    page.write(xml, "AutoScalingGroups", write_group);
    Ok(())
}

fn instances(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let ids = params.texts("InstanceIds");
    ids.iter().try_for_each(|id| Text::INSTANCE.check("InstanceIds", id))?;
    let request = DescribeAutoScalingInstances { ids, page: PageRequest::parse(params)? };
    let page = cloud.describe_auto_scaling_instances(&request)?;
    page.write(xml, "AutoScalingInstances", |xml, instance| {
        xml.text("AutoScalingGroupName", &instance.group);
        // This call alone writes the status in capitals.
        write_instance(xml, instance, if instance.healthy { "HEALTHY" } else { "UNHEALTHY" });
    });
    Ok(())
}

fn write_group(xml: &mut Xml, description: &GroupDescription) {
    let group = &description.group;
    xml.text("AutoScalingGroupName", &group.name);
    xml.text("AutoScalingGroupARN", &group.arn);
    xml.optional("LaunchConfigurationName", group.launch_configuration.as_ref());
    write_template(xml, group.launch_template.as_ref());
    xml.text("MinSize", group.min);
    xml.text("MaxSize", group.max);
    xml.text("DesiredCapacity", group.desired);
    xml.text("DefaultCooldown", group.default_cooldown_s);
    xml.texts("AvailabilityZones", &group.zones);
    xml.texts::<&String>("LoadBalancerNames", []);
    xml.texts("TargetGroupARNs", &group.target_groups);
    xml.text("HealthCheckType", &group.health_check_type);
    xml.text("HealthCheckGracePeriod", group.health_check_grace_s);
    xml.list("Instances", &description.instances, |xml, instance| {
        write_instance(xml, instance, if instance.healthy { "Healthy" } else { "Unhealthy" });
    });
    xml.text("CreatedTime", iso_ms(group.created_ms));
    xml.list("SuspendedProcesses", &group.suspended, |xml, (name, reason)| {
        xml.text("ProcessName", name);
        xml.text("SuspensionReason", reason);
    });
    xml.optional("VPCZoneIdentifier", group.subnets.as_ref());
    xml.texts::<&String>("EnabledMetrics", []);
    xml.optional("Status", group.deleting.then_some("Delete in progress"));
    xml.list("Tags", &group.tags, |xml, tag| {
        xml.text("ResourceId", &group.name);
        xml.text("ResourceType", "auto-scaling-group");
        xml.text("Key", &tag.key);
        xml.text("Value", &tag.value);
        xml.text("PropagateAtLaunch", tag.propagate);
    });
    xml.texts("TerminationPolicies", &group.termination_policies);
    write_pool(xml, group.warm_pool.as_ref());
    xml.optional("WarmPoolSize", group.warm_pool.as_ref().map(|_| description.warm));
    xml.text("NewInstancesProtectedFromScaleIn", group.new_instances_protected);
    if let Some(policy) = group.maintenance {
        xml.element("InstanceMaintenancePolicy", |xml| {
            xml.text("MinHealthyPercentage", policy.min_healthy);
            xml.text("MaxHealthyPercentage", policy.max_healthy);
        });
    }
}

pub(super) fn write_pool(xml: &mut Xml, pool: Option<&WarmPool>) {
    let Some(pool) = pool else { return };
    xml.element("WarmPoolConfiguration", |xml| {
        xml.optional("MaxGroupPreparedCapacity", pool.prepared_max);
        xml.text("MinSize", pool.min);
        xml.text("PoolState", pool.rests.as_str());
        xml.optional("Status", pool.deleting.then_some("PendingDelete"));
    });
}

pub(super) fn write_instance(xml: &mut Xml, instance: &InstanceView, health: &str) {
    xml.text("InstanceId", &instance.id);
    xml.text("InstanceType", &instance.instance_type);
    xml.text("AvailabilityZone", &instance.zone);
    xml.text("LifecycleState", instance.state);
    xml.text("HealthStatus", health);
    xml.optional("LaunchConfigurationName", instance.launch_configuration.as_ref());
    write_template(xml, instance.launch_template.as_ref());
    xml.text("ProtectedFromScaleIn", instance.protected);
}

fn write_template(xml: &mut Xml, template: Option<&LaunchTemplate>) {
    let Some(template) = template else { return };
    xml.element("LaunchTemplate", |xml| {
        xml.optional("LaunchTemplateId", template.id.as_ref());
        xml.optional("LaunchTemplateName", template.name.as_ref());
        xml.optional("Version", template.version.as_ref());
    });
}

/// A time as AWS's XML has it, with milliseconds.
pub(super) fn iso_ms(ms: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

/// AWS: 50 by default, at most 100.
const GROUPS_PAGE: PageLimits = PageLimits { default: 50, max: 100 };

/// AWS: 50 by default and at most.
const INSTANCES_PAGE: PageLimits = PageLimits { default: 50, max: 50 };

/// Ids in one call.
const INSTANCE_IDS_MAX: usize = 50;
