//! Held launches and what ends the holding.

use portcullis_cloud::{ActionResult, LifecycleAction, Options, PutLifecycleHook, What};

use crate::fixture::*;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_launch_is_held_and_not_registered() {
    let mut cloud = web(2, vec![launch_hook("gate")]);
    pass(&mut cloud, HOUR_MS - 2 * SETTLED_MS);
    assert_eq!(states(&cloud), ["Pending:Wait", "Pending:Wait"]);
    assert!(target_states(&cloud).is_empty());
}

#[test]
fn continue_registers_then_serves() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let id = only(&cloud).id;
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    assert_eq!(states(&cloud), ["Pending:Proceed"]);
    assert!(target_states(&cloud).is_empty());
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService"]);
    assert_eq!(target_states(&cloud), ["healthy"]);
}

#[test]
fn a_second_completion_finds_no_action() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let (id, token) = (only(&cloud).id, only(&cloud).waits[0].token.clone());
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    let error = complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap_err();
    assert_eq!((error.status, error.code), (400, "ValidationError"));
    assert_eq!(error.message, format!("No active Lifecycle Action found with instance ID {id}"));

    let by_token = LifecycleAction { instance: None, token: Some(token.clone()), ..action("gate", &id) };
    let error = cloud.complete_lifecycle_action(&by_token, ActionResult::Continue).unwrap_err();
    assert_eq!(error.message, format!("No active Lifecycle Action found with token {token}"));
}

#[test]
fn a_token_addresses_an_action_too() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let token = only(&cloud).waits[0].token.clone();
    let by_token = LifecycleAction { instance: None, token: Some(token), ..action("gate", "") };
    cloud.complete_lifecycle_action(&by_token, ActionResult::Continue).unwrap();
    assert_eq!(states(&cloud), ["Pending:Proceed"]);
}

#[test]
fn heartbeats_hold_until_the_global_timeout() {
    let short = PutLifecycleHook { heartbeat_timeout_s: Some(30), ..launch_hook("gate") };
    let mut cloud = web(1, vec![short]);
    let id = only(&cloud).id;
    let global_ends_ms = only(&cloud).waits[0].global_ends_ms;
    while cloud.now_ms() + 20_000 < global_ends_ms {
        pass(&mut cloud, 20_000);
        assert_eq!(only(&cloud).id, id, "held");
        cloud.record_lifecycle_action_heartbeat(&action("gate", &id)).unwrap();
    }
    pass(&mut cloud, 20_000);
    assert_eq!(cloud.instance(&id).map(|i| i.state.as_str()), None, "given up after 100 heartbeat timeouts");
}

#[test]
fn the_heartbeat_timeout_abandons_with_awss_text() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let (id, token) = (only(&cloud).id, only(&cloud).waits[0].token.clone());
    pass(&mut cloud, HOUR_MS);
    let expected = format!(
        "Launching a new EC2 instance: {id}.  Status Reason: Instance failed to complete user's Lifecycle Action: \
         Lifecycle Action with token {token} was abandoned: Heartbeat Timeout"
    );
    assert!(activity_texts(&cloud).contains(&expected), "{:#?}", activity_texts(&cloud));
    assert_ne!(only(&cloud).id, id, "relaunched");
}

#[test]
fn the_heartbeat_timeout_continues_when_that_is_the_default_by_then() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let way_out = PutLifecycleHook { default_result: Some(ActionResult::Continue), ..launch_hook("gate") };
    cloud.put_lifecycle_hook(WEB, &way_out).unwrap();
    pass(&mut cloud, HOUR_MS);
    assert_eq!(states(&cloud), ["InService"]);
}

