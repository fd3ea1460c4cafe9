//! Whoever asked, and whoever waits, is killed, or the machine is started anew: all is undone all the same.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use crate::fixture::{AGENT, Agent, Applying, Machine, Ran, eventually, kill};

#[test]
fn the_shell_and_apply_are_killed() {
    let machine = Machine::new();
    let before = machine.picture();
    // A shell like one's own: it waits for `apply`, and both go at once, with all that is in their process group.
    let script = machine.say("two");
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\"; :", "sh", AGENT, "apply", "--config"]).arg(machine.path("agent.toml"));
    shell.args(["--confirm-within", "4s", "--", "sh", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    let shell = Applying::of(&mut shell);
    machine.until_exited();
    machine.until_page("two");
    drop(shell);
    assert_eq!(machine.undoers().len(), 1, "it lives on");
    machine.until_at("undone");
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
    eventually("it ends", || machine.undoers().is_empty().then_some(()));
}

#[test]
fn the_command_is_killed_with_the_shell_half_way() {
    let machine = Machine::new();
    let before = machine.picture();
    let (etc, script) = (machine.path("etc/nginx"), machine.say("two"));
    let script = format!("{script} echo x >{0}/added; rm {0}/part-1; sleep 1000", etc.display());
    let applying = machine.applying(&["--confirm-within", "3s"], &script);
    eventually("it has begun", || (!machine.path("etc/nginx/part-1").exists()).then_some(()));
    kill("-KILL", &[-applying.pid()]);
    machine.until_at("undone");
    assert_eq!(machine.picture(), before);
}

/// It is in no session and no process group of the one who asked, and no child of his.
#[test]
fn the_one_who_waits_is_nobodys_child() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "1h"], "true");
    machine.until_exited();
    let [undoer] = machine.undoers()[..] else { panic!("one waits") };
    let stat = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let field = |pid: i32, n: usize| -> i32 {
        let stat = stat(pid);
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(n).unwrap().parse().unwrap()
    };
    let (parent, group, session) = (1, 2, 3);
    assert_ne!(field(undoer, parent), applying.pid());
    assert_ne!(field(undoer, parent), i32::try_from(std::process::id()).unwrap());
    assert_ne!(field(undoer, group), field(applying.pid(), group));
    assert_ne!(field(undoer, session), field(applying.pid(), session));
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{undoer}/fd/{fd}")).unwrap().to_str(), Some("/dev/null"));
    }
}

#[test]
fn a_lost_session_is_no_confirmation() {
    let machine = Machine::new();
    let before = machine.picture();
    let applying = machine.applying(&["--guards-are-enough", "--confirm-within", "4s"], "sleep 1");
    machine.until_at("open");
    let by_hand = machine.path("etc/nginx/added");
    fs::write(by_hand, "").unwrap();
    kill("-HUP", &[applying.pid()]);
    applying.ended().is(2, "open: undone in ");
    machine.until_at("undone");
    assert_eq!(machine.picture(), before);
}

#[test]
fn a_person_may_confirm_after_the_session_was_lost() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "60s"], &machine.say("two"));
    machine.until_exited();
    kill("-KILL", &[applying.pid()]);
    assert_eq!(applying.ended().exit, None);
    machine.run("confirm", &[]).is(0, "confirmed by");
    machine.until_page("two");
    eventually("nobody waits any more", || machine.undoers().is_empty().then_some(()));
}

#[test]
fn an_interrupt_undoes_at_once() {
    for signal in ["-INT", "-TERM"] {
        let machine = Machine::new();
        let before = machine.picture();
        let applying = machine.applying(&["--confirm-within", "1h"], &format!("{} sleep 1000", machine.say("two")));
        machine.until_page("two");
        kill(signal, &[applying.pid()]);
        applying.ended().is(1, "it was interrupted");
        assert_eq!(machine.picture(), before);
        machine.until_page("one");
    }
}

