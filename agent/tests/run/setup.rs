//! What keeps an agent from starting: exit status 2, and words that say what to do.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{
    controller::Controller,
    fixture::{Machine, eventually},
};

fn refused(machine: &Machine, named: &str) {
    let output = machine.fails_to_start();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(named), "{named}: {told}");
}

#[test]
fn refusals() {
    let machine = Machine::new();
    refused(&machine, "agent.toml");
    refused(machine.configured("surprise = true\n"), "unknown field `surprise`");
    refused(machine.configured(""), "`controller`: needed");
    machine.configured_for("127.0.0.1:9".parse().unwrap());
    fs::write(machine.path("boot_id"), "\n").unwrap();
    refused(&machine, "the boot's id");
    machine.boots("boot-1");
    fs::write(machine.path("state/agent.key"), "half a key").unwrap();
    refused(&machine, "mode 0644");
    fs::set_permissions(machine.path("state/agent.key"), fs::Permissions::from_mode(0o600)).unwrap();
    refused(&machine, "not an ed25519 private key");
    fs::set_permissions(machine.path("state"), fs::Permissions::from_mode(0o777)).unwrap();
    refused(&machine, "written by others");
}

#[test]
fn two_agents_never_share_a_state() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = machine.configured_for(controller.address).start();
    refused(&machine, "another agent uses");
    assert!(agent.is_alive());
}

/// A secret that is not there yet, or empty, or refused: told, and tried again.
#[test]
fn the_join_token_may_come_later() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let token = fs::read(machine.path("token")).unwrap();
    fs::remove_file(machine.path("token")).unwrap();
    let agent = machine.configured_for(controller.address).start();
    agent.until_readyz_says("the join token in");
    fs::write(machine.path("token"), "wrong").unwrap();
    agent.until_readyz_says("refuses: 403");
    assert!(!agent.log().contains("wrong\n"));
    fs::write(machine.path("token"), token).unwrap();
    eventually("ready", || (agent.get("/readyz").0 == 200).then_some(()));
}
