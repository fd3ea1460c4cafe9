//! Target health, and the replacement of unhealthy instances.

use portcullis_cloud::{Options, TargetHealthSource, UpdateAutoScalingGroup};

use crate::fixture::*;

#[test]
fn told_health_is_waited_for() {
    let options = Options { target_health: TargetHealthSource::Told, ..Options::default() };
    let mut cloud = web_with(options, 1, vec![]);
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["InService"], vec!["initial"]));
    let id = only(&cloud).id;
    cloud.tell_target_health(&id, false);
    assert_eq!(target_states(&cloud), ["unhealthy"]);
    cloud.tell_target_health(&id, true);
    assert_eq!(target_states(&cloud), ["healthy"]);
}

#[test]
fn an_unhealthy_target_is_replaced_only_where_the_balancer_counts() {
    for (kind, replaced) in [("EC2", false), ("ELB", true)] {
        let mut cloud = web(1, vec![]);
        let change = UpdateAutoScalingGroup { health_check_type: Some(kind.into()), ..Default::default() };
        cloud.update_auto_scaling_group(WEB, &change).unwrap();
        let id = only(&cloud).id;
        cloud.tell_target_health(&id, false);
        settle(&mut cloud);
        assert_eq!(only(&cloud).id != id, replaced, "{kind}");
    }
}

#[test]
fn the_grace_period_delays_and_does_not_forget() {
    let mut cloud = web(0, vec![]);
    let change = UpdateAutoScalingGroup {
        health_check_type: Some("ELB".into()),
        health_check_grace_s: Some(60),
        desired: Some(1),
        ..Default::default()
    };
    cloud.update_auto_scaling_group(WEB, &change).unwrap();
    settle(&mut cloud);
    let id = only(&cloud).id;
    cloud.tell_target_health(&id, false);
    pass(&mut cloud, 50_000);
    assert_eq!(only(&cloud).id, id);
    pass(&mut cloud, 15_000);
    assert_ne!(only(&cloud).id, id);
}

#[test]
fn an_unhealthy_mark_replaces_unless_that_is_suspended() {
    let mut cloud = web(1, vec![]);
    let id = only(&cloud).id;
    cloud.suspend_processes(WEB, &["ReplaceUnhealthy".into()]).unwrap();
    cloud.set_instance_health(&id, false, true).unwrap();
    settle(&mut cloud);
    assert_eq!(only(&cloud).id, id);
    cloud.resume_processes(WEB, &["ReplaceUnhealthy".into()]).unwrap();
    settle(&mut cloud);
    assert_ne!(only(&cloud).id, id);
}
