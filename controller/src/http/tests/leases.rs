//! Two controllers on one store: agents and operators may ask either, and one of them acts.

use std::time::Duration;

use super::world::*;
use crate::stores::Tenure;

fn leads(world: &World) -> bool {
    world.metrics().contains("portcullis_lease_held 1\n")
}

/// A ready agent, which speaks with that controller.
async fn proves(world: &World, id: &str, key: u8, manifest: portcullis::digest::Digest) -> Agent {
    let agent = Agent::new(id, key).enrolled(world);
    let challenged = agent.challenge(world);
    agent.report(world, &agent.passing(&challenged, manifest)).is(200);
    agent
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_controllers_one_acts_and_the_other_takes_over() {
    let first = World::start().await;
    let manifest = first.publish("1", 11);
    first.promote("1");
    first.until("the first leads", |world| leads(world).then_some(())).await;
    let second = first.beside().await;
    first.waiting("i-1").await;
    // Only who leads describes, and only whoever described the group knows the instance: so the agent speaks with the first.
    proves(&first, "i-1", 1, manifest).await;
    first.until("it is admitted", |world| (world.cloud.state("i-1") == "InService").then_some(())).await;
    assert!(!leads(&second));
    assert!(second.store.events(0, 999).unwrap().iter().all(|event| !event.text.contains("lease")));

    let World { controller, .. } = first;
    controller.stop().await;
    second.until("the second leads", |world| leads(world).then_some(())).await;
    second.waiting("i-2").await;
    proves(&second, "i-2", 2, manifest).await;
    second.until("it is admitted, too", |world| (world.cloud.state("i-2") == "InService").then_some(())).await;
    second.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_renew_no_longer_acts() {
    let world = World::start().await;
    let manifest = world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    assert!(leads(&world));
    // Its tenure is over, by both clocks of the store; another takes it.
    let holder = loop {
        match world.store.lease("another", Duration::from_secs(3_600)).unwrap() {
            Tenure::Others { holder } => world.store.release(&holder).unwrap(),
            Tenure::Held { .. } => break "another",
        }
    };
    // By its own clock it has still some time: it asks again before it is over.
    world.clock.advance(Duration::from_secs(40));
    world.until("it knows", |world| (!leads(world)).then_some(())).await;
    let before = world.cloud.calls.lock().unwrap().len();
    let agent = Agent::new("i-1", 1).enrolled(&world);
    let challenged = agent.challenge(&world);
    agent.report(&world, &agent.passing(&challenged, manifest)).is(200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((world.cloud.state("i-1").as_str(), world.cloud.calls.lock().unwrap().len()), ("Pending:Wait", before));
    world.store.release(holder).unwrap();
    world.until("it leads again", |world| leads(world).then_some(())).await;
    let challenged = agent.challenge(&world);
    agent.report(&world, &agent.passing(&challenged, manifest)).is(200);
    world.until("it is admitted", |world| (world.cloud.state("i-1") == "InService").then_some(())).await;
    world.controller.stop().await;
}
