//! A controller that lies, stalls or talks nonsense: nothing it says makes an instance ready or an agent stop.

use std::{thread, time::Duration};

use portcullis::signature::{Envelope, EnvelopeLimits, SigningKey};

use super::{
    controller::{Controller, Lie, problem},
    fixture::{Machine, Release, eventually},
};

/// An agent under a controller that would admit, but for its lie about `path`: never ready, until it tells the truth.
fn never_ready_by(path: &'static str, lie: Lie, told: &str) {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    controller.script().lies.insert(path, lie);
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says(told);
    controller.until_asked(path, 2);
    assert_eq!(agent.get("/readyz").0, 503);
    assert!(agent.is_alive());
    controller.script().lies.clear();
    agent.until_ready();
}

/// Several at once: most of their time is backoff.
fn never_ready_by_any<const N: usize>(lies: [(&'static str, Lie, &str); N]) {
    thread::scope(|scope| {
        for (path, lie, told) in lies {
            scope.spawn(move || never_ready_by(path, lie, told));
        }
    });
}

#[test]
fn garbage() {
    never_ready_by_any([
        ("/v1/enrol", Lie::Body(b"{\"binding\":".to_vec()), "makes no sense"),
        ("/v1/challenge", Lie::Body(b"[]".to_vec()), "makes no sense"),
        ("/v1/manifests/", Lie::Body(b"garbage".to_vec()), "not a DSSE envelope"),
        ("/v1/report", Lie::Raw(b"garbage\r\n\r\n".to_vec()), "cannot be reached"),
    ]);
}

#[test]
fn unknown_verdict() {
    let answer = br#"{"verdict":"splendid","reason":"","wanted":null,"next_challenge":"","poll_after_s":1}"#;
    never_ready_by("/v1/report", Lie::Body(answer.to_vec()), "unknown variant `splendid`");
}

#[test]
fn endless_challenge() {
    let challenge = "c".repeat(10_000);
    let answer = format!(r#"{{"challenge":"{challenge}","wanted":null,"accepted":[],"group":"shop","wait":1}}"#);
    never_ready_by("/v1/challenge", Lie::Body(answer.into_bytes()), "a challenge of 10000 bytes");
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Controller::start();
    let redirect =
        format!("HTTP/1.1 307 X\r\nLocation: http://{}/v1/enrol\r\nContent-Length: 0\r\n\r\n", elsewhere.address);
    let redirect = redirect.into_bytes();
    never_ready_by_any([
        ("/v1/enrol", Lie::Raw(redirect.clone()), "status 307"),
        ("/v1/manifests/", Lie::Raw(redirect), "status 307"),
    ]);
    assert!(elsewhere.script().asked.is_empty());
}

#[test]
fn errors_and_broken_connections() {
    never_ready_by_any([
        ("/v1/enrol", Lie::Status(409), "refuses: 409"),
        ("/v1/challenge", Lie::Status(503), "refuses: 503"),
        ("/v1/report", Lie::Silence(Duration::ZERO), "not reported"),
    ]);
}

#[test]
fn another_key_for_this_instance_is_told_loudly() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.script().lies.insert("/v1/enrol", Lie::Raw(problem(409, "instance-bound")));
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("not enrolled");
    eventually("told", || agent.log().contains("ERROR somebody else may be speaking as this instance").then_some(()));
    assert!(agent.is_alive());
}

/// Bytes under a digest that are not those: another validly signed manifest, an unsigned one, one by a stranger.
#[test]
fn other_manifests() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let asked = machine.release("one", &[]);
    controller.promotes(&asked);
    controller.says("admitted");
    let stranger = SigningKey::generate(&[8; 32]);
    let mut unsigned = Envelope::parse(&asked.envelope, &EnvelopeLimits::MANIFEST).unwrap();
    unsigned.signatures.clear();
    let replies = [
        (machine.release("two", &[]).envelope, "its digest is"),
        (unsigned.to_json(), "signed by 0 of the trusted keys"),
        (machine.release_by("one", &[], &stranger).envelope, "signed by 0 of the trusted keys"),
    ];
    for (envelope, told) in replies {
        controller.script().manifests.insert(asked.digest, envelope);
        let agent = machine.configured_for(controller.address).start();
        agent.until_readyz_says(told);
        assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()));
        let kept = format!("state/manifest-{}.json", asked.digest.to_hex());
        assert!(!machine.path(&kept).exists(), "nothing is kept before all holds");
    }
    let Release { digest, envelope } = asked;
    controller.script().manifests.insert(digest, envelope);
    machine.start().until_ready();
}

#[test]
fn floods_are_cut_off() {
    for (path, announced) in [("/v1/manifests/", true), ("/v1/manifests/", false), ("/v1/challenge", false)] {
        let (machine, controller) = (Machine::new(), Controller::start());
        controller.promotes(&machine.release("one", &[]));
        controller.script().lies.insert(path, Lie::Flood { bytes: 100 << 20, announced });
        let agent = machine.configured_for(controller.address).start();
        agent.until_readyz_says("the answer has more than");
        assert!(agent.is_alive());
        let peak_mib = agent.memory_peak_kib() >> 10;
        assert!(peak_mib < 220, "{path}: {peak_mib} MiB");
    }
}

/// While a controller takes its time, probes are answered, and SIGTERM is heard.
#[test]
fn silence_holds_up_nothing_else() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.script().lies.insert("/v1/enrol", Lie::Silence(Duration::from_secs(60)));
    let agent = machine.configured_for(controller.address).start();
    eventually("asked", || controller.script().asked.first().cloned());
    assert!(agent.is_alive());
    assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()));
    let (code, took) = agent.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}
