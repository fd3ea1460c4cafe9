//! Changes while all goes as it should: those that are good stay, those that are not go.

use std::fs;

use crate::fixture::{Machine, eventually, kill};

/// What the other tests stand on: once a page was waited for, no worker of before answers any more.
#[test]
fn no_page_of_before() {
    let machine = Machine::new();
    for word in ["two", "one", "two", "one"] {
        std::process::Command::new("sh").args(["-c", &machine.say(word)]).status().unwrap();
        machine.until_page(word);
        let pages: Vec<_> = (0..100).map(|_| machine.page()).collect();
        assert!(pages.iter().all(|page| page == word), "{pages:?}");
    }
}

#[test]
fn a_good_change_stays_when_a_person_confirms_it() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "60s"], &machine.say("two"));
    machine.until_exited();
    machine.until_page("two");
    let other = machine.apply(&[], "true");
    other.is(2, "another change");
    other.is(2, "confirm 2");
    machine.run("apply", &["--list"]).is(0, "open: undone in ");
    machine.run("confirm", &[]).is(0, "confirmed by");
    applying.ended().is(0, "by `confirm`");
    machine.until_page("two");
    assert!(machine.text("etc/nginx/conf.d/site.conf").contains("two"));
    machine.run("confirm", &[]).is(2, "no change is open");
    assert!(!machine.change().join("copies").exists());
}

#[test]
fn a_good_change_stays_by_its_guards_if_they_are_said_to_be_enough() {
    let machine = Machine::new();
    machine.apply(&["--guards-are-enough"], &machine.say("two")).is(0, "confirmed by the guards");
    machine.until_page("two");
}

#[test]
fn nobody_confirms() {
    let machine = Machine::new();
    let before = machine.picture();
    let ran = machine.apply(&["--confirm-within", "3s"], &machine.say("two"));
    ran.is(1, "it was not confirmed within 3s");
    ran.is(1, "not yet: a person has to confirm it: portcullis-agent confirm ");
    ran.is(1, "nginx: conf.d/site.conf: content put back");
    ran.is(1, "guard `nginx parses`: pass");
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
    let kept = machine.change().join("replaced/tree nginx/conf.d/site.conf");
    assert!(fs::read_to_string(kept).unwrap().contains("two"), "what was typed is not lost");
}

#[test]
fn a_broken_configuration_is_undone() {
    let machine = Machine::new();
    let before = machine.picture();
    let ran =
        machine.apply(&["--guards-are-enough", "--confirm-within", "4s"], &machine.break_it().replace("; ", "; true "));
    ran.is(1, "not yet: guard `nginx parses`: fail");
    assert_eq!(machine.picture(), before);
    machine.nginx(&["-t"]);
    // It goes on serving, also after a reload.
    machine.nginx(&["-s", "reload"]);
    machine.until_page("one");
}

#[test]
fn a_command_that_fails_is_undone_at_once() {
    let machine = Machine::new();
    let before = machine.picture();
    let script = format!("{} exit 7", machine.say("two"));
    machine.apply(&["--confirm-within", "1h"], &script).is(1, "the command ended with exit status: 7");
    machine.apply(&["--confirm-within", "1h"], "kill -KILL $$").is(1, "the command ended with signal: 9");
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
}

#[test]
fn a_guard_may_take_its_time() {
    let machine = Machine::new();
    // It is down when the guard is asked first, as that comes after the command; and up after two seconds.
    let script = format!(
        "{}; while [ -e {} ]; do sleep 0.01; done; (sleep 2; {}) >/dev/null 2>&1 &",
        machine.nginx_argv(&["-s", "stop"]).join(" "),
        machine.path("run/nginx.pid").display(),
        machine.nginx_argv(&[]).join(" ")
    );
    let ran = machine.apply(&["--guards-are-enough", "--confirm-within", "30s"], &script);
    ran.is(0, "not yet: guard `web answers`: fail");
    machine.until_page("one");
}

#[test]
fn a_command_that_does_not_end_is_killed_and_undone() {
    let machine = Machine::new();
    let before = machine.picture();
    let file = machine.path("etc/nginx/late");
    let script = format!("{} (sleep 6; echo late >{}) & sleep 100", machine.say("two"), file.display());
    machine.apply(&["--confirm-within", "3s"], &script).is(1, "the command was not done");
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(machine.picture(), before, "what it started writes no more");
}

#[test]
fn a_person_undoes_it() {
    let machine = Machine::new();
    let before = machine.picture();
    let applying = machine.applying(&["--confirm-within", "1h"], &machine.say("two"));
    machine.until_exited();
    machine.run("undo", &[]).is(0, "asked for it");
    applying.ended().is(1, "asked for it");
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
    let id = machine.journal().unwrap()["id"].as_str().unwrap().to_string();
    machine.run("confirm", &[&id]).is(2, "too late, it was undone");
    machine.run("undo", &["no-such"]).is(2, "no change `no-such` is known");
}

#[test]
fn a_person_cannot_confirm_what_breaks_a_guard() {
    let machine = Machine::new();
    let script = format!("echo 'no such directive;' >>{}", machine.path("etc/nginx/conf.d/site.conf").display());
    let applying = machine.applying(&["--confirm-within", "4s"], &script);
    machine.until_exited();
    machine.run("confirm", &[]).is(2, "guard `nginx parses`: fail");
    applying.ended().is(1, "undone at");
}

/// Nobody knows yet, or any more, how the command ended; a person may say so only once nobody else will.
#[test]
fn who_may_confirm_when() {
    let machine = Machine::new();
    let applying = machine.applying(&["--confirm-within", "1h"], "exec sleep 1000");
    let command = eventually("it runs", || machine.journal()?["running"]["pid"].as_i64());
    machine.run("confirm", &[]).is(2, "its command is still running");
    let rewritten = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut journal = machine.journal().unwrap();
        change(&mut journal);
        fs::write(machine.change().join("journal.json"), journal.to_string()).unwrap();
    };
    let running = machine.journal().unwrap()["running"].clone();
    rewritten(&|journal| journal["running"] = serde_json::Value::Null);
    machine.run("confirm", &[]).is(2, "its command is just ending");
    rewritten(&|journal| journal["running"] = running.clone());
    kill("-KILL", &[applying.pid()]);
    machine.run("confirm", &[]).is(2, "its command is still running");
    kill("-KILL", &[i32::try_from(command).unwrap()]);
    rewritten(&|journal| journal["exit"] = 3.into());
    machine.run("confirm", &[]).is(2, "its command ended with 3");
    rewritten(&|journal| journal["exit"] = serde_json::Value::Null);
    machine.run("confirm", &[]).is(0, "confirmed by");
}

#[test]
fn the_command_is_told_its_change() {
    let machine = Machine::new();
    let told = machine.path("told");
    machine.apply(&["--guards-are-enough"], &format!("echo $PORTCULLIS_APPLY >{}", told.display())).is(0, "confirmed");
    assert_eq!(machine.text("told").trim(), machine.journal().unwrap()["id"]);
}
