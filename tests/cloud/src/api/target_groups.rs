//! Elastic Load Balancing: target groups, registration and target health.

use std::collections::BTreeMap;

use super::Operation;
use crate::error::ApiError;
use crate::model::{Cloud, TargetGroup, TargetState};
use crate::wire::{Params, Xml, integer_in};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "CreateTargetGroup", run: create },
    Operation { name: "DeleteTargetGroup", run: delete },
    Operation { name: "DescribeTargetGroups", run: describe },
    Operation { name: "RegisterTargets", run: register },
    Operation { name: "DeregisterTargets", run: deregister },
    Operation { name: "DescribeTargetHealth", run: health },
];

/// What a new target group is to be.
#[derive(Clone, Debug, Default)]
pub struct CreateTargetGroup {
    /// The name, at most 32 characters.
    pub name: String,
    /// `HTTP` unless given.
    pub protocol: Option<String>,
    /// 80 unless given.
    pub port: Option<u16>,
    /// Kept.
    pub vpc: Option<String>,
    /// `instance` unless given.
    pub target_type: Option<String>,
    /// Where its health checks ask; kept, since health comes from what is told.
    pub health_check_path: Option<String>,
    /// `traffic-port` unless given.
    pub health_check_port: Option<String>,
}

/// Names a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// Normally an instance id.
    pub id: String,
    /// The target group's port unless given.
    pub port: Option<u16>,
}

/// A target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    /// The target.
    pub id: String,
    /// Its port.
    pub port: u16,
    /// Its health.
    pub state: TargetState,
}

impl Cloud {
    /// `CreateTargetGroup`. Returns the ARN; the same name again with the same settings returns the same.
    pub fn create_target_group(&mut self, request: &CreateTargetGroup) -> Result<String, ApiError> {
        let new = request.checked()?;
        if let Some(old) = self.target_groups.values().find(|group| group.name == new.name) {
            if (&old.protocol, old.port, &old.vpc) == (&new.protocol, new.port, &new.vpc) {
                return Ok(old.arn.clone());
            }
            let message =
                format!("A target group with the same name '{}' exists, but with different settings", new.name);
            return Err(ApiError::sender("DuplicateTargetGroupName", message));
        }
        if self.target_groups.len() >= TARGET_GROUPS_MAX {
            return Err(ApiError::sender(
                "TooManyTargetGroups",
                format!("There are {TARGET_GROUPS_MAX} target groups already"),
            ));
        }
        let (region, account) = (self.options.region.clone(), self.options.account.clone());
        let unique = self.random.hex16();
        let arn = format!("arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{}/{unique}", new.name);
        self.target_groups.insert(arn.clone(), TargetGroup { arn: arn.clone(), ..new });
        Ok(arn)
    }

    /// `DeleteTargetGroup`, unless a group uses it.
    pub fn delete_target_group(&mut self, arn: &str) -> Result<(), ApiError> {
        if self.groups.values().any(|group| group.target_groups.iter().any(|used| used == arn)) {
            let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
            return Err(ApiError::sender("ResourceInUse", message));
        }
        self.target_groups.remove(arn);
        Ok(())
    }

    /// `RegisterTargets`; how instances that no group manages get traffic.
    pub fn register_targets(&mut self, arn: &str, targets: &[TargetRef]) -> Result<(), ApiError> {
        let group = self.target_group(arn)?;
        if group.targets.len() + targets.len() > TARGETS_MAX {
            return Err(ApiError::sender(
                "TooManyTargets",
                format!("A target group cannot have more than {TARGETS_MAX} targets"),
            ));
        }
        for target in targets {
            self.register_target(arn, &target.id, target.port);
        }
        Ok(())
    }

    /// `DeregisterTargets`: they drain.
    pub fn deregister_targets(&mut self, arn: &str, targets: &[TargetRef]) -> Result<(), ApiError> {
        self.target_group(arn)?;
        for target in targets {
            self.deregister_target(arn, &target.id, target.port);
        }
        Ok(())
    }

    /// `DescribeTargetHealth`: all registered targets, or those asked for; what is not registered is `unused`.
    pub fn describe_target_health(&self, arn: &str, targets: &[TargetRef]) -> Result<Vec<TargetHealth>, ApiError> {
        let group = self.target_group(arn)?;
        if targets.is_empty() {
            let all = group.targets.iter();
            return Ok(all
                .map(|((id, port), target)| TargetHealth { id: id.clone(), port: *port, state: target.state })
                .collect());
        }
        let asked = targets.iter().map(|target| {
            let port = target.port.unwrap_or(group.port);
            let found = group.targets.get(&(target.id.clone(), port));
            let state = found.map_or(TargetState::Unused, |target| target.state);
            TargetHealth { id: target.id.clone(), port, state }
        });
        Ok(asked.collect())
    }

