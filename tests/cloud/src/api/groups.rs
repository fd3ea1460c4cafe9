//! Groups: made, changed, deleted.

use std::collections::BTreeMap;

use super::Operation;
use super::hooks::PutLifecycleHook;
use crate::error::ApiError;
use crate::model::{Cloud, Failures, Group, LaunchTemplate, Maintenance, Tag, Termination};
use crate::wire::{Params, Text, Xml, integer_in};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "CreateAutoScalingGroup", run: create },
    Operation { name: "UpdateAutoScalingGroup", run: update },
    Operation { name: "DeleteAutoScalingGroup", run: delete },
];

/// What a new group is to be.
#[derive(Clone, Debug, Default)]
pub struct CreateAutoScalingGroup {
    /// The name, new in the cloud.
    pub name: String,
    /// Everything that can be changed later too.
    pub settings: UpdateAutoScalingGroup,
    /// The target groups to register with; they must exist.
    pub target_groups: Vec<String>,
    /// Hooks that hold from the first instance on.
    pub hooks: Vec<PutLifecycleHook>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// What is to change about a group; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct UpdateAutoScalingGroup {
    /// The fewest instances; needed at creation.
    pub min: Option<u32>,
    /// The most instances; needed at creation.
    pub max: Option<u32>,
    /// The instances wanted; `min` at creation unless given.
    pub desired: Option<u32>,
    /// What to launch from.
    pub launch_template: Option<LaunchTemplate>,
    /// What to launch from, the older way.
    pub launch_configuration: Option<String>,
    /// Availability zones.
    pub zones: Vec<String>,
    /// Subnets, separated by commas.
    pub subnets: Option<String>,
    /// `EC2` or `ELB`.
    pub health_check_type: Option<String>,
    /// Grace after InService, in seconds.
    pub health_check_grace_s: Option<u32>,
    /// Kept.
    pub default_cooldown_s: Option<u32>,
    /// Protect new instances from scale-in.
    pub new_instances_protected: Option<bool>,
    /// `Default`, `OldestInstance` and `NewestInstance` are told apart.
    pub termination_policies: Vec<String>,
    /// How healthy it must stay while instances are replaced; `Some(None)` takes the policy away.
    pub maintenance: Option<Option<Maintenance>>,
}

impl Cloud {
    /// `CreateAutoScalingGroup`; its first instances are launched at once.
    pub fn create_auto_scaling_group(&mut self, request: &CreateAutoScalingGroup) -> Result<(), ApiError> {
        let name = &request.name;
        check_name(name)?;
        if self.groups.contains_key(name) {
            let message =
                format!("AutoScalingGroup by this name already exists - A group with the name {name} already exists");
            return Err(ApiError::sender("AlreadyExists", message));
        }
        request.check(self)?;
        let mut group = self.empty_group(name);
        request.settings.apply(&mut group);
        group.desired = request.settings.desired.unwrap_or(group.min);
        group.check_sizes()?;
        group.target_groups.clone_from(&request.target_groups);
        group.tags.clone_from(&request.tags);
        for hook in &request.hooks {
            let hook = hook.applied_to(None)?;
            group.hooks.insert(hook.name.clone(), hook);
        }
        let cause = format!(
            "a user request created an AutoScalingGroup changing the desired capacity from 0 to {}.",
            group.desired
        );
        self.groups.insert(name.clone(), group);
        self.with_cause(name, &cause, |_| {});
        Ok(())
    }

    /// `UpdateAutoScalingGroup`. New limits move the desired capacity with them; a new template counts from
    /// the next launch on.
    pub fn update_auto_scaling_group(&mut self, name: &str, request: &UpdateAutoScalingGroup) -> Result<(), ApiError> {
        let old = self.group(name)?;
        let mut group = old.clone();
        request.apply(&mut group);
        if request.desired.is_none() && group.min <= group.max {
            group.desired = group.desired.clamp(group.min, group.max);
        }
        group.check_sizes()?;
        let cause = format!(
            "a user request update of AutoScalingGroup constraints to min: {}, max: {}, desired: {} changing the \
             desired capacity from {} to {}.",
            group.min, group.max, group.desired, old.desired, group.desired
        );
        self.with_cause(name, &cause, |old| *old = group);
        Ok(())
    }

    /// `DeleteAutoScalingGroup`. By force, its instances are terminated without hooks and it is gone after the last.
    pub fn delete_auto_scaling_group(&mut self, name: &str, force: bool) -> Result<(), ApiError> {
        self.group(name)?;
        let present = self.instances.values().filter(|i| i.group == name && i.removed_ms.is_none());
        let present: Vec<String> = present.map(|instance| instance.id.clone()).collect();
        if !force && !present.is_empty() {
            let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance \
                           request(s) still in the group.";
            return Err(ApiError::sender("ResourceInUse", message));
        }
        if let Some(group) = self.groups.get_mut(name) {
            (group.deleting, group.min, group.desired) = (true, 0, 0);
            group.warm_pool = None;
        }
        let cause = "a user request force deleted the AutoScalingGroup.";
        for id in present {
            self.terminate(&id, &Termination { cause: cause.into(), runs_hooks: false });
        }
        self.reconcile(name);
        Ok(())
    }