#[test]
fn whoever_waits_is_killed_and_replaced() {
    let machine = Machine::new();
    let before = machine.picture();
    let applying = machine.applying(&["--confirm-within", "6s"], &machine.say("two"));
    machine.until_exited();
    let first = machine.undoers();
    kill("-KILL", &first);
    eventually("another waits", || (!machine.undoers().is_empty() && machine.undoers() != first).then_some(()));
    applying.ended().is(1, "whoever waited to undo is gone; started anew");
    assert_eq!(machine.picture(), before);
}

/// Nobody is left at all but the agent: it finds what is open.
#[test]
fn all_are_killed_but_the_agent() {
    let machine = Machine::new();
    let before = machine.picture();
    let agent = Agent(machine.agent("run", &[]).stderr(Stdio::null()).spawn().unwrap());
    let applying = machine.applying(&["--confirm-within", "3s"], &machine.say("two"));
    machine.until_exited();
    kill("-KILL", &[applying.pid()]);
    kill("-KILL", &machine.undoers());
    machine.until_at("undone");
    drop(agent);
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
}

/// Killed while the agent is killed too: the one who waits needs neither.
#[test]
fn the_agent_is_killed_as_well() {
    let machine = Machine::new();
    let before = machine.picture();
    let agent = Agent(machine.agent("run", &[]).stderr(Stdio::null()).spawn().unwrap());
    let applying = machine.applying(&["--confirm-within", "4s"], &machine.say("two"));
    machine.until_exited();
    drop(agent);
    kill("-KILL", &[-applying.pid()]);
    machine.until_at("undone");
    assert_eq!(machine.picture(), before);
}

/// A thousand files and more are being put back when it is killed, again and again: whoever begins anew completes it.
#[test]
fn killed_half_way_through_undoing() {
    const FILES: usize = 1_500;
    let mut machine = Machine::new();
    let many = machine.path("www/many");
    fs::create_dir(&many).unwrap();
    for n in 0..FILES {
        fs::write(many.join(n.to_string()), format!("before {n}")).unwrap();
    }
    machine.sign();
    let before = machine.picture();
    let script = format!("cd {}; for n in *; do echo after >$n; done; touch added", many.display());
    let applying = machine.applying(&["--confirm-within", "1h"], &script);
    machine.until_exited();
    kill("-KILL", &[applying.pid()]);
    let is_back = |n: usize| fs::read_to_string(many.join(n.to_string())).is_ok_and(|text| text.starts_with("before"));
    let back = || (0..FILES).filter(|&n| is_back(n)).count();
    let mut cut_short = 0;
    let undo = Applying::of(machine.agent("undo", &[]).stdout(Stdio::null()).stderr(Stdio::null()));
    for round in 1..=3 {
        eventually("some are back", || (back() > round * FILES / 8).then_some(()));
        kill("-KILL", &machine.undoers());
        cut_short += usize::from(machine.is_at("undoing") && back() < FILES);
    }
    drop(undo);
    kill("-KILL", &machine.undoers());
    assert!(cut_short > 0, "it was never cut short: this test shows nothing");
    machine.run("undo", &["--pending"]).is(0, "undone at");
    assert_eq!(machine.picture(), before);
}

#[test]
fn the_machine_is_started_anew_half_way() {
    for by_agent in [false, true] {
        let machine = Machine::new();
        let before = machine.picture();
        let applying = machine.applying(&["--confirm-within", "1h"], &format!("{} sleep 1000", machine.say("two")));
        machine.until_page("two");
        kill("-KILL", &[-applying.pid()]);
        kill("-KILL", &machine.undoers());
        drop(applying);
        assert!(machine.is_at("open"));
        machine.run("undo", &["--pending", "--at-boot"]).is(0, "");
        assert!(machine.is_at("open"), "not in this boot");
        fs::write(machine.path("boot_id"), "boot-2\n").unwrap();
        if by_agent {
            let _agent = Agent(machine.agent("run", &[]).stderr(Stdio::null()).spawn().unwrap());
            machine.until_at("undone");
            machine.until_page("one");
        } else {
            machine
                .run("undo", &["--pending", "--at-boot"])
                .is(0, "the machine was started anew before it was confirmed");
            assert_eq!(machine.page(), "two", "no command is run: services are not up yet");
            machine.run("undo", &["--pending", "--at-boot"]).is(0, "");
        }
        assert_eq!(machine.picture(), before);
    }
}

