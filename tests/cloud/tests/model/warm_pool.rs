//! The launch hook fires twice for an instance of a warm pool.

use portcullis_cloud::{ActionResult, Rests, WarmPool};

use crate::fixture::*;

#[test]
fn the_hook_holds_on_the_way_in_and_again_on_the_way_out() {
    let mut cloud = web(0, vec![launch_hook("gate")]);
    cloud.put_warm_pool(WEB, &WarmPool { prepared_max: Some(4), ..WarmPool::default() }).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Warmed:Pending:Wait"; 4]);
    for instance in cloud.instances(None) {
        complete(&mut cloud, "gate", &instance.id, ActionResult::Continue).unwrap();
    }
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Warmed:Stopped"; 4]);
    assert!(target_states(&cloud).is_empty());

    cloud.set_desired_capacity(WEB, 1).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["Pending:Wait", "Warmed:Stopped", "Warmed:Stopped", "Warmed:Stopped"]);
    let id = in_state(&cloud, "Pending:Wait").remove(0).id;
    assert!(cloud.set_instance_protection(WEB, &[in_state(&cloud, "Warmed:Stopped").remove(0).id], true).is_err());
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    settle(&mut cloud);
    assert_eq!(in_state(&cloud, "InService")[0].id, id);
    assert_eq!(target_states(&cloud), ["healthy"]);
}

#[test]
fn an_abandoned_instance_is_replaced_in_the_pool() {
    let mut cloud = web(0, vec![launch_hook("gate")]);
    cloud
        .put_warm_pool(WEB, &WarmPool { min: 1, prepared_max: Some(4), rests: Rests::Running, ..WarmPool::default() })
        .unwrap();
    settle(&mut cloud);
    let id = cloud.instances(None)[0].id.clone();
    complete(&mut cloud, "gate", &id, ActionResult::Abandon).unwrap();
    assert_eq!(cloud.instance(&id).unwrap().state.as_str(), "Warmed:Terminating");
    settle(&mut cloud);
    assert!(cloud.instance(&id).is_none());
    assert_eq!(states(&cloud), ["Warmed:Pending:Wait"; 4]);
}

#[test]
fn a_deleted_pool_is_emptied() {
    let mut cloud = web(1, vec![]);
    cloud.put_warm_pool(WEB, &WarmPool::default()).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService", "Warmed:Stopped", "Warmed:Stopped", "Warmed:Stopped"]);
    cloud.delete_warm_pool(WEB, false).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService"]);
    assert!(cloud.groups()[WEB].warm_pool.is_none());
}