#[test]
fn abandon_terminates_and_relaunches_with_awss_text() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let (id, token) = (only(&cloud).id, only(&cloud).waits[0].token.clone());
    complete(&mut cloud, "gate", &id, ActionResult::Abandon).unwrap();
    assert_eq!(states(&cloud), ["Pending", "Terminating"]);
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Pending:Wait"]);
    assert_ne!(only(&cloud).id, id);
    let expected = format!(
        "Launching a new EC2 instance: {id}.  Status Reason: Instance failed to complete user's Lifecycle Action: \
         Lifecycle Action with token {token} was abandoned: Lifecycle Action Completed with ABANDON Result"
    );
    assert!(activity_texts(&cloud).contains(&expected), "{:#?}", activity_texts(&cloud));
}

#[test]
fn two_hooks_hold_until_both_are_completed() {
    let mut cloud = web(1, vec![launch_hook("gate"), launch_hook("codedeploy")]);
    let id = only(&cloud).id;
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Pending:Wait"]);
    assert!(complete(&mut cloud, "gate", &id, ActionResult::Continue).is_err(), "ours is done");
    complete(&mut cloud, "codedeploy", &id, ActionResult::Continue).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService"]);
}

#[test]
fn one_abandon_of_two_hooks_is_enough() {
    let mut cloud = web(1, vec![launch_hook("gate"), launch_hook("codedeploy")]);
    let id = only(&cloud).id;
    complete(&mut cloud, "codedeploy", &id, ActionResult::Abandon).unwrap();
    settle(&mut cloud);
    assert!(cloud.instance(&id).is_none());
}

#[test]
fn deleting_the_hook_abandons_what_it_holds() {
    let mut cloud = web(2, vec![launch_hook("gate")]);
    let before: Vec<_> = cloud.instances(None).into_iter().map(|instance| instance.id).collect();
    cloud.delete_lifecycle_hook(WEB, "gate").unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService", "InService"]);
    assert!(cloud.instances(None).iter().all(|instance| !before.contains(&instance.id)));
}

#[test]
fn a_later_hook_misses_the_first_instances() {
    let mut cloud = web(1, vec![]);
    cloud.put_lifecycle_hook(WEB, &launch_hook("gate")).unwrap();
    cloud.set_desired_capacity(WEB, 2).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService", "Pending:Wait"]);
}

#[test]
fn termination_drains_then_waits_then_goes() {
    let mut cloud = web(1, vec![terminate_hook("bye")]);
    let id = only(&cloud).id;
    cloud.set_desired_capacity(WEB, 0).unwrap();
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["Terminating"], vec!["draining"]));
    settle(&mut cloud);
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["Terminating:Wait"], vec![]));
    complete(&mut cloud, "bye", &id, ActionResult::Abandon).unwrap();
    assert_eq!(states(&cloud), ["Terminating:Proceed"]);
    settle(&mut cloud);
    assert!(cloud.instances(None).is_empty());
}

#[test]
fn whether_abandoned_launches_run_terminating_hooks_can_be_chosen() {
    for chosen in [false, true] {
        let mut options = Options::default();
        options.behaviour.abandoned_launch_runs_terminating_hooks = chosen;
        let mut cloud = web_with(options, 1, vec![launch_hook("gate"), terminate_hook("bye")]);
        let id = only(&cloud).id;
        complete(&mut cloud, "gate", &id, ActionResult::Abandon).unwrap();
        settle(&mut cloud);
        assert_eq!(in_state(&cloud, "Terminating:Wait").len(), usize::from(chosen));
    }
}

#[test]
fn a_hook_with_a_target_sends_a_test_notice() {
    let mut cloud = web(0, vec![]);
    let target = Some("arn:aws:sqs:eu-west-1:123456789012:notices".to_owned());
    let hook = PutLifecycleHook { notification_target: target, ..launch_hook("gate") };
    cloud.put_lifecycle_hook(WEB, &hook).unwrap();
    let last = cloud.events_since(0).events.pop().unwrap();
    let What::Notice { notice } = last.what else { panic!("{last:?}") };
    assert_eq!(notice["Event"], "autoscaling:TEST_NOTIFICATION");
}
