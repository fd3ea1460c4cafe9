//! What cannot be undone is not begun; and how it is said.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::fixture::{Machine, Ran, eventually};

/// The command would have left a trace.
#[track_caller]
fn not_begun(machine: &Machine, said: &str) {
    let trace = machine.path("trace");
    machine.apply(&[], &format!("touch {}", trace.display())).is(2, said);
    assert!(!trace.exists());
    assert!(machine.journal().is_none(), "nothing is left of it");
}

#[test]
fn more_than_may_be_remembered() {
    let machine = Machine::new().with("bytes_max = 100");
    not_begun(&machine, "more than 100 bytes: ignore what no change is about, or raise `apply.bytes_max`");
    not_begun(&machine.with("entries_max = 3"), "more than 3 entries");
}

#[test]
fn a_full_disk() {
    let machine = Machine::new();
    fs::create_dir(machine.path("state")).unwrap();
    let trace = machine.path("trace");
    for (size, said) in [("1M", "to spare"), ("20M", "")] {
        let apply = machine.agent("apply", &["--guards-are-enough", "--", "touch", trace.to_str().unwrap()]);
        let script = format!("mount -t tmpfs -o mode=700,size={size} none $1 && shift && \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", &script, "sh"]).arg(machine.path("state"));
        unshare.arg(apply.get_program()).args(apply.get_args());
        let ran = Ran::of(&mut unshare);
        if said.is_empty() {
            ran.is(0, "confirmed");
        } else {
            ran.is(2, said);
            assert!(!trace.exists());
        }
    }
    assert!(trace.exists());
}

/// The disk fills up after it was told that there is room: the copies cannot be written, and nothing is run.
#[test]
fn a_disk_that_fills_up() {
    let machine = Machine::new();
    fs::create_dir(machine.path("state")).unwrap();
    let trace = machine.path("trace");
    let apply = machine.agent("apply", &["--guards-are-enough", "--", "touch", trace.to_str().unwrap()]);
    // So few files that the listings find no place.
    let script = "mount -t tmpfs -o mode=700,size=40M,nr_inodes=12 none $1 && shift && \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script, "sh"]).arg(machine.path("state"));
    unshare.arg(apply.get_program()).args(apply.get_args());
    Ran::of(&mut unshare).is(2, "No space left on device");
    assert!(!trace.exists());
}

#[test]
fn refusals() {
    let mut machine = Machine::new();
    machine.run("apply", &[]).is(2, "");
    machine.run("apply", &["--confirm-within", "0s", "--", "true"]).is(2, "from 1s to 1d");
    machine.run("apply", &["--confirm-within", "60", "--", "true"]).is(2, "from 1s to 1d");
    machine.run("confirm", &[]).is(2, "no change is open");
    machine.run("undo", &[]).is(2, "no change is open");
    machine.run("apply", &["--list"]).is(0, "");
    fs::set_permissions(machine.path("agent.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    not_begun(&machine, "can be written by others");
    fs::set_permissions(machine.path("agent.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let root = machine.manifest.trees[0].root.clone();
    machine.manifest.trees[0].root = format!("{root}/nowhere");
    machine.sign_as_it_is();
    not_begun(&machine, "tree `nginx`: its root");
    machine.manifest.trees[0].root.clone_from(&root);
    let link = machine.path("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    machine.manifest.trees[0].root = link.to_str().unwrap().into();
    machine.sign_as_it_is();
    not_begun(&machine, "is a link");
    machine.manifest.trees.remove(0);
    machine.manifest.trees[0].root = machine.path("").to_str().unwrap().trim_end_matches('/').into();
    machine.manifest.trees[0].entries.clear();
    machine.sign_as_it_is();
    not_begun(&machine, "the state directory");
    machine.manifest.trees[0].ignore = vec!["/state/".into(), "/run/".into()];
    machine.sign_as_it_is();
    machine.apply(&["--guards-are-enough"], "true").is(0, "confirmed");
    fs::remove_dir_all(machine.change()).unwrap();
    fs::write(machine.path("manifest.json"), "{}").unwrap();
    not_begun(&machine, "no manifest that says what is managed");
}

/// Nothing is remembered, run or undone; nor is it where only the kernel can tell.
#[test]
fn a_command_that_cannot_be_run() {
    let machine = Machine::new();
    fs::write(machine.path("text"), "#!/bin/sh\n").unwrap();
    let script = machine.path("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let text = machine.text("agent.toml");
    let trace = machine.path("trace");
    let undo = format!("undo = [[\"touch\",\"{}\"],", trace.display());
    fs::write(machine.path("agent.toml"), text.replace("undo = [", &undo)).unwrap();
    for (command, said) in [
        ("no-such-program", "the command cannot be run: `no-such-program` is no program"),
        ("/no/such/program", "the command cannot be run: `/no/such/program` is no program"),
        (machine.path("text").to_str().unwrap(), "/text` is no program"),
        (machine.path("etc").to_str().unwrap(), "/etc` is no program"),
        (script.to_str().unwrap(), "the command cannot be run: No such file"),
    ] {
        machine.run("apply", &["--confirm-within", "1h", "--", command]).is(2, said);
        assert!(machine.journal().is_none(), "nothing is left of it: {command}");
        assert!(!trace.exists(), "no undo command ran: {command}");
    }
    eventually("nobody waits", || machine.undoers().is_empty().then_some(()));
}

#[test]
fn undo_commands_must_be_able_to_run() {
    let machine = Machine::new();
    let text = machine.text("agent.toml");
    fs::write(machine.path("agent.toml"), text.replace("undo = [", "undo = [[\"no-such-program\"],")).unwrap();
    not_begun(&machine, "`apply.undo`: `no-such-program` is not in");
    fs::write(machine.path("agent.toml"), text.replace("undo = [", "undo = [[\"bin/relative\"],")).unwrap();
    not_begun(&machine, "`apply.undo`: a command begins with a program");
    // One that fails is told, and keeps nothing from being put back.
    fs::write(machine.path("agent.toml"), text.replace("undo = [", "undo = [[\"sh\",\"-c\",\"echo no; exit 3\"],"))
        .unwrap();
    let before = machine.picture();
    machine.apply(&[], &format!("{} exit 1", machine.say("two"))).is(1, "exit 3`: exit status: 3: no");
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
}
