use std::time::Duration;

use portcullis::{
    api::{Answer, Challenged},
    challenge::PAYLOAD_TYPE as CHALLENGE,
    digest::Digest,
    instance::WaitId,
    outcome::{Outcome, Status},
    report::{PAYLOAD_TYPE as REPORT, Report},
    verdict::Verdict,
};

use super::world::{Agent, World, outcome, request};
use crate::providers::Call;

/// A waiting instance with an enrolled agent, a promoted release, and one that is only published.
async fn ready() -> (World, Agent, Digest, Digest) {
    let world = World::start().await;
    let (wanted, unwanted) = (world.publish("1", 11), world.publish("2", 12));
    world.promote("1");
    world.waiting("i-1").await;
    let agent = Agent::new("i-1", 1).enrolled(&world);
    (world, agent, wanted, unwanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_report_opens_the_gate() {
    let (world, agent, wanted, unwanted) = ready().await;
    let challenged = agent.challenge(&world);
    assert_eq!((challenged.group.as_str(), challenged.wait), ("web", WaitId(1)));
    assert_eq!((challenged.wanted, &challenged.accepted), (Some(wanted), &vec![wanted]));
    assert_ne!(wanted, unwanted);
    let answer: Answer = agent.report(&world, &agent.passing(&challenged, wanted)).is(200).json();
    assert_eq!(answer.wanted, Some(wanted));

    let status =
        world.until("it is in service", |world| world.instance("i-1").filter(|one| one.continue_accepted)).await;
    assert_eq!(status.verdict, Some(Verdict::Admitted));
    let calls = world.cloud.calls.lock().unwrap().clone();
    assert!(matches!(&*calls, [Call::Admit(held)] if held.instance == "i-1".into()), "{calls:?}");
    world.until("it was described", |world| (world.instance("i-1")?.state.as_str() == "InService").then_some(())).await;

    // The next report, although its challenge was for the wait that has just ended, is answered with `admitted`.
    let next = Challenged { challenge: answer.next_challenge, ..challenged };
    let answer: Answer = agent.report(&world, &agent.passing(&next, wanted)).is(200).json();
    assert_eq!((answer.verdict, answer.poll_after_s), (Verdict::Admitted, 60), "{}", answer.reason);
    world
        .until("the audit tells of it", |world| {
            let events = world.store.events(0, 1_000).unwrap();
            let told = |kind: &str, text: &str| events.iter().any(|one| one.kind == kind && one.text.contains(text));
            (told("action", "CONTINUE") && told("answer", "CONTINUE: accepted") && told("verdict", "admitted"))
                .then_some(())
        })
        .await;
    world.controller.stop().await;
}

/// A root volume that is replaced: the same instance may wait again, and nobody knows yet.
#[tokio::test(flavor = "multi_thread")]
async fn after_another_boot_it_is_told_to_speak_again_soon() {
    let (world, agent, wanted, _) = ready().await;
    agent.report(&world, &agent.passing(&agent.challenge(&world), wanted)).is(200);
    world.until("it was described", |world| (world.instance("i-1")?.state.as_str() == "InService").then_some(())).await;
    let agent = Agent { boot: "boot-2".into(), ..agent }.enrolled(&world);
    let answer: Answer = agent.report(&world, &agent.passing(&agent.challenge(&world), wanted)).is(200).json();
    assert_eq!((answer.verdict, answer.poll_after_s), (Verdict::Admitted, 5), "{}", answer.reason);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_report_holds_and_says_what_is_missing() {
    let (world, agent, wanted, _) = ready().await;
    let challenged = agent.challenge(&world);
    let mut report = agent.passing(&challenged, wanted);
    report.outcomes = vec![outcome("smoke", Status::Fail)];
    let answer: Answer = agent.report(&world, &report).is(200).json();
    assert_eq!((answer.verdict, answer.poll_after_s), (Verdict::Held, 5));
    world
        .until("what is missing is said", |world| world.instance("i-1")?.because.contains("smoke").then_some(()))
        .await;
    let calls = world.cloud.calls.lock().unwrap().clone();
    assert!(calls.iter().all(|call| matches!(call, Call::KeepWaiting(_))), "{calls:?}");
    world.controller.stop().await;
}

type Bend = fn(Report, &Digest) -> Report;

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused_and_changes_nothing() {
    let (world, agent, wanted, unwanted) = ready().await;
    let challenged = agent.challenge(&world);
    let before = world.listing();
    let bends: [(Bend, &str, u16); 14] = [
        (|report, _| Report { audience: "another".into(), ..report }, "wrong-audience", 403),
        (|report, _| Report { binding: "00".repeat(16), ..report }, "unknown-binding", 404),
        (|report, _| Report { binding: "../key/x".into(), ..report }, "unknown-binding", 404),
        (|report, _| Report { instance: "i-2".into(), ..report }, "wrong-instance", 403),
        (|report, _| Report { boot_id: "boot-2".into(), ..report }, "wrong-boot", 409),
        (|report, _| Report { group: "other".into(), ..report }, "wrong-group", 409),
        (|report, _| Report { wait: WaitId(2), ..report }, "wrong-wait", 409),
        (|report, _| Report { wait: WaitId(0), ..report }, "wrong-wait", 409),
        (|report, _| Report { challenge: "forged.forged".into(), ..report }, "stale-challenge", 409),
        (|report, unwanted| Report { manifest: *unwanted, ..report }, "not-accepted", 409),
        (|report, _| Report { manifest: Digest::of(b"never seen"), ..report }, "not-accepted", 409),
        (|report, _| Report { outcomes: vec![], ..report }, "not-a-report", 422),
        (
            |report, _| Report { outcomes: [report.outcomes.clone(), report.outcomes].concat(), ..report },
            "not-a-report",
            422,
        ),
        (|report, _| Report { outcomes: vec![outcome("other", Status::Pass)], ..report }, "not-a-report", 422),
    ];
    for (bend, kind, status) in bends {
        agent.report(&world, &bend(agent.passing(&challenged, wanted), &unwanted)).is_problem(kind, status);
    }
    let good = agent.passing(&challenged, wanted);
    Agent { key: [9; 32], ..agent.clone() }.report(&world, &good).is_problem("bad-signature", 401);
    world.agent("/v1/report", &agent.sealed(CHALLENGE, &good)).is_problem("bad-signature", 401);
    world.agent("/v1/report", &vec![b' '; (4 << 20) + 1]).is_problem("too-large", 413);
    world.agent("/v1/report", b"{}").is_problem("malformed", 400);
    let mut loose = serde_json::to_value(&good).unwrap();
    loose["surprise"] = 1.into();
    world.agent("/v1/report", &agent.sealed(REPORT, &loose)).is_problem("malformed", 400);
    world.clock.advance(Duration::from_secs(16 * 60));
    agent.report(&world, &good).is_problem("stale-challenge", 409);

    let of_binding = |listing: Vec<(String, crate::stores::Versioned)>| -> Vec<_> {
        listing.into_iter().filter(|(path, _)| !path.starts_with("rejection/") && !path.starts_with("wait/")).collect()
    };
    assert_eq!(of_binding(world.listing()), of_binding(before));
    let explained = world.instance("i-1").unwrap();
    assert!(explained.because.contains("in its name was refused"), "{}", explained.because);
    assert!(world.store.get("evidence/i-1").unwrap().is_none());
    let metrics = world.metrics();
    for line in ["{kind=\"not-a-report\"} 3", "{kind=\"stale-challenge\"} 2", "{kind=\"bad-signature\"} 2"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    world.controller.stop().await;
}

/// Facts that contradict what the controller knows, or that nothing asked for, are no report.
#[tokio::test(flavor = "multi_thread")]
async fn facts_are_those_of_the_instance() {
    let (world, agent, ..) = ready().await;
    let templated = world.publish_template("3", "server_name {{ instance }}.{{ zone }};");
    world.promote("3");
    let challenged = agent.challenge(&world);
    let with = |facts: &[(&str, &str)]| Report {
        facts: facts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        outcomes: vec![Outcome::new("app", "tree", Status::Pass, None)],
        ..agent.passing(&challenged, templated)
    };
    for facts in [
        &[("instance", "i-2"), ("zone", "b")][..],
        &[("zone", "b")],
        &[("instance", "i-1")],
        &[("instance", "i-1"), ("zone", "b"), ("rack", "7")],
        &[("instance", "i-1"), ("zone", "b\n")],
    ] {
        agent.report(&world, &with(facts)).is_problem("not-a-report", 422);
    }
    assert!(world.store.get("evidence/i-1").unwrap().is_none());
    agent.report(&world, &with(&[("instance", "i-1"), ("zone", "b")])).is(200);
    assert!(world.store.get("evidence/i-1").unwrap().is_some());
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_once_and_a_resend_gets_the_same_answer() {
    let (world, agent, wanted, _) = ready().await;
    let (first, second) = (agent.challenge(&world), agent.challenge(&world));
    let mut failing = agent.passing(&first, wanted);
    failing.outcomes = vec![outcome("smoke", Status::Fail)];
    let answer = agent.report(&world, &failing).is(200).body;
    let before = world.listing();
    assert_eq!(agent.report(&world, &failing).is(200).body, answer);
    // Another challenge of the same count, and another report for the same challenge: an older pass overrules nothing.
    agent.report(&world, &agent.passing(&second, wanted)).is_problem("stale-challenge", 409);
    agent.report(&world, &agent.passing(&first, wanted)).is_problem("stale-challenge", 409);
    assert_eq!(world.listing(), before);
    let calls = world.cloud.calls.lock().unwrap().clone();
    assert!(calls.iter().all(|call| matches!(call, Call::KeepWaiting(_))), "{calls:?}");

    // Another instance's agent cannot answer it either.
    world.waiting("i-2").await;
    let other = Agent::new("i-2", 2).enrolled(&world);
    let theirs = Challenged { challenge: agent.challenge(&world).challenge, ..other.challenge(&world) };
    other.report(&world, &other.passing(&theirs, wanted)).is_problem("stale-challenge", 409);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_no_challenge_and_no_counter() {
    let (world, agent, wanted, _) = ready().await;
    let (used, fresh) = {
        let used = agent.challenge(&world);
        let mut failing = agent.passing(&used, wanted);
        failing.outcomes = vec![outcome("smoke", Status::Fail)];
        agent.report(&world, &failing).is(200);
        (used, agent.challenge(&world))
    };
    let world = world.restart().await;
    world.until("it is described", |world| world.instance("i-1").filter(|one| one.evidence.is_some())).await;
    agent.report(&world, &agent.passing(&used, wanted)).is_problem("stale-challenge", 409);
    agent.report(&world, &agent.passing(&fresh, wanted)).is(200);
    world.until("it is let in", |world| world.instance("i-1").filter(|one| one.continue_accepted)).await;
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_no_group_has_is_told_to_come_again() {
    let world = World::start().await;
    let wanted = world.publish("1", 11);
    world.promote("1");
    let agent = Agent::new("i-9", 1).enrolled(&world);
    let challenged = agent.challenge(&world);
    assert_eq!((challenged.group.as_str(), challenged.wait, challenged.wanted), ("", WaitId(0), None));
    agent.report(&world, &agent.passing(&challenged, wanted)).is_problem("not-described", 409);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_manifests_come_back_byte_for_byte() {
    let world = World::start().await;
    let (digest, envelope) = world.envelope("1", 11);
    let path = format!("/v1/manifests/{digest}");
    request(&world.controller.agents, "GET", &path, "", b"").is_problem("not-published", 404);
    world.publish("1", 11);
    assert_eq!(request(&world.controller.agents, "GET", &path, "", b"").is(200).body, envelope);
    request(&world.controller.agents, "GET", "/v1/manifests/..%2fsecret", "", b"").is_problem("malformed", 400);
    request(&world.controller.agents, "GET", "/v1/status", "", b"").is_problem("not-found", 404);
    request(&world.controller.agents, "GET", "/v1/enrol", "", b"").is_problem("method-not-allowed", 405);
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_long_gone_leaves_nothing_behind() {
    let (world, agent, wanted, _) = ready().await;
    let challenged = agent.challenge(&world);
    agent.report(&world, &agent.passing(&challenged, wanted)).is(200);
    let left = |world: &World| {
        world
            .listing()
            .iter()
            .filter(|(path, found)| path.contains("i-1") || String::from_utf8_lossy(&found.value).contains("i-1"))
            .count()
    };
    world.until("it is in service", |world| world.instance("i-1").filter(|one| one.continue_accepted)).await;
    let before = left(&world);
    assert!(before >= 4, "{before}");
    // An hour later everything is still there: the instance is. A month later it is gone, and so is all that was kept.
    world.clock.advance(Duration::from_secs(3_700));
    world
        .until("it was described again", |world| (world.instance("i-1")?.state.as_str() == "InService").then_some(()))
        .await;
    assert!(left(&world) >= before);
    world.cloud.remove("i-1");
    world.until("it is gone", |world| world.instance("i-1").is_none().then_some(())).await;
    world.clock.advance(crate::sweep::KEPT + Duration::from_secs(3_700));
    world.until("nothing is left", |world| (left(world) == 0).then_some(())).await;
    world.controller.stop().await;
}