    fn target_group(&self, arn: &str) -> Result<&TargetGroup, ApiError> {
        self.target_groups
            .get(arn)
            .ok_or_else(|| ApiError::sender("TargetGroupNotFound", format!("Target groups '{arn}' not found")))
    }
}

impl CreateTargetGroup {
    fn checked(&self) -> Result<TargetGroup, ApiError> {
        let name = &self.name;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty()
            || name.len() > NAME_MAX
            || !name.chars().all(legal)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            let message =
                format!("Target group name '{name}' must be 1 to {NAME_MAX} letters, digits and inner hyphens");
            return Err(ApiError::validation(message));
        }
        Ok(TargetGroup {
            arn: String::new(),
            name: name.clone(),
            protocol: self.protocol.clone().unwrap_or_else(|| "HTTP".into()),
            port: self.port.unwrap_or(80),
            vpc: self.vpc.clone(),
            target_type: self.target_type.clone().unwrap_or_else(|| "instance".into()),
            health_check_path: self.health_check_path.clone().unwrap_or_else(|| "/".into()),
            health_check_port: self.health_check_port.clone().unwrap_or_else(|| "traffic-port".into()),
            targets: BTreeMap::new(),
        })
    }
}

fn create(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let owned = |name| params.text(name).map(str::to_owned);
    let arn = cloud.create_target_group(&CreateTargetGroup {
        name: params.required("Name")?.to_owned(),
        protocol: owned("Protocol"),
        port: port(params)?,
        vpc: owned("VpcId"),
        target_type: owned("TargetType"),
        health_check_path: owned("HealthCheckPath"),
        health_check_port: owned("HealthCheckPort"),
    })?;
    xml.list("TargetGroups", cloud.target_groups.get(&arn), write_group);
    Ok(())
}

fn delete(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.delete_target_group(params.required("TargetGroupArn")?)
}

fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let (arns, names) = (params.list("TargetGroupArns"), params.list("Names"));
    for arn in &arns {
        cloud.target_group(arn)?;
    }
    let known = |name: &&&str| !cloud.target_groups.values().any(|group| group.name == **name);
    if names.iter().find(known).is_some() {
        return Err(ApiError::sender("TargetGroupNotFound", "One or more target groups not found"));
    }
    let all = arns.is_empty() && names.is_empty();
    let wanted =
        |group: &&TargetGroup| all || arns.contains(&group.arn.as_str()) || names.contains(&group.name.as_str());
    xml.list("TargetGroups", cloud.target_groups.values().filter(wanted), write_group);
    Ok(())
}

fn register(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.register_targets(params.required("TargetGroupArn")?, &targets(params)?)
}

fn deregister(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.deregister_targets(params.required("TargetGroupArn")?, &targets(params)?)
}

fn health(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let found = cloud.describe_target_health(params.required("TargetGroupArn")?, &targets(params)?)?;
    xml.list("TargetHealthDescriptions", found, |xml, health| {
        xml.element("Target", |xml| {
            xml.text("Id", &health.id);
            xml.text("Port", health.port);
        });
        xml.text("HealthCheckPort", health.port);
        xml.element("TargetHealth", |xml| {
            xml.text("State", health.state.as_str());
            if let Some((code, text)) = health.state.reason() {
                xml.text("Reason", code);
                xml.text("Description", text);
            }
        });
    });
    Ok(())
}

fn targets(params: &Params) -> Result<Vec<TargetRef>, ApiError> {
    let parse = |target: &Params| Ok(TargetRef { id: target.required("Id")?.to_owned(), port: port(target)? });
    params.structures("Targets").iter().map(parse).collect()
}

fn port(params: &Params) -> Result<Option<u16>, ApiError> {
    let number = params.integer("Port")?.map(|value| integer_in("Port", value, 1, i64::from(u16::MAX))).transpose()?;
    Ok(number.and_then(|number| u16::try_from(number).ok()))
}

fn write_group(xml: &mut Xml, group: &TargetGroup) {
    xml.text("TargetGroupArn", &group.arn);
    xml.text("TargetGroupName", &group.name);
    xml.text("Protocol", &group.protocol);
    xml.text("Port", group.port);
    xml.optional("VpcId", group.vpc.as_ref());
    xml.text("TargetType", &group.target_type);
    xml.text("HealthCheckEnabled", true);
    xml.text("HealthCheckProtocol", &group.protocol);
    xml.text("HealthCheckPath", &group.health_check_path);
    xml.text("HealthCheckPort", &group.health_check_port);
    xml.texts::<&String>("LoadBalancerArns", []);
}

/// AWS's limit for names.
const NAME_MAX: usize = 32;

/// AWS's quota per Region.
const TARGET_GROUPS_MAX: usize = 3_000;

/// AWS's quota per target group.
const TARGETS_MAX: usize = 1_000;
