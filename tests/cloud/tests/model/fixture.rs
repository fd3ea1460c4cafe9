//! A cloud with one group, and words for what tests do to it.

use portcullis_cloud::{
    ActionResult, ApiError, Cloud, CreateAutoScalingGroup, CreateTargetGroup, DescribeScalingActivities, InstanceView,
    LaunchTemplate, LifecycleAction, Options, PutLifecycleHook, Transition, UpdateAutoScalingGroup,
};

/// The group of all tests.
pub(crate) const WEB: &str = "web";

/// Long enough for everything that takes no hook's time.
pub(crate) const SETTLED_MS: u64 = 5_000;

/// A hook that holds launches, with AWS's defaults.
pub(crate) fn launch_hook(name: &str) -> PutLifecycleHook {
    PutLifecycleHook { name: name.into(), transition: Some(Transition::Launching), ..Default::default() }
}

/// A hook that holds terminations.
pub(crate) fn terminate_hook(name: &str) -> PutLifecycleHook {
    PutLifecycleHook { name: name.into(), transition: Some(Transition::Terminating), ..Default::default() }
}

/// A group of 0 to 4 that wants `desired`, with a target group and these hooks.
pub(crate) fn web(desired: u32, hooks: Vec<PutLifecycleHook>) -> Cloud {
    web_with(Options::default(), desired, hooks)
}

pub(crate) fn web_with(options: Options, desired: u32, hooks: Vec<PutLifecycleHook>) -> Cloud {
    let mut cloud = Cloud::new(options, 1_795_000_000_000);
    let arn = cloud.create_target_group(&CreateTargetGroup { name: WEB.into(), ..Default::default() }).unwrap();
    let request = CreateAutoScalingGroup {
        name: WEB.into(),
        settings: settings(desired),
        target_groups: vec![arn],
        hooks,
        ..Default::default()
    };
    cloud.create_auto_scaling_group(&request).unwrap();
    settle(&mut cloud);
    cloud
}

pub(crate) fn settings(desired: u32) -> UpdateAutoScalingGroup {
    UpdateAutoScalingGroup {
        min: Some(0),
        max: Some(4),
        desired: Some(desired),
        launch_template: Some(template("1")),
        zones: vec!["eu-west-1a".into(), "eu-west-1b".into()],
        ..Default::default()
    }
}

pub(crate) fn template(version: &str) -> LaunchTemplate {
    LaunchTemplate { name: Some(WEB.into()), version: Some(version.into()), id: None }
}

pub(crate) fn pass(cloud: &mut Cloud, ms: u64) {
    cloud.advance(cloud.now_ms() + ms);
}

pub(crate) fn settle(cloud: &mut Cloud) {
    pass(cloud, SETTLED_MS);
}

/// The states of the group's instances, sorted.
pub(crate) fn states(cloud: &Cloud) -> Vec<&'static str> {
    let mut states: Vec<_> = cloud.instances(Some(WEB)).iter().map(|instance| instance.state.as_str()).collect();
    states.sort_unstable();
    states
}

pub(crate) fn only(cloud: &Cloud) -> InstanceView {
    let mut all = cloud.instances(Some(WEB));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

pub(crate) fn in_state(cloud: &Cloud, state: &str) -> Vec<InstanceView> {
    cloud.instances(Some(WEB)).into_iter().filter(|instance| instance.state.as_str() == state).collect()
}

pub(crate) fn action(hook: &str, id: &str) -> LifecycleAction {
    LifecycleAction { group: WEB.into(), hook: hook.into(), instance: Some(id.into()), token: None }
}

pub(crate) fn complete(cloud: &mut Cloud, hook: &str, id: &str, result: ActionResult) -> Result<(), ApiError> {
    cloud.complete_lifecycle_action(&action(hook, id), result)
}

/// The texts of the group's activities, newest first.
pub(crate) fn activity_texts(cloud: &Cloud) -> Vec<String> {
    let page = cloud.describe_scaling_activities(&DescribeScalingActivities::default()).unwrap();
    page.items.into_iter().map(|activity| activity.description).collect()
}

pub(crate) fn target_states(cloud: &Cloud) -> Vec<&'static str> {
    cloud
        .target_groups()
        .values()
        .flat_map(|group| group.targets.values())
        .map(|target| target.state.as_str())
        .collect()
}
