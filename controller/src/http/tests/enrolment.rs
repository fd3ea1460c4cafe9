use portcullis::{
    api::{ENROL_PAYLOAD_TYPE, Enrolled, Identity},
    instance::InstanceId,
};

use super::world::{Agent, World};

fn iid(document: &str) -> Identity {
    Identity::AwsIid { document: document.into(), rsa2048: "x".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_binds_one_key_to_one_instance() {
    let world = World::start().await;
    let token = world.join_token("web", 2);
    let mut first = Agent::new("i-1", 1);
    let enrolled: Enrolled = first.enrol(&world, Identity::JoinToken(token.clone())).is(200).json();

    // The same key again: the same binding, no use of the token, and no token needed at all.
    let before = world.listing();
    let again: Enrolled = first.enrol(&world, Identity::JoinToken("whatever".into())).is(200).json();
    assert_eq!((again.binding, world.listing()), (enrolled.binding.clone(), before));

    // A new boot of the same key: the same binding, which now knows the boot.
    let mut rebooted = Agent { boot: "boot-2".into(), ..first.clone() };
    let moved: Enrolled = rebooted.enrol(&world, Identity::JoinToken(String::new())).is(200).json();
    assert_eq!(moved.binding, enrolled.binding);
    let body = first.sealed(portcullis::challenge::PAYLOAD_TYPE, &first.request());
    world.agent("/v1/challenge", &body).is_problem("wrong-boot", 409);
    assert!(!rebooted.challenge(&world).challenge.is_empty());

    // Another key for the instance: without an identity of its own it is nobody; with one, it is an incident on record.
    let before = world.listing();
    let mut thief = Agent::new("i-1", 2);
    thief.enrol(&world, Identity::JoinToken("guessed".into())).is_problem("identity-refused", 403);
    assert_eq!(world.listing(), before);
    thief.enrol(&world, Identity::JoinToken(token.clone())).is_problem("instance-bound", 409);
    let disputed = world.listing().into_iter().filter(|entry| !before.contains(entry));
    assert_eq!(disputed.map(|(path, _)| path).collect::<Vec<_>>(), ["dispute/i-1"]);

    // The key for another instance: an incident, and nothing changes.
    let before = world.listing();
    let mut copied = Agent::new("i-2", 1);
    copied.enrol(&world, Identity::JoinToken(token.clone())).is_problem("key-bound", 409);
    assert_eq!(world.listing(), before);
    world
        .until("both are in the audit as incidents", |world| {
            let events = world.store.events(0, 100).unwrap();
            (events.iter().filter(|event| event.kind == "incident").count() == 2).then_some(())
        })
        .await;

    // The second use is the last.
    Agent::new("i-3", 3).enrol(&world, Identity::JoinToken(token.clone())).is(200);
    Agent::new("i-4", 4).enrol(&world, Identity::JoinToken(token)).is_problem("identity-refused", 403);
    world.controller.stop().await;
}

/// A scale-out: all of them use the same token at the same time, and none is told that somebody else was quicker.
#[tokio::test(flavor = "multi_thread")]
async fn many_enrol_at_once_with_one_token() {
    let world = World::on_disk().await;
    let token = world.join_token("web", 40);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let enrol = |n: u8| {
            let token = token.clone();
            let world = &world;
            move || Agent::new(&format!("i-{n}"), n).enrol(world, Identity::JoinToken(token)).status
        };
        let all: Vec<_> = (1..=40).map(|n| scope.spawn(enrol(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 40]);
    Agent::new("i-41", 41).enrol(&world, Identity::JoinToken(token)).is_problem("identity-refused", 403);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enrols_without_showing_who_speaks() {
    let world = World::start().await;
    world.waiting("i-1").await;
    let (expired, other) = (world.join_token("web", 1), world.join_token("other", 1));
    world.clock.advance(std::time::Duration::from_secs(3_601));
    let before = world.listing();
    for (evidence, kind, status) in [
        (Identity::JoinToken("pcj_00".into()), "identity-refused", 403),
        (Identity::JoinToken(expired), "identity-refused", 403),
        (iid(r#"{"instanceId":"i-1"}"#), "identity-refused", 403),
    ] {
        Agent::new("i-1", 1).enrol(&world, evidence).is_problem(kind, status);
    }
    let other = {
        drop(other);
        world.join_token("other", 1)
    };
    let with_token = world.listing();
    Agent::new("i-1", 1).enrol(&world, Identity::JoinToken(other)).is_problem("wrong-group", 409);
    assert_eq!(world.listing(), with_token);
    assert_eq!(world.listing().len(), before.len() + 1);

    let token = world.join_token("web", 9);
    let before = world.listing();
    let agent = Agent::new("i-1", 1);
    let good = agent.enrolment(Identity::JoinToken(token));
    let audience = portcullis::api::Enrol { audience: "another".into(), ..good.clone() };
    world.agent("/v1/enrol", &agent.sealed(ENROL_PAYLOAD_TYPE, &audience)).is_problem("wrong-audience", 403);
    for name in ["", "i-1/../../key", "i 1", &"i".repeat(200)] {
        let named = portcullis::api::Enrol { instance: InstanceId::from(name), ..good.clone() };
        world.agent("/v1/enrol", &agent.sealed(ENROL_PAYLOAD_TYPE, &named)).is_problem("malformed", 400);
    }
    // Announcing a key that somebody else has; signing as something else.
    let borrowed = Agent::new("i-1", 9).sealed(ENROL_PAYLOAD_TYPE, &good);
    world.agent("/v1/enrol", &borrowed).is_problem("bad-signature", 401);
    let retyped = agent.sealed(portcullis::challenge::PAYLOAD_TYPE, &good);
    world.agent("/v1/enrol", &retyped).is_problem("bad-signature", 401);
    for body in [&b""[..], b"{}", b"[]", b"\xff", b"{\"payload\":\"\"}"] {
        world.agent("/v1/enrol", body).is_problem("malformed", 400);
    }
    world.agent("/v1/enrol", &vec![b' '; 70 << 10]).is_problem("too-large", 413);
    assert_eq!(world.listing(), before);
    assert!(world.metrics().contains("portcullis_refusals_total{kind=\"bad-signature\"} 2"), "{}", world.metrics());
    world.controller.stop().await;
}

/// After a reinstall there is a new key, and it is not for the agents to say which of two counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_settles_which_key_speaks() {
    let world = World::start().await;
    world.waiting("i-1").await;
    let settle = |key: &str, reason: &str| {
        let wish = serde_json::json!({ "key": key, "reason": reason }).to_string();
        world.operator("POST", "/v1/instances/i-1/settle", wish.as_bytes())
    };
    let is_there = |path: &str| world.listing().iter().any(|(found, _)| found == path);
    settle("new", "reinstalled").is_problem("not-found", 404);
    let token = world.join_token("web", 9);
    let (mut first, mut second) = (Agent::new("i-1", 1), Agent::new("i-1", 2));
    first.enrol(&world, Identity::JoinToken(token.clone())).is(200);
    settle("old", "nothing is wrong").is_problem("override-refused", 409);
    settle("new", " ").is_problem("malformed", 400);
    settle("both", "x").is_problem("malformed", 400);

    second.enrol(&world, Identity::JoinToken(token.clone())).is_problem("instance-bound", 409);
    assert!(is_there("dispute/i-1"));
    settle("old", "a stray image").is(200);
    assert!(!is_there("dispute/i-1"));
    assert!(!first.challenge(&world).challenge.is_empty());

    second.enrol(&world, Identity::JoinToken(token.clone())).is_problem("instance-bound", 409);
    let evidence = b"{}".to_vec();
    let write = crate::stores::Write::put("evidence/i-1", None, evidence);
    world.store.commit(crate::stores::Batch { writes: vec![write], events: vec![] }).unwrap();
    settle("new", "reinstalled").is(200);
    for path in ["dispute/i-1", "bound/i-1", "evidence/i-1", "admission/i-1"] {
        assert!(!is_there(path), "{path}");
    }
    let body = first.sealed(portcullis::challenge::PAYLOAD_TYPE, &first.request());
    world.agent("/v1/challenge", &body).is_problem("unknown-binding", 404);
    // However fast it is: it is not the one that is meant.
    for name in ["i-1", "i-2"] {
        let mut old = Agent::new(name, 1);
        old.enrol(&world, Identity::JoinToken(token.clone())).is_problem("key-bound", 409);
    }
    second.enrol(&world, Identity::JoinToken(token)).is(200);
    assert!(!second.challenge(&world).challenge.is_empty());
    let events = world.store.events(0, 100).unwrap();
    let told: Vec<_> = events.iter().filter(|event| event.kind == "settled").collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|event| event.actor == "ana" && event.group == Some("web".into())));
    assert!(told[0].text.ends_with(": a stray image") && told[1].text.ends_with(": reinstalled"), "{told:?}");
    world.controller.stop().await;
}

/// What the key proved that is given up counts no longer, at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_proved_goes_with_it() {
    let world = World::start().await;
    let wanted = world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    let (first, mut second) = (Agent::new("i-1", 1).enrolled(&world), Agent::new("i-1", 2));
    let token = world.join_token("web", 9);
    second.enrol(&world, Identity::JoinToken(token)).is_problem("instance-bound", 409);
    let reason = |world: &World| world.instance("i-1")?.reason.map(|reason| reason.code());
    world.until("it is disputed", |world| (reason(world)? == "identity_disputed").then_some(())).await;
    let challenged = first.challenge(&world);
    first.report(&world, &first.passing(&challenged, wanted)).is(200);
    let before = world.instance("i-1").unwrap();
    world.operator("POST", "/v1/instances/i-1/settle", br#"{"key":"new","reason":"reinstalled"}"#).is(200);
    assert_eq!(reason(&world), Some("no_report"), "{before:?}");
    assert!(world.listing().iter().all(|(path, _)| path != "admission/i-1"));
    world.controller.stop().await;
}

/// Whoever has a token of one group must not hold up the instances of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_group_casts_no_doubt() {
    let world = World::start().await;
    Agent::new("i-1", 1).enrolled(&world);
    Agent::new("i-2", 2).enrolled(&world);
    world.waiting("i-1").await;
    let other = world.join_token("other", 9);
    let before = world.listing();
    // One that waits, and one that nobody has described.
    for instance in ["i-1", "i-2"] {
        let mut thief = Agent::new(instance, 9);
        thief.enrol(&world, Identity::JoinToken(other.clone())).is_problem("wrong-group", 409);
    }
    assert_eq!(world.listing(), before);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unverified_documents_enrol_only_where_that_is_wanted() {
    let world = World::with("allow_unverified_identity = true").await;
    Agent::new("i-1", 1).enrol(&world, iid(r#"{"instanceId":"i-2"}"#)).is_problem("identity-refused", 403);
    Agent::new("i-1", 1).enrol(&world, iid("no document")).is_problem("identity-refused", 403);
    Agent::new("i-1", 1).enrol(&world, iid(r#"{"instanceId":"i-1","region":"x"}"#)).is(200);
    assert!(world.metrics().contains("portcullis_unverified_identities_total 1"));
    world.controller.stop().await;
}
