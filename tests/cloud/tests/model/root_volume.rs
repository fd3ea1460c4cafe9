//! The same instance id with new content.

use portcullis_cloud::{ActionResult, UpdateAutoScalingGroup, What};

use crate::fixture::*;

#[test]
fn old_content_waits_for_terminating_hooks_and_new_content_for_launch_hooks() {
    let mut cloud = web(1, vec![launch_hook("gate"), terminate_hook("bye")]);
    let id = only(&cloud).id;
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    settle(&mut cloud);
    let newer = UpdateAutoScalingGroup { launch_template: Some(template("2")), ..Default::default() };
    cloud.update_auto_scaling_group(WEB, &newer).unwrap();

    cloud.replace_root_volume(&id).unwrap();
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["ReplacingRootVolume"], vec!["draining"]));
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["ReplacingRootVolume:Wait"]);
    assert_eq!(only(&cloud).launch_template.unwrap().version, Some("1".into()));
    complete(&mut cloud, "bye", &id, ActionResult::Continue).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Pending:Wait"]);
    assert_eq!((only(&cloud).id, only(&cloud).launch_template.unwrap().version), (id.clone(), Some("2".into())));
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    settle(&mut cloud);
    assert_eq!((states(&cloud), target_states(&cloud)), (vec!["InService"], vec!["healthy"]));

    let notices = cloud.events_since(0).events.into_iter().filter_map(|event| match event.what {
        What::Notice { notice } => Some(notice["detail"]["Action"].as_str().map(str::to_owned)),
        _ => None,
    });
    let replaces = Some("ReplaceRootVolume".to_owned());
    assert_eq!(notices.collect::<Vec<_>>(), [None, replaces.clone(), replaces]);
}

#[test]
fn an_abandoned_replacement_is_replaced_by_a_launch() {
    let mut cloud = web(1, vec![terminate_hook("bye")]);
    let id = only(&cloud).id;
    cloud.replace_root_volume(&id).unwrap();
    settle(&mut cloud);
    complete(&mut cloud, "bye", &id, ActionResult::Abandon).unwrap();
    settle(&mut cloud);
    assert_ne!(only(&cloud).id, id);
}

#[test]
fn only_an_instance_in_service_gets_a_new_volume() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let id = only(&cloud).id;
    assert!(cloud.replace_root_volume(&id).is_err());
}
