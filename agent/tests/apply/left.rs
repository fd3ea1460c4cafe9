//! What is left of changes: by whoever was killed, or by time.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::fixture::{AGENT, Agent, Machine, eventually, kill};

fn agent(machine: &Machine) -> Agent {
    Agent(machine.agent("run", &[]).stderr(Stdio::null()).spawn().unwrap())
}

/// A folder of a change that is like the last one, but for its name, and for what is said here.
fn another(machine: &Machine, name: &str, change: impl Fn(&mut serde_json::Value)) -> PathBuf {
    let mut journal = machine.journal().unwrap();
    journal["id"] = name.into();
    change(&mut journal);
    let folder = machine.path("state/apply").join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("journal.json"), journal.to_string()).unwrap();
    folder
}

/// The number that the command had is another's, perhaps, in this boot.
#[test]
fn nothing_of_this_boot_is_killed_for_a_change_of_the_last() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "1h"], "exec sleep 1000");
    let command = eventually("it runs", || machine.journal()?["running"]["pid"].as_i64());
    kill("-KILL", &[applying.pid()]);
    kill("-KILL", &machine.undoers());
    fs::write(machine.path("boot_id"), "boot-2\n").unwrap();
    machine.run("undo", &["--pending"]).is(0, "the machine was started anew");
    let state = fs::read_to_string(format!("/proc/{command}/stat")).unwrap_or_default();
    assert!(state.contains(") S "), "it sleeps on: {state}");
}

/// Whoever asked was killed before anything was changed: the one who was to wait has nothing to wait for.
#[test]
fn who_waits_for_what_never_began() {
    let machine = Machine::new();
    machine.apply(&["--guards-are-enough"], "true").is(0, "confirmed");
    let folder = another(&machine, "20200101000000-0000", |journal| journal["stage"] = "remembering".into());
    let mut waiting = Agent(Command::new(AGENT).arg("__undo").arg(folder).spawn().unwrap());
    let status = eventually("it ends", || waiting.0.try_wait().unwrap());
    assert!(status.success());
}

/// Whoever waited was killed just before it was confirmed: the agent removes the copies.
#[test]
fn copies_that_nobody_needs() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "1h"], "true");
    machine.until_exited();
    kill("-KILL", &[applying.pid()]);
    kill("-KILL", &machine.undoers());
    machine.run("confirm", &[]).is(0, "confirmed by");
    let copies = machine.change().join("copies");
    assert!(copies.exists());
    let _agent = agent(&machine);
    eventually("they are gone", || (!copies.exists()).then_some(()));
}

/// What could not be put back is tried again by the agent, but not all the time.
#[test]
fn what_could_not_be_undone_is_tried_again() {
    let machine = Machine::new();
    let before = machine.picture();
    fs::write(machine.path("www.portcullis-aside"), "").unwrap();
    let script = format!("cd {}; rm -r www; echo now >www; exit 1", machine.path("").display());
    machine.apply(&[], &script).is(2, "no free name");
    eventually("who tried is gone", || machine.undoers().is_empty().then_some(()));
    fs::remove_file(machine.path("www.portcullis-aside")).unwrap();
    let journal = machine.change().join("journal.json");
    let aged = |age: &str| assert!(Command::new("touch").args(["-d", age]).arg(&journal).status().unwrap().success());
    aged("now");
    let _agent = agent(&machine);
    thread::sleep(Duration::from_secs(5));
    assert!(machine.is_at("undoing"), "it was tried a moment ago");
    aged("31 seconds ago");
    machine.until_at("undone");
    assert_eq!(machine.picture(), before);
}

/// The last twenty, with what they replaced.
#[test]
fn changes_of_long_ago_are_forgotten() {
    let machine = Machine::new();
    machine.apply(&["--guards-are-enough"], "true").is(0, "confirmed");
    for n in 0..21_u64 {
        another(&machine, &format!("20200101000000-{n:04}"), |journal| {
            journal["began_at"] = (1_577_836_800_000_u64 + n).into();
        });
    }
    machine.apply(&["--guards-are-enough"], "true").is(0, "confirmed");
    let folders = fs::read_dir(machine.path("state/apply")).unwrap().flatten();
    let mut kept: Vec<_> = folders.filter(|item| item.path().is_dir()).map(|item| item.file_name()).collect();
    kept.sort();
    assert_eq!((kept.len(), kept[0].to_str()), (20, Some("20200101000000-0003")));
}
