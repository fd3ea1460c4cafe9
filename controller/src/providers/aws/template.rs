//! What a group launches from now, said as it is said of its instances.

use aws_sdk_autoscaling::types::{AutoScalingGroup, LaunchTemplateSpecification};

/// `None` where that cannot be known without asking EC2: `$Latest` and `$Default` are whatever they are just now, and one group may
/// launch several types from several templates.
pub(super) fn of_group(group: &AutoScalingGroup) -> Option<String> {
    if let Some(mixed) = group.mixed_instances_policy().and_then(|policy| policy.launch_template()) {
        let own = mixed.overrides().iter().any(|one| one.launch_template_specification().is_some());
        return mixed.launch_template_specification().filter(|_| !own).and_then(named);
    }
    let template = group.launch_template().map(named);
    template.unwrap_or_else(|| group.launch_configuration_name().map(Into::into))
}

fn named(template: &LaunchTemplateSpecification) -> Option<String> {
    let version = template.version().filter(|version| version.parse::<u64>().is_ok())?;
    let name = template.launch_template_id().or(template.launch_template_name())?;
    Some(format!("{name}:{version}"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::{LaunchTemplate, LaunchTemplateOverrides, MixedInstancesPolicy};

    use super::*;

    fn template(version: &str) -> LaunchTemplateSpecification {
        LaunchTemplateSpecification::builder().launch_template_id("lt-1").version(version).build()
    }

    fn mixed(overrides: LaunchTemplateOverrides) -> AutoScalingGroup {
        let of_all =
            LaunchTemplate::builder().launch_template_specification(template("3")).overrides(overrides).build();
        let policy = MixedInstancesPolicy::builder().launch_template(of_all).build();
        AutoScalingGroup::builder().mixed_instances_policy(policy).build()
    }

    #[test]
    fn what_is_known_of_it() {
        let group = |version| AutoScalingGroup::builder().launch_template(template(version)).build();
        assert_eq!(of_group(&group("7")).as_deref(), Some("lt-1:7"));
        assert_eq!(of_group(&group("$Latest")), None);
        assert_eq!(of_group(&AutoScalingGroup::builder().build()), None);
        let configured = AutoScalingGroup::builder().launch_configuration_name("web-2019").build();
        assert_eq!(of_group(&configured).as_deref(), Some("web-2019"));
        let plain = LaunchTemplateOverrides::builder().instance_type("t3.small").build();
        assert_eq!(of_group(&mixed(plain)).as_deref(), Some("lt-1:3"));
        let own = LaunchTemplateOverrides::builder().launch_template_specification(template("9")).build();
        assert_eq!(of_group(&mixed(own)), None);
    }
}
