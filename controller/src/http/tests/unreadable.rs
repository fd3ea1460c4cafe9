//! Records that cannot be read: somebody went back to this controller from a newer one, or the disk lied.

use portcullis::instance::InstanceId;

use super::world::{Agent, World};
use crate::stores::{Batch, Write};

fn put(world: &World, path: &str, value: &str) {
    let before = world.store.get(path).unwrap().map(|found| found.revision);
    let write = Write::put(path, before, value.into());
    world.store.commit(Batch { writes: vec![write], events: vec![] }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_holds_what_it_bears_on_and_nothing_else() {
    let world = World::start().await;
    let wanted = world.publish("1", 11);
    world.promote("1");
    let newer = r#"{"record":"override","word":"quarantine","by":"tomorrow"}"#;
    let of_alert = "alert/of_tomorrow/web";
    for (path, value) in [("override/i-1", newer), (of_alert, "{"), ("evidence/i-2", "[]"), ("ended/i-2", "")] {
        put(&world, path, value);
    }
    let world = world.restart().await;
    let agents = [("i-1", 1), ("i-2", 2)].map(|(id, key)| (id, Agent::new(id, key)));
    for (id, agent) in agents {
        world.cloud.put(id, "Pending:Wait");
        world.until("it waits", |world| world.instance(id).and_then(|seen| seen.wait)).await;
        let agent = agent.enrolled(&world);
        let challenged = agent.challenge(&world);
        agent.report(&world, &agent.passing(&challenged, wanted)).is(200);
    }
    world.until("the other is let in", |world| world.instance("i-2").filter(|one| one.continue_accepted)).await;
    let held = world.instance("i-1").unwrap();
    assert_eq!(held.reason.as_ref().map(portcullis::reason::Reason::code), Some("unreadable_record"), "{held:?}");
    assert!(
        !world.cloud.calls.lock().unwrap().iter().any(
            |call| matches!(call, crate::providers::Call::Admit(held) if held.instance == InstanceId::from("i-1"))
        )
    );
    let (metrics, status) = (world.metrics(), world.operator("GET", "/v1/status", b"").is(200));
    assert!(metrics.contains("portcullis_records_unreadable 2"), "{metrics}");
    let status = String::from_utf8(status.body).unwrap();
    assert!(status.contains("2 records of the store cannot be read: alert/of_tomorrow/web, override/i-1"), "{status}");
    assert_eq!(world.store.get("override/i-1").unwrap().unwrap().value, newer.as_bytes(), "it is as it was");

    // Whoever can read it has mended it.
    let path = "override/i-1";
    let revision = world.store.get(path).unwrap().map(|found| found.revision);
    let write = Write { path: path.into(), expected: revision, value: None };
    world.store.commit(Batch { writes: vec![write], events: vec![] }).unwrap();
    world.until("it is let in", |world| world.instance("i-1").filter(|one| one.continue_accepted)).await;
    world.controller.stop().await;
}
