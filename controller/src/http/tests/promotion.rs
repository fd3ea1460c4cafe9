//! What may be promoted, and retired.

use portcullis::{api::Event, record::GroupRecord};
use serde_json::json;

use super::world::{Agent, Reply, World, signed_manifest};

fn promote(world: &World, group: &str, wish: &serde_json::Value) -> Reply {
    world.operator("POST", &format!("/v1/groups/{group}/promote"), wish.to_string().as_bytes())
}

fn retire(world: &World, group: &str, wish: &serde_json::Value) -> Reply {
    world.operator("POST", &format!("/v1/groups/{group}/retire"), wish.to_string().as_bytes())
}

fn last_event(world: &World, kind: &str) -> String {
    let events: Vec<Event> = world.operator("GET", "/v1/events?limit=1000", b"").is(200).json();
    events.iter().rfind(|event| event.kind == kind).unwrap().text.clone()
}

/// `i-1` of `web` is let in with release 1.
async fn serving() -> World {
    let needs = "[groups.prod]\nmode = \"enforce\"\n[groups.prod.promotion_needs]\ngroup = \"web\"\n";
    let world = World::with_tables(needs).await;
    let one = world.publish("1", 11);
    world.publish("2", 12);
    world.promote("1");
    world.waiting("i-1").await;
    let agent = Agent::new("i-1", 1).enrolled(&world);
    promote(&world, "prod", &json!({"release": "1"})).is_problem("promotion-refused", 409);
    agent.report(&world, &agent.passing(&agent.challenge(&world), one)).is(200);
    let serves = |world: &World| (world.instance("i-1")?.state.as_str() == "InService").then_some(());
    world.until("it serves", serves).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_may_demand_that_another_has_proven_it() {
    let world = serving().await;
    promote(&world, "prod", &json!({"release": "1"})).is(200);
    for wish in [json!({"release": "2"}), json!({"release": "2", "force": true})] {
        promote(&world, "prod", &wish).is_problem("promotion-refused", 409);
    }
    promote(&world, "prod", &json!({"release": "2", "force": true, "reason": "web is down"})).is(200);
    assert!(last_event(&world, "promoted").contains("proven elsewhere or not, shop 2"));
    promote(&world, "prod", &json!({"release": "1", "rollback": true, "reason": "it is slow"})).is(200);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serves_is_retired_only_when_somebody_answers_for_it() {
    let world = serving().await;
    retire(&world, "nobody", &json!({"release": "1"})).is_problem("not-found", 404);
    retire(&world, "web", &json!({"release": "1"})).is_problem("retirement-refused", 409);
    retire(&world, "web", &json!({"release": "2"})).is_problem("retirement-refused", 409);
    world.promote("2");
    let before = world.listing();
    for wish in [json!({"release": "1"}), json!({"release": "1", "force": true})] {
        retire(&world, "web", &wish).is_problem("retirement-refused", 409);
    }
    assert_eq!(world.listing(), before);
    let wish = json!({"release": "1", "force": true, "reason": "a hole in it"});
    let record: GroupRecord = retire(&world, "web", &wish).is(200).json();
    assert_eq!(record.accepted.len(), 1);
    assert!(last_event(&world, "retired").contains("a hole in it"));
    retire(&world, "web", &wish).is_problem("retirement-refused", 409);

    promote(&world, "web", &json!({"release": "1", "rollback": true, "reason": "mended"})).is(200);
    let record: GroupRecord = retire(&world, "web", &json!({"release": "2"})).is(200).json();
    assert_eq!(record.accepted.len(), 1, "what serves nowhere needs no words");
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_product_is_promoted_when_somebody_answers_for_it() {
    let world = World::start().await;
    let (_, envelope) = signed_manifest("cart", "1", 3, &world.release_key);
    world.operator("POST", "/v1/releases", &envelope).is(200);
    world.publish("2", 12);
    // A slip: the group is to run `shop`.
    promote(&world, "other", &json!({"release": "1"})).is(200);
    for wish in [json!({"release": "2"}), json!({"release": "2", "force": true})] {
        promote(&world, "other", &wish).is_problem("promotion-refused", 409);
    }
    let wish = json!({"release": "2", "force": true, "reason": "the other was a slip"});
    let record: GroupRecord = promote(&world, "other", &wish).is(200).json();
    assert_eq!(record.accepted.len(), 2);
    retire(&world, "other", &json!({"release": "1"})).is(200);
    world.controller.stop().await;
}
