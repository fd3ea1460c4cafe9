use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use portcullis::{
    api::{Event, ReleaseSummary, Status},
    policy::Mode,
    record::{BreakerRecord, FreezeRecord, GroupRecord, OverrideRecord, Record, Word},
    signature::SigningKey,
};
use serde_json::json;

use super::world::{TOKEN, World, request, signed_manifest};
use crate::{providers::Call, records, stores::Batch};

fn promote(world: &World, group: &str, wish: &serde_json::Value) -> super::world::Reply {
    world.operator("POST", &format!("/v1/groups/{group}/promote"), wish.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_get_in() {
    let world = World::start().await;
    for headers in
        ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic YQ==\r\n", "Authorization: Bearer \r\n"]
    {
        for (method, path) in
            [("GET", "/v1/status"), ("POST", "/v1/releases"), ("GET", "/v1/events"), ("POST", "/v1/join-tokens")]
        {
            request(&world.controller.operators, method, path, headers, b"").is_problem("unauthorized", 401);
        }
    }
    for path in ["/livez", "/metrics"] {
        request(&world.controller.operators, "GET", path, "", b"").is(200);
    }
    world
        .until("a turn was made", |world| {
            (request(&world.controller.operators, "GET", "/readyz", "", b"").status == 200).then_some(())
        })
        .await;
    assert!(!world.metrics().contains(TOKEN));
    assert!(world.store.events(0, 99).unwrap().iter().all(|event| !event.text.contains("wrong")));
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_verified_whole() {
    let world = World::start().await;
    let before = world.listing();
    let (_, untrusted) = signed_manifest("shop", "1", 11, &SigningKey::generate(&[8; 32]));
    let (digest, good) = world.envelope("1", 11);
    let bent = String::from_utf8(good.clone()).unwrap().replacen("payload\":\"e", "payload\":\"f", 1).into_bytes();
    for envelope in [&untrusted[..], b"{}", b"", &bent] {
        world.operator("POST", "/v1/releases", envelope).is_problem("invalid-manifest", 422);
    }
    assert_eq!(world.listing(), before);
    let summary: ReleaseSummary = world.operator("POST", "/v1/releases", &good).is(200).json();
    assert_eq!((summary.manifest, summary.published_by.as_str()), (digest, "ana"));
    let published = world.listing();
    world.operator("POST", "/v1/releases", &good).is(200);
    assert_eq!(world.listing(), published);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_goes_forward_and_back_only_when_said() {
    let world = World::start().await;
    for (release, sequence) in [("old", 9), ("1", 11), ("2", 12)] {
        world.publish(release, sequence);
    }
    let (_, alien) = signed_manifest("alien", "3", 13, &world.release_key);
    world.operator("POST", "/v1/releases", &alien).is(200);
    let before = world.listing();
    for (group, wish, kind, status) in [
        ("nobody", json!({"release": "1"}), "not-found", 404),
        ("web", json!({"release": "never"}), "not-found", 404),
        ("web", json!({"release": portcullis::digest::Digest::of(b"never")}), "not-found", 404),
        ("web", json!({"release": "old"}), "promotion-refused", 409),
        ("web", json!({"release": "3"}), "not-found", 404),
        ("web", json!({"release": "1", "surprise": 1}), "malformed", 400),
    ] {
        promote(&world, group, &wish).is_problem(kind, status);
    }
    assert_eq!(world.listing(), before);
    promote(&world, "web", &json!({"release": "1"})).is(200);
    let record: GroupRecord = promote(&world, "web", &json!({"release": "2"})).is(200).json();
    assert_eq!(record.accepted.len(), 2);
    let before = world.listing();
    for wish in
        [json!({"release": "1"}), json!({"release": "1", "rollback": true}), json!({"release": "1", "reason": "x"})]
    {
        promote(&world, "web", &wish).is_problem("promotion-refused", 409);
    }
    assert_eq!(world.listing(), before);
    let back: GroupRecord =
        promote(&world, "web", &json!({"release": "1", "rollback": true, "reason": "2 is slow"})).is(200).json();
    assert_eq!(back.accepted, [record.accepted[1], record.accepted[0]]);
    let events: Vec<Event> = world.operator("GET", "/v1/events", b"").is(200).json();
    let last = events.iter().rfind(|event| event.kind == "promoted").unwrap();
    assert!(last.text.contains("2 is slow") && last.actor == "ana", "{last:?}");
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_events_tell_what_is_held() {
    let world = World::start().await;
    world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    let status: Status = world.operator("GET", "/v1/status", b"").is(200).json();
    let web = status.groups.iter().find(|group| group.group.as_str() == "web").unwrap();
    assert_eq!((web.mode, web.release.as_deref(), web.instances.len()), (Mode::Enforce, Some("1"), 1));
    let other = status.groups.iter().find(|group| group.group.as_str() == "other").unwrap();
    assert_eq!(other.warnings, ["the cloud has no such group"]);
    world.operator("GET", "/v1/instances/i-77", b"").is_problem("not-found", 404);
    let events: Vec<Event> = world.operator("GET", "/v1/events?after=0&limit=1000", b"").is(200).json();
    assert!(events.iter().map(|event| event.sequence).eq(1..=events.len() as u64));
    world.operator("GET", "/v1/events?after=x", b"").is_problem("malformed", 400);
    world.operator("GET", "/v1/instances/%FF", b"").is_problem("malformed", 400);
    world.operator("POST", "/v1/groups/%FF/pause", b"{}").is_problem("malformed", 400);
    world.operator("GET", "/v1/events?since=yesterday", b"").is_problem("malformed", 400);

    // Since a time: what is no older, from the first page to the last.
    let since = |at, more: &str| -> Vec<Event> {
        world.operator("GET", &format!("/v1/events?since={at}{more}"), b"").is(200).json()
    };
    let promoted = events.iter().find(|event| event.kind == "promoted").unwrap();
    let (first, all) = (since(promoted.at, "&limit=1"), since(promoted.at, ""));
    assert_eq!(first[..], all[..1]);
    assert!(all.contains(promoted) && all.iter().all(|event| event.at >= promoted.at));
    assert!(events.iter().filter(|event| event.at >= promoted.at).all(|event| all.contains(event)));
    let next = since(promoted.at, &format!("&after={}", first[0].sequence));
    assert_eq!(next[0], all[1]);
    assert_eq!(since(world.clock.now() + std::time::Duration::from_secs(60), ""), []);

    // Waiting for what comes: the answer comes with the event, not with the time-out.
    let (url, after) = (world.controller.operators.clone(), events.len());
    let follower = std::thread::spawn(move || {
        let path = format!("/v1/events?after={after}&wait_s=25");
        request(&url, "GET", &path, &format!("Authorization: Bearer {TOKEN}\r\n"), b"").is(200).json::<Vec<Event>>()
    });
    world.join_token("web", 1);
    assert!(!follower.join().unwrap().is_empty());
    world.controller.stop().await;
}

/// On what waits, for a time, with a reason; and all of it is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_outweighs_the_rules() {
    let world = World::start().await;
    world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    world.cloud.put("i-2", "InService");
    world.until("i-2 is seen", |world| world.instance("i-2")).await;
    let say = |id: &str, wish: serde_json::Value| {
        world.operator("POST", &format!("/v1/instances/{id}/override"), wish.to_string().as_bytes())
    };
    let before = world.listing();
    for (id, wish, kind, status) in [
        ("i-77", json!({"word": "hold", "reason": "x"}), "not-found", 404),
        ("i-1", json!({"word": "hold", "reason": " "}), "malformed", 400),
        ("i-1", json!({"word": "hold", "reason": "x".repeat(1_001)}), "malformed", 400),
        ("i-1", json!({"word": "hold", "reason": "x", "for_s": 0}), "malformed", 400),
        ("i-1", json!({"word": "hold", "reason": "x", "for_s": 4 * 3_600 + 1}), "malformed", 400),
        ("i-1", json!({"word": "eject", "reason": "x"}), "malformed", 400),
        ("i-1", json!({"reason": "nothing was said"}), "override-refused", 409),
    ] {
        say(id, wish).is_problem(kind, status);
    }
    assert_eq!(world.listing(), before);
    let held: OverrideRecord = say("i-1", json!({"word": "hold", "reason": "I look"})).is(200).json();
    assert_eq!((held.word, held.until.since(held.at).as_secs(), held.warrant.by.as_str()), (Word::Hold, 1_800, "ana"));
    let shown = |id: &'static str, code: &'static str| {
        let shown =
            world.instance(id).filter(|shown| shown.reason.as_ref().is_some_and(|reason| reason.code() == code));
        shown.map(|shown| shown.because)
    };
    let because = world.until("it is held", |_| shown("i-1", "operator_holds")).await;
    assert!(because.ends_with("by ana: I look"), "{because}");
    say("i-1", json!({"reason": "seen enough"})).is(200);
    world.until("it is held no longer", |_| shown("i-1", "no_report")).await;
    say("i-2", json!({"word": "admit", "reason": "x"})).is_problem("override-refused", 409);

    say("i-1", json!({"word": "admit", "reason": "the check is wrong", "for_s": 60})).is(200);
    world.until("it serves", |_| shown("i-1", "operator_admits")).await;
    world.until("it is in service", |world| (world.cloud.state("i-1") == "InService").then_some(())).await;
    say("i-1", json!({"word": "reject", "reason": "x"})).is_problem("override-refused", 409);

    world.waiting("i-3").await;
    say("i-3", json!({"word": "reject", "reason": "another one"})).is(200);
    world
        .until("it is given up", |world| {
            let calls = world.cloud.calls.lock().unwrap();
            calls.iter().any(|call| matches!(call, Call::GiveUp(held) if held.instance == "i-3".into())).then_some(())
        })
        .await;
    say("i-3", json!({"word": "admit", "reason": "x"})).is_problem("override-refused", 409);
    let events: Vec<Event> = world.operator("GET", "/v1/events?limit=1000", b"").is(200).json();
    let told: Vec<_> = events.iter().filter(|event| event.kind == "override").map(|event| &*event.text).collect();
    let begins = ["holds wait 1 until", "no longer holds: seen enough", "admits wait 1 until", "rejects wait 1 until"];
    assert!(told.len() == 4 && told.iter().zip(begins).all(|(told, begin)| told.starts_with(begin)), "{told:?}");
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_can_be_paused_for_a_time() {
    let world = World::start().await;
    world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    let pause = |group: &str, wish: serde_json::Value| {
        world.operator("POST", &format!("/v1/groups/{group}/pause"), wish.to_string().as_bytes())
    };
    pause("nobody", json!({"reason": "x"})).is_problem("not-found", 404);
    pause("other", json!({"reason": "x"})).is_problem("override-refused", 409);
    pause("web", json!({"reason": ""})).is_problem("malformed", 400);
    pause("web", json!({"reason": "x", "for_s": 4 * 3_600 + 1})).is_problem("malformed", 400);
    pause("web", json!({"reason": "moving the database", "for_s": 60})).is(200);
    let code = |world: &World| world.instance("i-1").and_then(|shown| Some(shown.reason?.code()));
    world.until("it is paused", |world| (code(world) == Some("paused")).then_some(())).await;
    pause("web", json!({"reason": "moved", "for_s": 0})).is(200);
    world.until("it is not", |world| (code(world) == Some("no_report")).then_some(())).await;
    world.controller.stop().await;
}

/// Only where the group stopped; and everybody sees that it did.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_stopped_replacing_can_be_told_to_try() {
    let world = World::start().await;
    let retry = |group: &str, reason: &str| {
        world.operator("POST", &format!("/v1/groups/{group}/retry"), json!({"reason": reason}).to_string().as_bytes())
    };
    retry("nobody", "x").is_problem("not-found", 404);
    retry("web", "x").is_problem("override-refused", 409);
    let (since, until) = (world.clock.now(), world.clock.now() + std::time::Duration::from_secs(1_800));
    let record = BreakerRecord { cause: "app: missing".into(), since, at: since, until, closed_at: None };
    let put = |expected, record: &BreakerRecord| {
        let write = records::put("breaker/web".into(), expected, &Record::Breaker(record.clone()));
        world.store.commit(Batch { writes: vec![write], events: vec![] }).unwrap()
    };
    put(None, &record);
    let warned = |world: &World, words: &str| {
        let status: Status = world.operator("GET", "/v1/status", b"").is(200).json();
        let web = status.groups.into_iter().find(|group| group.group.as_str() == "web").unwrap();
        web.warnings.iter().any(|warning| warning.contains(words)).then_some(())
    };
    world.until("it is told", |world| warned(world, "keep failing (app: missing): none is replaced until")).await;
    retry("web", "").is_problem("malformed", 400);
    let tried: BreakerRecord = retry("web", "renewed").is(200).json();
    assert_eq!((tried.since, tried.until), (since, tried.at));
    world.until("it is told", |world| warned(world, "one more is replaced now")).await;
    let closed = BreakerRecord { closed_at: Some(tried.at), ..tried };
    let revision = world.store.get("breaker/web").unwrap().unwrap().revision;
    put(Some(revision), &closed);
    retry("web", "x").is_problem("override-refused", 409);
    world.controller.stop().await;
}

/// Many fail alike, and an operator lets withdrawing go on: once, with a reason.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_goes_on_at_a_word() {
    let world = World::start().await;
    let withdraw = |group: &str, reason: &str| {
        let path = format!("/v1/groups/{group}/withdraw");
        world.operator("POST", &path, json!({"reason": reason}).to_string().as_bytes())
    };
    withdraw("nobody", "x").is_problem("not-found", 404);
    withdraw("web", "x").is_problem("override-refused", 409);
    let since = world.clock.now();
    let record = FreezeRecord { cause: "app: missing".into(), since, over_at: None, warrant: None };
    let write = records::put("freeze/web".into(), None, &Record::Freeze(record));
    world.store.commit(Batch { writes: vec![write], events: vec![] }).unwrap();
    withdraw("web", "").is_problem("malformed", 400);
    let told: FreezeRecord = withdraw("web", "only canaries").is(200).json();
    assert_eq!((told.since, told.warrant.unwrap().because.as_str()), (since, "only canaries"));
    assert!(told.over_at >= Some(since));
    withdraw("web", "x").is_problem("override-refused", 409);
    let events = world.store.events(0, 1_000).unwrap();
    assert!(events.iter().any(|event| event.kind == "withdraw" && event.text.contains("app: missing")));
    world.controller.stop().await;
}

/// Told to a real program, shown, and somebody's as soon as somebody says so.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_and_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let got = dir.path().join("got");
    let command = format!("command = [\"/bin/sh\", \"-c\", \"cat >>{}\"]", got.display());
    let world = World::with_tables(&format!("[[alerts]]\nname = \"mail\"\n{command}\n")).await;
    world.cloud.put("i-1", "InService");
    let told = || std::fs::read_to_string(&got).unwrap_or_default();
    world.until("it is told", |_| told().contains("\"code\":\"bypassed\"").then_some(())).await;
    assert!(told().contains("web: in service without having passed the gate: bypassed on 1 (i-1)"), "{}", told());
    let acknowledge = |code: &str| {
        let wish = json!({"code": code, "reason": "it is mine"}).to_string();
        world.operator("POST", "/v1/groups/web/acknowledge", wish.as_bytes())
    };
    acknowledge("stalled").is_problem("not-found", 404);
    acknowledge("bypassed").is(200);
    world
        .until("it is shown", |world| {
            let status: Status = world.operator("GET", "/v1/status", b"").is(200).json();
            let web = status.groups.into_iter().find(|group| group.group.as_str() == "web")?;
            let alert = web.alerts.into_iter().find(|alert| alert.code == "bypassed")?;
            alert.acknowledged.filter(|warrant| warrant.by == "ana").map(drop)
        })
        .await;
    world.cloud.remove("i-1");
    world.until("its end is told", |_| told().contains("web: over: in service without").then_some(())).await;
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_kept_as_a_hash() {
    let world = World::start().await;
    let token = world.join_token("web", 1);
    assert!(
        world
            .listing()
            .iter()
            .all(|(path, found)| { !path.contains(&token) && !String::from_utf8_lossy(&found.value).contains(&token) })
    );
    assert!(world.store.events(0, 99).unwrap().iter().all(|event| !event.text.contains(&token)));
    for wish in [
        json!({"group": "nobody", "expires_in_s": 60, "uses": 1}),
        json!({"group": "web", "expires_in_s": 0, "uses": 1}),
        json!({"group": "web", "expires_in_s": 60, "uses": 0}),
        json!({"group": "web", "expires_in_s": 100_000_000, "uses": 1}),
    ] {
        assert!(world.operator("POST", "/v1/join-tokens", wish.to_string().as_bytes()).status >= 400, "{wish}");
    }
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_that_asks_too_often_is_refused_and_named() {
    let world = World::with_limit(5).await;
    let statuses: Vec<_> = (0..8).map(|_| request(&world.controller.agents, "GET", "/livez", "", b"").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    request(&world.controller.agents, "GET", "/livez", "", b"").is_problem("too-many-requests", 429);
    let mut stream = TcpStream::connect(world.controller.agents.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(&b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3)).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 429").count(), 1, "whoever goes on must connect again: {answers}");
    world
        .until("the audit names the client", |world| {
            let events = world.store.events(0, 99).unwrap();
            events.iter().find(|event| event.actor == "127.0.0.1").map(drop)
        })
        .await;
    world.clock.advance(std::time::Duration::from_secs(61));
    request(&world.controller.agents, "GET", "/livez", "", b"").is(200);
    world.controller.stop().await;
}
