//! `portcullis doctor` as an operator runs it: the real command and controller, one group as the documents say and one with
//! everything wrong about it.

use std::sync::Arc;

use anyhow::Result;
use portcullis_cloud::{
    ActionResult, CreateAutoScalingGroup, CreateTargetGroup, Fault, LaunchTemplate, Maintenance, PutLifecycleHook,
    Server, UpdateAutoScalingGroup,
};
use portcullis_drill::{
    gate::{Gate, Release, Said, Setup},
    scene::{self, GROUP, Scratch},
    site::Site,
};
use portcullis_wire::programs;
use serde_json::Value;

/// A cloud with both groups, and a controller that gates them.
struct World {
    cloud: Arc<Server>,
    gate: Gate,
    _scratch: Scratch,
}

impl World {
    async fn set_up(name: &str) -> Result<Self> {
        let scratch = Scratch::make(name)?;
        let release = Release::build(programs(), &Site::write(scratch.join("staging"))?, &scratch.join("release"))?;
        let cloud = scene::cloud().await?;
        make_groups(&cloud)?;
        let setup = Setup { limits: "describe_every = \"1s\"\n[groups.bad]\n[groups.gone]\n", ..Setup::default() };
        let gate = Gate::set_up(programs(), &release, &cloud.url(), &scratch.join("gate"), &setup).await?;
        Ok(Self { cloud, gate, _scratch: scratch })
    }

    async fn doctor(&self, group: &str) -> Result<Said> {
        self.gate.cli(&["doctor", "--group", group]).await
    }

    fn inject(&self, fault: Fault) {
        self.cloud.lock().inject(fault);
    }
}

fn make_groups(cloud: &Server) -> Result<()> {
    let mut cloud = cloud.lock();
    let target_group = |name: &str, path: &str, port: Option<&str>| CreateTargetGroup {
        name: name.into(),
        health_check_path: Some(path.into()),
        health_check_port: port.map(Into::into),
        ..Default::default()
    };
    let good = cloud.create_target_group(&target_group("good", "/health", None))?;
    let bad = cloud.create_target_group(&target_group("bad", "/readyz", Some("7410")))?;
    let maintenance = Maintenance { min_healthy: 100, max_healthy: 110 };
    let settings = UpdateAutoScalingGroup {
        min: Some(0),
        max: Some(4),
        launch_template: Some(LaunchTemplate { name: Some("shop".into()), ..Default::default() }),
        zones: vec!["eu-west-1a".into()],
        maintenance: Some(Some(maintenance)),
        ..Default::default()
    };
    let hooks = vec![scene::hook(), PutLifecycleHook { name: "codedeploy".into(), ..scene::hook() }];
    cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
        name: GROUP.into(),
        settings: settings.clone(),
        target_groups: vec![good],
        hooks,
        ..Default::default()
    })?;
    let hook = PutLifecycleHook {
        heartbeat_timeout_s: Some(60),
        default_result: Some(ActionResult::Continue),
        ..scene::hook()
    };
    let settings = UpdateAutoScalingGroup { maintenance: None, health_check_type: Some("ELB".into()), ..settings };
    cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
        name: "bad".into(),
        settings,
        target_groups: vec![bad],
        hooks: vec![hook],
        ..Default::default()
    })?;
    cloud.put_scaling_policy("bad", "up", "SimpleScaling")?;
    cloud.put_scaling_policy(GROUP, "track", "TargetTrackingScaling")?;
    cloud.suspend_processes("bad", &["AddToLoadBalancer".into()])?;
    Ok(())
}

/// Lines of the page that begin so, without what follows.
fn lines<'a>(page: &'a str, state: &str) -> Vec<&'a str> {
    let of_state = page.lines().filter_map(|line| line.trim_start().strip_prefix(state));
    of_state.filter_map(|rest| rest.split_whitespace().next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_group_is_well_and_a_bad_one_is_told_how_to_mend() -> Result<()> {
    let world = World::set_up("doctor").await?;
    let good = world.doctor(GROUP).await?;
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    let topics =
        ["hook", "maintenance", "scaling", "suspended", "probe", "permission", "permission", "clock", "certificate"];
    assert_eq!(lines(&good.stdout, "ok "), topics, "{}", good.stdout);
    assert!(good.stdout.contains("launches also wait for `codedeploy`"), "{}", good.stdout);

    let bad = world.doctor("bad").await?;
    assert_eq!(bad.code, Some(1), "{}{}", bad.stdout, bad.stderr);
    let topics = ["hook", "hook", "maintenance", "scaling", "suspended", "probe"];
    assert_eq!(lines(&bad.stdout, "MEND "), topics, "{}", bad.stdout);
    for word in
        ["result is CONTINUE", "it waits 1m", "AddToLoadBalancer", "and it is replaced", "hint: aws autoscaling"]
    {
        assert!(bad.stdout.contains(word), "{word}: {}", bad.stdout);
    }
    let gone = world.doctor("gone").await?;
    assert_eq!((gone.code, lines(&gone.stdout, "MEND ")), (Some(1), vec!["group"]), "{}", gone.stdout);
    assert_eq!(world.doctor("nobody").await?.code, Some(1));

    let all: Value = serde_json::from_str(&world.gate.cli(&["doctor", "--json"]).await?.stdout)?;
    let findings = all["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|finding| finding["group"] == "bad" && finding["state"] == "mend"), "{all}");
    assert!(findings.iter().any(|finding| finding["topic"] == "clock" && finding["state"] == "well"), "{all}");
    Ok(())
}

/// What the controller may not do is to be mended; what was not answered could not be told. Nobody is harmed by asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_and_no_answer_is_not_well() -> Result<()> {
    let mut world = World::set_up("doctor-permission").await?;
    // One that serves, so that all can be rehearsed; nothing is done to it.
    world.cloud.lock().attach_instances(GROUP, &["i-0123456789abcdef0".into()])?;
    let serves = || world.cloud.lock().instances(Some(GROUP)).iter().any(|one| one.state.as_str() == "InService");
    while !serves() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for action in [
        "CompleteLifecycleAction",
        "SetInstanceProtection",
        "EnterStandby",
        "ExitStandby",
        "SetInstanceHealth",
        "DescribeScalingActivities",
        "DescribeInstanceRefreshes",
        "DescribeWarmPool",
        "DescribePolicies",
        "DescribeTargetGroups",
        "DescribeTargetHealth",
    ] {
        world.inject(Fault::Deny { action: Some(action.into()) });
        let told = world.doctor(GROUP).await?;
        assert_eq!(told.code, Some(1), "{action}: {}{}", told.stdout, told.stderr);
        let denied = format!(":{action} is denied: ");
        assert!(told.stdout.contains(&denied) && told.stdout.contains("iam-policy.json"), "{action}: {}", told.stdout);
        world.cloud.lock().faults_mut().clear();
    }
    for action in ["DescribePolicies", "RecordLifecycleActionHeartbeat"] {
        // The other groups are asked too.
        world.inject(Fault::Unavailable { calls: 3, action: Some(action.into()) });
        let told = world.doctor(GROUP).await?;
        assert_eq!(told.code, Some(2), "{action}: {}{}", told.stdout, told.stderr);
        assert!(told.stdout.contains(&format!(":{action} was not answered: ")), "{action}: {}", told.stdout);
        world.cloud.lock().faults_mut().clear();
    }
    assert!(serves(), "rehearsing has no effect");
    world.gate.kill().await?;
    assert_eq!(world.doctor(GROUP).await?.code, Some(2), "without a controller nothing can be told");
    Ok(())
}
