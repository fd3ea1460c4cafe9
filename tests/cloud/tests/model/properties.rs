//! Whatever is called in whatever order, these hold.

use portcullis_cloud::{ActionResult, Cloud, Fault, WarmPool};
use proptest::prelude::*;

use crate::fixture::*;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Desired(u32),
    Complete(usize, bool),
    Protect(usize, bool),
    Terminate(usize, bool),
    Standby(usize),
    Return(usize),
    Sick(usize),
    NewVolume(usize),
    WarmPool(bool),
    FailLaunch,
    Suspend(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..600_000_u64).prop_map(Step::Pass),
        (0..1_000_u64).prop_map(Step::Pass),
        (0..5_u32).prop_map(Step::Desired),
        (any::<usize>(), any::<bool>()).prop_map(|(n, go)| Step::Complete(n, go)),
        (any::<usize>(), any::<bool>()).prop_map(|(n, on)| Step::Protect(n, on)),
        (any::<usize>(), any::<bool>()).prop_map(|(n, fewer)| Step::Terminate(n, fewer)),
        any::<usize>().prop_map(Step::Standby),
        any::<usize>().prop_map(Step::Return),
        any::<usize>().prop_map(Step::Sick),
        any::<usize>().prop_map(Step::NewVolume),
        any::<bool>().prop_map(Step::WarmPool),
        Just(Step::FailLaunch),
        any::<bool>().prop_map(Step::Suspend),
    ]
}

/// Refusals are as good as acceptances here.
fn take(cloud: &mut Cloud, step: &Step) {
    let ids: Vec<String> = cloud.instances(None).into_iter().map(|instance| instance.id).collect();
    let pick = |n: &usize| ids.get(n % ids.len().max(1)).cloned().unwrap_or_default();
    let result = |go: &bool| if *go { ActionResult::Continue } else { ActionResult::Abandon };
    match step {
        Step::Pass(ms) => pass(cloud, *ms),
        Step::Desired(n) => drop(cloud.set_desired_capacity(WEB, *n)),
        Step::Complete(n, go) => {
            drop(complete(cloud, "gate", &pick(n), result(go)));
            drop(complete(cloud, "bye", &pick(n), result(go)));
        }
        Step::Protect(n, on) => drop(cloud.set_instance_protection(WEB, &[pick(n)], *on)),
        Step::Terminate(n, fewer) => drop(cloud.terminate_instance_in_auto_scaling_group(&pick(n), *fewer)),
        Step::Standby(n) => drop(cloud.enter_standby(WEB, &[pick(n)], true)),
        Step::Return(n) => drop(cloud.exit_standby(WEB, &[pick(n)])),
        Step::Sick(n) => drop(cloud.set_instance_health(&pick(n), false, true)),
        Step::NewVolume(n) => drop(cloud.replace_root_volume(&pick(n))),
        Step::WarmPool(true) => drop(cloud.put_warm_pool(WEB, &WarmPool::default())),
        Step::WarmPool(false) => drop(cloud.delete_warm_pool(WEB, false)),
        Step::FailLaunch => cloud.inject(Fault::FailLaunch { launches: 1, message: "no capacity.".into() }),
        Step::Suspend(true) => drop(cloud.suspend_processes(WEB, &["Launch".into()])),
        Step::Suspend(false) => drop(cloud.resume_processes(WEB, &[])),
    }
}

fn check(cloud: &Cloud) -> Result<(), TestCaseError> {
    let counted = cloud.instances(None).iter().filter(|instance| instance.state.counts()).count();
    prop_assert!(counted <= 4, "{counted} instances in a group of at most 4");
    for instance in cloud.instances(None) {
        let waits = instance.state.as_str().ends_with(":Wait");
        prop_assert_eq!(waits, !instance.waits.is_empty(), "{:?}", instance);
        let receives = instance.targets.iter().any(|target| target.state.as_str() != "draining");
        prop_assert!(!(waits && receives), "a waiting instance is registered: {:?}", instance);
    }
    Ok(())
}

/// Time alone brings a group that nothing fails to what it wants.
fn heal(cloud: &mut Cloud) -> Result<(), TestCaseError> {
    cloud.faults_mut().clear();
    cloud.resume_processes(WEB, &[]).unwrap();
    cloud
        .put_lifecycle_hook(
            WEB,
            &portcullis_cloud::PutLifecycleHook { default_result: Some(ActionResult::Continue), ..launch_hook("gate") },
        )
        .unwrap();
    let kept: Vec<String> = in_state(cloud, "InService").into_iter().map(|instance| instance.id).collect();
    cloud.set_instance_protection(WEB, &kept, false).unwrap();
    pass(cloud, 6 * 3_600_000);
    let unprotected = cloud.instances(None).iter().all(|instance| !instance.protected);
    let wanted = cloud.groups()[WEB].desired as usize;
    prop_assert!(!unprotected || in_state(cloud, "InService").len() == wanted, "{:?}", states(cloud));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn capacity_waits_and_registration_agree(steps in proptest::collection::vec(step(), 1..60)) {
        let mut cloud = web(2, vec![launch_hook("gate"), terminate_hook("bye")]);
        for step in &steps {
            take(&mut cloud, step);
            check(&cloud)?;
        }
        heal(&mut cloud)?;
    }
}

#[test]
fn the_same_seed_and_steps_give_the_same_events() {
    let run = || {
        let mut cloud = web(3, vec![launch_hook("gate")]);
        for n in 0..40_usize {
            take(&mut cloud, &Step::Complete(n * 7, n % 3 > 0));
            take(&mut cloud, &Step::Pass(700));
        }
        cloud.events_since(0).events.into_iter().map(|event| format!("{event:?}")).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