/// Killed, but not gone yet, when the agent looks who waits: it looks again.
#[test]
fn whoever_waits_ends_while_the_agent_starts() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "1h"], "true");
    machine.until_exited();
    kill("-KILL", &[-applying.pid()]);
    kill("-KILL", &machine.undoers());
    let lock = fs::File::open(machine.change().join("undoer.lock")).unwrap();
    lock.lock().unwrap();
    fs::write(machine.path("boot_id"), "boot-2\n").unwrap();
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let began = now();
    let _agent = Agent(machine.agent("run", &[]).stderr(Stdio::null()).spawn().unwrap());
    thread::sleep(Duration::from_millis(500));
    drop(lock);
    machine.until_at("undone");
    assert!(now() - began < Duration::from_secs(30), "{:?}", now() - began);
}

/// One that was confirmed is nobody's business after a reboot; one that had not begun is forgotten.
#[test]
fn what_is_settled_stays_settled() {
    let machine = Machine::new();
    machine.apply(&["--guards-are-enough"], &machine.say("two")).is(0, "confirmed");
    let after = machine.picture();
    fs::write(machine.path("boot_id"), "boot-2\n").unwrap();
    machine.run("undo", &["--pending"]).is(0, "");
    assert_eq!(machine.picture(), after);
    let change = machine.change();
    let half = change.with_file_name("20200101000000-0000");
    fs::create_dir(&half).unwrap();
    let journal = fs::read_to_string(change.join("journal.json")).unwrap();
    let mut journal: serde_json::Value = serde_json::from_str(&journal).unwrap();
    journal["stage"] = "remembering".into();
    fs::write(half.join("journal.json"), journal.to_string()).unwrap();
    machine.apply(&["--guards-are-enough"], "true").is(0, "confirmed");
    assert!(!half.exists());
}

/// Of two who are asked to undo at the same time, one does.
#[test]
fn two_undo_at_the_same_time() {
    let machine = Machine::new();
    let before = machine.picture();
    let applying = machine.applying(&["--confirm-within", "1h"], &machine.say("two"));
    machine.until_exited();
    let others: Vec<_> =
        (0..3).map(|_| Applying::of(machine.agent("undo", &[]).stdout(Stdio::null()).stderr(Stdio::null()))).collect();
    thread::sleep(Duration::from_millis(50));
    applying.ended().is(1, "undone at");
    others.into_iter().for_each(|other| drop(other.ended()));
    let log = fs::read_to_string(machine.change().join("log")).unwrap();
    assert_eq!(log.matches("content put back").count(), 1, "{log}");
    assert_eq!(machine.picture(), before);
    Ran::of(&mut machine.agent("undo", &["--pending"])).is(0, "");
}

/// As after a session without a terminal, which ends without a signal.
#[test]
fn nobody_listens_any_more() {
    let machine = Machine::new();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for (options, exit) in [(&["--confirm-within", "3s"][..], 1), (&["--guards-are-enough"], 0)] {
        let mut apply = machine.agent("apply", &[options, &["--", "true"]].concat());
        assert_eq!(apply.stdout(full()).stderr(full()).status().unwrap().code(), Some(exit));
    }
}

/// The command removes what was remembered: nothing can be undone, and that is said.
#[test]
fn what_was_remembered_is_removed() {
    let machine = Machine::new();
    let state = machine.path("state");
    let ran = machine.apply(&["--confirm-within", "5s"], &format!("rm -r {}", state.display()));
    ran.is(2, "is neither confirmed nor undone: what was remembered of it is gone");
}
