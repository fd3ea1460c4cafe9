use portcullis::{
    api::{Event, Examination, Status},
    doctor::{State, overall},
    record::DetachRecord,
};
use serde_json::json;

use super::world::World;
use crate::providers::Call;

/// Doing without the gate: what waits is let in, whatever is known of it; and told, for as long as it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_detached_group_lets_in_what_waits_and_kills_nothing() {
    let world = World::start().await;
    world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    let detach = |group: &str, wish: serde_json::Value| {
        world.operator("POST", &format!("/v1/groups/{group}/detach"), wish.to_string().as_bytes())
    };
    detach("nobody", json!({"reason": "x"})).is_problem("not-found", 404);
    detach("web", json!({"reason": " "})).is_problem("malformed", 400);
    detach("web", json!({"reason": "x", "attach": true})).is_problem("override-refused", 409);
    let record: DetachRecord = detach("web", json!({"reason": "it is in our way"})).is(200).json();
    assert_eq!((record.warrant.by.as_str(), record.ended_at), ("ana", None));
    world.until("it serves", |world| (world.cloud.state("i-1") == "InService").then_some(())).await;
    let told = |world: &World| {
        let status: Status = world.operator("GET", "/v1/status", b"").is(200).json();
        let web = status.groups.into_iter().find(|group| group.group.as_str() == "web")?;
        web.alerts.into_iter().find(|alert| alert.code == "detached").map(|alert| alert.text)
    };
    let text = world
        .until("none waits any more", |world| told(world).filter(|text| text.contains("none waits at the hook")))
        .await;
    assert!(text.contains("by ana: it is in our way"), "{text}");

    detach("web", json!({"reason": "mended", "attach": true})).is(200);
    world.until("it is told no longer", |world| told(world).is_none().then_some(())).await;
    world.waiting("i-2").await;
    assert_eq!(world.cloud.state("i-2"), "Pending:Wait");
    assert!(world.cloud.calls.lock().unwrap().iter().all(|call| !matches!(call, Call::GiveUp(_))));
    let events: Vec<Event> = world.operator("GET", "/v1/events?limit=1000", b"").is(200).json();
    let said: Vec<_> = events.iter().filter(|event| event.kind == "detach").map(|event| &*event.text).collect();
    assert_eq!(said, ["detached: all that waits is let in: it is in our way", "attached again: mended"]);
    world.controller.stop().await;
}

/// Where there is no cloud to ask, that is said; the rest of the examination is the real cloud's business (tests/wire).
#[tokio::test(flavor = "multi_thread")]
async fn without_a_cloud_the_doctor_says_so() {
    let world = World::start().await;
    let examined: Examination = world.operator("GET", "/v1/doctor", b"").is(200).json();
    assert_eq!(overall(&examined.findings), State::Well);
    assert!(examined.findings.iter().any(|finding| finding.what == "there is no cloud to ask"), "{examined:?}");
    world.controller.stop().await;
}