    fn empty_group(&mut self, name: &str) -> Group {
        let (region, account) = (&self.options.region, &self.options.account);
        let uuid = self.random.uuid();
        Group {
            name: name.to_owned(),
            arn: format!("arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{uuid}:autoScalingGroupName/{name}"),
            min: 0,
            max: 0,
            desired: 0,
            launch_template: None,
            launch_configuration: None,
            zones: vec![format!("{region}a"), format!("{region}b")],
            subnets: None,
            target_groups: Vec::new(),
            health_check_type: "EC2".into(),
            health_check_grace_s: 0,
            default_cooldown_s: DEFAULT_COOLDOWN_S,
            new_instances_protected: false,
            termination_policies: vec!["Default".into()],
            maintenance: None,
            scaling_policies: BTreeMap::new(),
            tags: Vec::new(),
            hooks: BTreeMap::new(),
            suspended: BTreeMap::new(),
            warm_pool: None,
            created_ms: self.now_ms,
            deleting: false,
            cause: String::new(),
            failures: Failures::default(),
            refreshes: Vec::new(),
            told_all_protected: false,
        }
    }

    /// Target groups have to exist before a group can use them.
    pub(super) fn check_target_groups(&self, arns: &[String]) -> Result<(), ApiError> {
        if arns.iter().all(|arn| self.target_groups.contains_key(arn)) {
            return Ok(());
        }
        Err(ApiError::validation("Provided Target Groups may not be valid. Please ensure they exist and try again."))
    }
}

impl Group {
    fn check_sizes(&self) -> Result<(), ApiError> {
        let Self { min, max, desired, .. } = self;
        if min > max {
            return Err(ApiError::validation(format!(
                "Max bound, {max}, must be greater than or equal to min bound, {min}"
            )));
        }
        if !(min..=max).contains(&desired) {
            let message =
                format!("Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}");
            return Err(ApiError::validation(message));
        }
        if *max > INSTANCES_MAX {
            return Err(ApiError::sender(
                "LimitExceeded",
                format!("Max size {max} is above the limit of {INSTANCES_MAX}"),
            ));
        }
        Ok(())
    }
}

impl CreateAutoScalingGroup {
    fn check(&self, cloud: &Cloud) -> Result<(), ApiError> {
        let settings = &self.settings;
        if settings.launch_template.is_none() && settings.launch_configuration.is_none() {
            return Err(ApiError::validation(
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or \
                 MixedInstancesPolicy parameter.",
            ));
        }
        if settings.zones.is_empty() && settings.subnets.is_none() {
            return Err(ApiError::validation("At least one Availability Zone or VPC Subnet is required."));
        }
        if cloud.groups.len() >= GROUPS_MAX {
            return Err(ApiError::sender("LimitExceeded", format!("There are {GROUPS_MAX} groups already")));
        }
        cloud.check_target_groups(&self.target_groups)
    }
}

impl UpdateAutoScalingGroup {
    fn apply(&self, group: &mut Group) {
        fn set<T: Clone>(field: &mut T, new: Option<&T>) {
            if let Some(new) = new {
                field.clone_from(new);
            }
        }
        set(&mut group.min, self.min.as_ref());
        set(&mut group.max, self.max.as_ref());
        set(&mut group.desired, self.desired.as_ref());
        set(&mut group.health_check_type, self.health_check_type.as_ref());
        set(&mut group.health_check_grace_s, self.health_check_grace_s.as_ref());
        set(&mut group.default_cooldown_s, self.default_cooldown_s.as_ref());
        set(&mut group.maintenance, self.maintenance.as_ref());
        set(&mut group.new_instances_protected, self.new_instances_protected.as_ref());
        set(&mut group.zones, Some(&self.zones).filter(|zones| !zones.is_empty()));
        set(&mut group.termination_policies, Some(&self.termination_policies).filter(|list| !list.is_empty()));
        group.subnets = self.subnets.clone().or(group.subnets.take());
        if self.launch_template.is_some() || self.launch_configuration.is_some() {
            group.launch_template.clone_from(&self.launch_template);
            group.launch_configuration.clone_from(&self.launch_configuration);
        }
    }

