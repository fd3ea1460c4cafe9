//! From enrolment to admission, and through what comes after.

use std::{fs, os::unix::fs::PermissionsExt as _};

use portcullis::outcome::Status;

use super::{
    controller::{Controller, Lie},
    fixture::{Machine, PAGE, TOKEN, eventually, exists},
};

#[test]
fn proves_itself_and_is_admitted() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let release = machine.release("one", &[]);
    controller.promotes(&release);
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("held: because");
    assert_eq!(agent.get("/readyz"), (503, "held\n".into()));
    controller.says("admitted");
    agent.until_ready();

    let script = controller.script();
    assert_eq!(script.enrolled.len(), 1);
    let report = script.reports.last().unwrap();
    assert_eq!(
        (report.instance.as_str(), report.boot_id.as_str(), report.audience.as_str()),
        ("i-1", "boot-1", "default")
    );
    assert_eq!((report.group.as_str(), report.wait.0, report.manifest), ("shop", 1, release.digest));
    assert_eq!(report.outcomes.iter().map(|outcome| outcome.status).collect::<Vec<_>>(), [Status::Pass]);
    // Each report answers a challenge of its own, asked for before the checking.
    let rounds: Vec<_> = script.asked.iter().filter(|path| !path.contains("manifests")).map(String::as_str).collect();
    assert_eq!(rounds[..5], ["/v1/enrol", "/v1/challenge", "/v1/report", "/v1/challenge", "/v1/report"]);
    assert_eq!(script.asked.iter().filter(|path| path.contains("manifests")).count(), 1, "fetched once");
    drop(script);

    let key = machine.path("state/agent.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    let secrets = [TOKEN.to_string(), fs::read_to_string(key).unwrap().lines().nth(1).unwrap().to_string()];
    for secret in secrets {
        assert!(!agent.log().contains(&secret) && !agent.arguments().contains(&secret));
        assert!(!agent.get("/readyz?verbose").1.contains(&secret) && !agent.get("/v1/report").1.contains(&secret));
    }
    let (code, took) = agent.stop();
    assert_eq!(code, Some(0));
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn a_restart_keeps_key_and_admission_and_a_boot_does_not() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start();
    agent.until_ready();
    let key = fs::read(machine.path("state/agent.key")).unwrap();
    eventually("kept", || exists(&machine.path("state/admission.json")).then_some(()));
    drop(agent);

    // Its controller has gone: static for the serving.
    controller.script().lies.insert("/", Lie::Status(503));
    let agent = machine.start();
    agent.until_ready();
    controller.until_asked("/v1/challenge", 1);
    assert_eq!(agent.get("/readyz").0, 200);
    // It goes on being checked by what it keeps, and drift does not drop the latch.
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("content: index.html");
    assert_eq!(agent.get("/readyz").0, 200);
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    drop(agent);

    machine.boots("boot-2");
    let agent = machine.start();
    controller.until_asked("/v1/enrol", 1);
    assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()), "a cached manifest is not good for admission");
    controller.script().lies.clear();
    agent.until_ready();
    let script = controller.script();
    assert_eq!(script.enrolled.iter().map(|enrol| enrol.boot_id.as_str()).collect::<Vec<_>>(), ["boot-1", "boot-2"]);
    assert_eq!(script.enrolled[0].public_key, script.enrolled[1].public_key);
    assert_eq!(fs::read(machine.path("state/agent.key")).unwrap(), key);
}

#[test]
fn drift_keeps_it_ready_and_a_withdrawal_does_not() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start();
    agent.until_ready();
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("content: index.html");
    assert_eq!(agent.get("/readyz").0, 200);
    controller.says("withdrawn");
    agent.until_readyz_says("withdrawn: because");
    assert_eq!(agent.get("/readyz"), (503, "withdrawn\n".into()));
    eventually("forgotten on disk", || (!exists(&machine.path("state/admission.json"))).then_some(()));
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    controller.says("admitted");
    agent.until_ready();
}

#[test]
fn what_does_not_pass_is_not_ready_whatever_the_controller_says() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    fs::remove_file(machine.path("site/index.html")).unwrap();
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("admitted: because");
    assert_eq!(agent.get("/readyz"), (503, "checks_failing\n".into()));
    assert!(agent.get("/readyz?verbose").1.contains("site: missing: index.html"));
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    agent.until_ready();
}

#[test]
fn a_controller_that_comes_later_is_found() {
    let machine = Machine::new();
    let address = ([127, 0, 0, 1], crate::ports::free_port()).into();
    let agent = machine.configured_for(address).start();
    agent.until_readyz_says("cannot be reached");
    assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()));
    let controller = Controller::start_on(address);
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    agent.until_ready();
}

#[test]
fn a_controller_that_lost_its_store_is_enrolled_with_again() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start();
    agent.until_ready();
    controller.script().bound.clear();
    controller.until_asked("/v1/report", 2);
    assert_eq!(agent.get("/readyz").0, 200);
    let script = controller.script();
    assert_eq!(script.enrolled.len(), 2);
    assert_eq!(script.enrolled[0].public_key, script.enrolled[1].public_key);
}

#[test]
fn nothing_is_checked_before_a_release_is_known() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("no release is promoted for group `shop`");
    controller.script().group = String::new();
    agent.until_readyz_says("not seen this instance in any of its groups");
    controller.until_asked("/v1/challenge", 2);
    assert!(controller.script().reports.is_empty());
    assert_eq!(agent.get("/v1/report").0, 404);
    controller.script().group = "shop".into();
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    agent.until_ready();
}

#[test]
fn the_release_in_the_image_is_checked_if_it_is_accepted() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let (old, new) = (machine.release("old", &[]), machine.release("new", &[]));
    controller.promotes(&old);
    controller.promotes(&new);
    fs::write(machine.path("release"), format!("{}\n", old.digest)).unwrap();
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("held: because\nrelease old");
    assert_eq!(controller.script().reports[0].manifest, old.digest);
    controller.script().accepted = vec![new.digest];
    agent.until_readyz_says("release new");
}

#[test]
fn the_former_release_is_found_without_a_hint() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let (old, new) = (machine.release("old", &[]), machine.release("new", &["/bin/false"]));
    controller.promotes(&old);
    controller.promotes(&new);
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("held: because\nrelease old");
    assert_eq!(controller.script().reports[0].manifest, old.digest);
    fs::write(machine.path("site/index.html"), "other").unwrap();
    agent.until_readyz_says("release new");
}
