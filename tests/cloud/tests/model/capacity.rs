//! As many as wanted, and whom scale-in takes.

use portcullis_cloud::{ActionResult, DescribeScalingActivities, Options, UpdateAutoScalingGroup};

use crate::fixture::*;

#[test]
fn scale_in_never_takes_a_protected_instance() {
    let mut cloud = web(3, vec![]);
    let ids: Vec<_> = cloud.instances(None).into_iter().map(|instance| instance.id).collect();
    cloud.set_instance_protection(WEB, &ids[..2], true).unwrap();
    cloud.set_desired_capacity(WEB, 0).unwrap();
    settle(&mut cloud);
    let mut left: Vec<_> = cloud.instances(None).into_iter().map(|instance| instance.id).collect();
    left.sort();
    let mut kept = ids[..2].to_vec();
    kept.sort();
    assert_eq!(left, kept);
    let text = "Could not scale to desired capacity because all remaining instances are protected from scale-in.";
    assert!(activity_texts(&cloud).iter().any(|activity| activity == text));

    cloud.set_instance_protection(WEB, &kept, false).unwrap();
    settle(&mut cloud);
    assert!(cloud.instances(None).is_empty());
}

#[test]
fn protection_does_not_stop_a_manual_termination() {
    let mut cloud = web(1, vec![]);
    let id = only(&cloud).id;
    cloud.set_instance_protection(WEB, std::slice::from_ref(&id), true).unwrap();
    cloud.terminate_instance_in_auto_scaling_group(&id, false).unwrap();
    settle(&mut cloud);
    assert_ne!(only(&cloud).id, id, "replaced");
}

#[test]
fn scale_in_takes_the_older_template_first() {
    let mut cloud = web(2, vec![]);
    let newer = UpdateAutoScalingGroup { launch_template: Some(template("2")), ..Default::default() };
    cloud.update_auto_scaling_group(WEB, &newer).unwrap();
    cloud.set_desired_capacity(WEB, 4).unwrap();
    settle(&mut cloud);
    cloud.set_desired_capacity(WEB, 2).unwrap();
    settle(&mut cloud);
    let versions: Vec<_> = cloud.instances(None).into_iter().map(|i| i.launch_template.unwrap().version).collect();
    assert_eq!(versions, [Some("2".into()), Some("2".into())]);
}

#[test]
fn whom_scale_in_takes_while_launches_wait_can_be_chosen() {
    for (waiting_first, left) in [(false, "Pending:Wait"), (true, "InService")] {
        let mut options = Options::default();
        options.behaviour.scale_in_takes_waiting_first = waiting_first;
        let mut cloud = web_with(options, 1, vec![launch_hook("gate")]);
        let id = only(&cloud).id;
        complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
        cloud.set_desired_capacity(WEB, 2).unwrap();
        settle(&mut cloud);
        cloud.set_desired_capacity(WEB, 1).unwrap();
        settle(&mut cloud);
        assert_eq!(states(&cloud), [left]);
    }
}

#[test]
fn desired_stays_within_the_limits() {
    let mut cloud = web(1, vec![]);
    let error = cloud.set_desired_capacity(WEB, 5).unwrap_err();
    assert_eq!(error.message, "New SetDesiredCapacity value 5 is above max value 4 for the AutoScalingGroup.");
    let narrower = UpdateAutoScalingGroup { min: Some(2), ..Default::default() };
    cloud.update_auto_scaling_group(WEB, &narrower).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService", "InService"]);
    let error = cloud.set_desired_capacity(WEB, 1).unwrap_err();
    assert_eq!(error.message, "New SetDesiredCapacity value 1 is below min value 2 for the AutoScalingGroup.");
}

#[test]
fn abandoning_for_ever_is_slowed_and_then_stopped() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let started_ms = cloud.now_ms();
    let mut launches = 0;
    while cloud.now_ms() < started_ms + 25 * 3_600_000 {
        for held in in_state(&cloud, "Pending:Wait") {
            complete(&mut cloud, "gate", &held.id, ActionResult::Abandon).unwrap();
            launches += 1;
        }
        settle(&mut cloud);
    }
    assert!((80..200).contains(&launches), "{launches} launches in a day");
    assert!(cloud.groups()[WEB].suspended.contains_key("Launch"));
    assert!(cloud.instances(None).is_empty());
}

#[test]
fn one_success_ends_the_slowing() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    for _ in 0..3 {
        for _ in 0..4 {
            let id = in_state(&cloud, "Pending:Wait").remove(0).id;
            complete(&mut cloud, "gate", &id, ActionResult::Abandon).unwrap();
            pass(&mut cloud, 500);
        }
        let id = in_state(&cloud, "Pending:Wait").remove(0).id;
        complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
        settle(&mut cloud);
        assert_eq!(states(&cloud), ["InService"]);
        cloud.terminate_instance_in_auto_scaling_group(&id, false).unwrap();
        settle(&mut cloud);
    }
}

#[test]
fn waiting_instances_count_as_capacity() {
    let mut cloud = web(2, vec![launch_hook("gate")]);
    settle(&mut cloud);
    assert_eq!(states(&cloud).len(), 2, "no further launch for those that wait");
}

#[test]
fn standby_leaves_and_returns_past_the_hook() {
    let mut cloud = web(1, vec![]);
    cloud.put_lifecycle_hook(WEB, &launch_hook("gate")).unwrap();
    let ids = [only(&cloud).id];
    cloud.enter_standby(WEB, &ids, true).unwrap();
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["EnteringStandby"], vec!["draining"]));
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Standby"]);
    cloud.exit_standby(WEB, &ids).unwrap();
    settle(&mut cloud);
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["InService"], vec!["healthy"]));
}

#[test]
fn attached_instances_pass_no_hook_and_detached_ones_live_on() {
    let mut cloud = web(0, vec![launch_hook("gate")]);
    let ids = ["i-0123456789abcdef0".to_owned()];
    cloud.attach_instances(WEB, &ids).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService"]);
    cloud.detach_instances(WEB, &ids, true).unwrap();
    settle(&mut cloud);
    assert!(cloud.instances(None).is_empty());
    cloud.attach_instances(WEB, &ids).unwrap();
}

#[test]
fn suspended_launches_wait_for_the_resumption() {
    let mut cloud = web(0, vec![]);
    cloud.suspend_processes(WEB, &["Launch".into()]).unwrap();
    cloud.set_desired_capacity(WEB, 1).unwrap();
    settle(&mut cloud);
    assert!(cloud.instances(None).is_empty());
    cloud.resume_processes(WEB, &["Launch".into()]).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService"]);
}

#[test]
fn instances_launched_without_registration_stay_without() {
    let mut cloud = web(0, vec![]);
    cloud.suspend_processes(WEB, &["AddToLoadBalancer".into()]).unwrap();
    cloud.set_desired_capacity(WEB, 1).unwrap();
    settle(&mut cloud);
    cloud.resume_processes(WEB, &[]).unwrap();
    settle(&mut cloud);
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["InService"], vec![]));
}

#[test]
fn a_group_is_deleted_only_empty_or_by_force() {
    let mut cloud = web(1, vec![terminate_hook("bye")]);
    assert_eq!(cloud.delete_auto_scaling_group(WEB, false).unwrap_err().code, "ResourceInUse");
    cloud.delete_auto_scaling_group(WEB, true).unwrap();
    settle(&mut cloud);
    assert!(cloud.groups().is_empty() && cloud.instances(None).is_empty());
    let request = DescribeScalingActivities { include_deleted: true, ..Default::default() };
    assert_eq!(cloud.describe_scaling_activities(&request).unwrap().items.len(), 2);
}