    fn parse(params: &Params) -> Result<Self, ApiError> {
        let owned = |name, limits| Ok(params.limited(name, limits)?.map(str::to_owned));
        Ok(Self {
            min: params.count("MinSize")?,
            max: params.count("MaxSize")?,
            desired: params.count("DesiredCapacity")?,
            launch_template: launch_template(params)?,
            launch_configuration: owned("LaunchConfigurationName", &Text::NAME)?,
            zones: params.texts("AvailabilityZones"),
            subnets: owned("VPCZoneIdentifier", &SUBNETS)?,
            health_check_type: owned("HealthCheckType", &SHORT)?,
            health_check_grace_s: params.count("HealthCheckGracePeriod")?,
            default_cooldown_s: params.count("DefaultCooldown")?,
            new_instances_protected: params.boolean("NewInstancesProtectedFromScaleIn")?,
            termination_policies: params.texts("TerminationPolicies"),
            maintenance: params
                .structure("InstanceMaintenancePolicy")
                .map(|policy| maintenance(&policy))
                .transpose()?,
        })
    }
}

/// -1 for both takes the policy away.
fn maintenance(policy: &Params) -> Result<Option<Maintenance>, ApiError> {
    policy.required("MinHealthyPercentage")?;
    policy.required("MaxHealthyPercentage")?;
    match (policy.integer("MinHealthyPercentage")?, policy.integer("MaxHealthyPercentage")?) {
        (Some(min), Some(max)) if (min, max) != (-1, -1) => {
            let min_healthy = integer_in("MinHealthyPercentage", min, 0, 100)?;
            let max_healthy = integer_in("MaxHealthyPercentage", max, 100, 200)?;
            if max_healthy - min_healthy > 100 {
                let message =
                    "The difference between MaxHealthyPercentage and MinHealthyPercentage must not exceed 100";
                return Err(ApiError::validation(message));
            }
            Ok(Some(Maintenance { min_healthy, max_healthy }))
        }
        _ => Ok(None),
    }
}

fn launch_template(params: &Params) -> Result<Option<LaunchTemplate>, ApiError> {
    let Some(template) = params.structure("LaunchTemplate") else { return Ok(None) };
    let owned =
        |name, limits| -> Result<Option<String>, ApiError> { Ok(template.limited(name, limits)?.map(str::to_owned)) };
    let mut found = LaunchTemplate {
        id: owned("LaunchTemplateId", &Text::NAME)?,
        name: owned("LaunchTemplateName", &Text::TEMPLATE)?,
        version: owned("Version", &Text::NAME)?,
    };
    match (&found.id, &found.name) {
        (None, None) | (Some(_), Some(_)) => {
            Err(ApiError::validation("Valid requests must contain either launchTemplateId or LaunchTemplateName"))
        }
        (None, Some(name)) => {
            found.id = Some(template_id(name));
            Ok(Some(found))
        }
        (Some(_), None) => Ok(Some(found)),
    }
}

/// AWS describes templates by id and name both. Templates are opaque here, so the id is made from the name.
fn template_id(name: &str) -> String {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("lt-0{:016x}", name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    Text::NAME.check("AutoScalingGroupName", name)?;
    if name.contains(':') {
        return Err(ApiError::validation("AutoScalingGroup name cannot contain a colon (:)"));
    }
    Ok(())
}

fn create(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    params.required("MinSize")?;
    params.required("MaxSize")?;
    let hooks = params.structures("LifecycleHookSpecificationList");
    let tags = params.structures("Tags").into_iter().map(|tag| parse_tag(&tag));
    cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
        name: params.group()?,
        settings: UpdateAutoScalingGroup::parse(params)?,
        target_groups: params.texts("TargetGroupARNs"),
        hooks: hooks.iter().map(PutLifecycleHook::parse).collect::<Result<_, _>>()?,
        tags: tags.collect::<Result<_, _>>()?,
    })
}

fn parse_tag(tag: &Params) -> Result<Tag, ApiError> {
    Ok(Tag {
        key: tag.required_limited("Key", &TAG_KEY)?,
        value: tag.limited("Value", &TAG_VALUE)?.unwrap_or_default().to_owned(),
        propagate: tag.boolean("PropagateAtLaunch")?.unwrap_or(true),
    })
}

fn update(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.update_auto_scaling_group(&params.group()?, &UpdateAutoScalingGroup::parse(params)?)
}

fn delete(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.delete_auto_scaling_group(&params.group()?, params.boolean("ForceDelete")?.unwrap_or(false))
}

/// The service's model: `XmlStringMaxLen5000`, `XmlStringMaxLen32`, `TagKey`, `TagValue`.
const SUBNETS: Text = Text { min: 1, max: 5_000, pattern: None };
const SHORT: Text = Text { min: 1, max: 32, pattern: None };
const TAG_KEY: Text = Text { min: 1, max: 128, pattern: None };
const TAG_VALUE: Text = Text { min: 0, max: 256, pattern: None };

/// AWS's default, in seconds.
const DEFAULT_COOLDOWN_S: u32 = 300;

/// AWS's quota of groups per Region.
const GROUPS_MAX: usize = 500;

/// Instances per group: bounds memory, far above what one machine's drill can start.
const INSTANCES_MAX: u32 = 10_000;
