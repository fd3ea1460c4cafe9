//! Instance refresh, and instances that are protected from scale-in.

use std::collections::BTreeSet;

use portcullis_cloud::{Cloud, ForProtected};

use crate::fixture::*;

fn ids(cloud: &Cloud) -> BTreeSet<String> {
    cloud.instances(Some(WEB)).into_iter().map(|instance| instance.id).collect()
}

fn status(cloud: &Cloud) -> &'static str {
    cloud.groups()[WEB].refreshes.last().map_or("none", |refresh| refresh.status)
}

#[test]
fn all_are_replaced_one_at_a_time() {
    let mut cloud = web(3, vec![]);
    let old = ids(&cloud);
    cloud.start_instance_refresh(WEB, ForProtected::Wait).unwrap();
    assert_eq!(cloud.start_instance_refresh(WEB, ForProtected::Wait).unwrap_err().code, "InstanceRefreshInProgress");
    assert_eq!(in_state(&cloud, "InService").len(), 2);
    settle(&mut cloud);
    assert_eq!((status(&cloud), in_state(&cloud, "InService").len()), ("Successful", 3));
    assert!(ids(&cloud).is_disjoint(&old));
    assert_eq!(cloud.cancel_instance_refresh(WEB).unwrap_err().code, "ActiveInstanceRefreshNotFound");
}

#[test]
fn what_becomes_of_a_protected_one_can_be_chosen() {
    for (protected, after, stays) in [
        (ForProtected::Wait, "InProgress", true),
        (ForProtected::Ignore, "Successful", true),
        (ForProtected::Refresh, "Successful", false),
    ] {
        let mut cloud = web(2, vec![]);
        let kept = cloud.instances(Some(WEB)).remove(0).id;
        cloud.set_instance_protection(WEB, std::slice::from_ref(&kept), true).unwrap();
        cloud.start_instance_refresh(WEB, protected).unwrap();
        settle(&mut cloud);
        assert_eq!((status(&cloud), ids(&cloud).contains(&kept)), (after, stays), "{protected:?}");
    }
}

#[test]
fn for_a_protected_one_it_waits_an_hour() {
    for (unprotected, after) in [(false, "Failed"), (true, "Successful")] {
        let mut cloud = web(1, vec![]);
        let kept = only(&cloud).id;
        cloud.set_instance_protection(WEB, std::slice::from_ref(&kept), true).unwrap();
        cloud.start_instance_refresh(WEB, ForProtected::Wait).unwrap();
        pass(&mut cloud, 3_590_000);
        assert_eq!(status(&cloud), "InProgress");
        if unprotected {
            cloud.set_instance_protection(WEB, std::slice::from_ref(&kept), false).unwrap();
        }
        pass(&mut cloud, 20_000);
        assert_eq!(status(&cloud), after);
    }
}
