//! For those who never type `apply`: a live edit that breaks a guard goes by itself, if its tree says so.

use std::{fs, process::Stdio, thread, time::Duration};

use portcullis::{facts::Template, manifest::EntryKind};

use crate::fixture::{Agent, Machine, eventually, free_address};

const SITE: &str = "etc/nginx/conf.d/site.conf";

fn watched(machine: &Machine) -> Agent {
    let log = fs::File::create(machine.path("agent.log")).unwrap();
    let agent = Agent(machine.agent("run", &[]).stderr(Stdio::from(log)).spawn().unwrap());
    eventually("ready", || machine.text("agent.log").contains("INFO ready").then_some(()));
    agent
}

fn restored() -> Machine {
    let mut machine = Machine::new();
    machine.manifest.trees[0].restore = true;
    machine.sign_as_it_is();
    machine
}

fn log(machine: &Machine) -> String {
    fs::read_to_string(machine.path("state/restored/log")).unwrap_or_default()
}

/// All files that were kept, by their end.
fn kept(machine: &Machine, name: &str) -> Vec<String> {
    let edits = fs::read_dir(machine.path("state/restored")).unwrap().flatten();
    edits.filter_map(|edit| fs::read_to_string(edit.path().join("tree nginx").join(name)).ok()).collect()
}

#[test]
fn an_edit_that_breaks_a_guard_is_undone() {
    let machine = restored();
    let agent = watched(&machine);
    let right = machine.text(SITE);
    // Well-formed, loaded, and nobody is served any more.
    let wrong = right.replace(&machine.web.to_string(), &free_address().to_string());
    fs::write(machine.path(SITE), &wrong).unwrap();
    machine.nginx(&["-s", "reload"]);
    eventually("put back", || (machine.text(SITE) == right).then_some(()));
    machine.until_page("one");
    eventually("told", || log(&machine).contains("guard `web answers`: pass").then_some(()));
    assert!(log(&machine).contains("restoring nginx: guard `web answers`: fail"), "{}", log(&machine));
    assert!(log(&machine).contains("nginx: conf.d/site.conf: content put back"));
    assert_eq!(kept(&machine, "conf.d/site.conf"), [wrong]);
    eventually("the agent's log", || machine.text("agent.log").contains("restore: ").then_some(()));
    let address = machine.text("agent.log").split_once("http://").unwrap().1.split_once('\n').unwrap().0.to_string();
    eventually("ready again", || (machine.run("status", &["--listen", &address]).exit == Some(0)).then_some(()));
    machine.run("status", &["--listen", &address]).is(0, "restoring nginx: guard `web answers`: fail");
    drop(agent);
}

/// No round is due for an hour: the guards are asked as soon as the edit is seen.
#[test]
fn an_edit_is_undone_long_before_a_round() {
    let machine = restored().hourly();
    let _agent = watched(&machine);
    let right = machine.text(SITE);
    for times in 1..=2 {
        fs::write(machine.path(SITE), "no such directive;").unwrap();
        eventually("put back", || (machine.text(SITE) == right).then_some(()));
        eventually("done", || (log(&machine).matches("guard `nginx parses`: pass").count() == times).then_some(()));
    }
}

/// First the edit, which is no harm by itself, then, a moment later, the reload, which no watch tells of.
#[test]
fn the_guards_are_asked_for_a_while() {
    let machine = restored().hourly();
    let _agent = watched(&machine);
    let right = machine.text(SITE);
    fs::write(machine.path(SITE), right.replace(&machine.web.to_string(), &free_address().to_string())).unwrap();
    eventually("looked into", || machine.path("state/restored/lock").exists().then_some(()));
    thread::sleep(Duration::from_secs(2));
    assert!(machine.text(SITE) != right, "nothing is wrong yet");
    machine.nginx(&["-s", "reload"]);
    eventually("put back", || (machine.text(SITE) == right).then_some(()));
    machine.until_page("one");
}

/// What was never right is a deploy's business.
#[test]
fn not_before_it_serves() {
    let machine = restored();
    fs::write(machine.path(SITE), "no such directive;").unwrap();
    let log = fs::File::create(machine.path("agent.log")).unwrap();
    let _agent = Agent(machine.agent("run", &[]).stderr(Stdio::from(log)).spawn().unwrap());
    eventually("checked", || machine.text("agent.log").contains("checks_failing").then_some(()));
    thread::sleep(Duration::from_secs(4));
    assert_eq!(machine.text(SITE), "no such directive;");
    assert!(!machine.path("state/restored").exists());
}

#[test]
fn what_was_added_is_moved_away_and_what_is_gone_comes_back() {
    let machine = restored();
    let _agent = watched(&machine);
    let evil = "no such directive;";
    fs::remove_file(machine.path("etc/nginx/part-1")).unwrap();
    fs::write(machine.path("etc/nginx/conf.d/evil.conf"), evil).unwrap();
    eventually("moved", || (!machine.path("etc/nginx/conf.d/evil.conf").exists()).then_some(()));
    eventually("back", || machine.path("etc/nginx/part-1").exists().then_some(()));
    machine.nginx(&["-t"]);
    assert_eq!(kept(&machine, "conf.d/evil.conf"), [evil]);
}

#[test]
fn not_where_nobody_asked_for_it() {
    let machine = Machine::new();
    let _agent = watched(&machine);
    fs::write(machine.path(SITE), "no such directive;").unwrap();
    eventually("noticed", || machine.text("agent.log").contains("drift: ").then_some(()));
    thread::sleep(Duration::from_secs(4));
    assert_eq!(machine.text(SITE), "no such directive;");
    assert!(!machine.path("state/restored").exists());
}

#[test]
fn an_edit_that_breaks_nothing_is_left_alone() {
    let machine = restored();
    let _agent = watched(&machine);
    let edited = format!("# by hand\n{}", machine.text(SITE));
    fs::write(machine.path(SITE), &edited).unwrap();
    eventually("looked into", || machine.path("state/restored/lock").exists().then_some(()));
    thread::sleep(Duration::from_secs(4));
    assert_eq!((machine.text(SITE), log(&machine)), (edited, String::new()));
}

#[test]
fn a_guard_that_fails_for_another_reason_restores_nothing() {
    let machine = restored();
    let _agent = watched(&machine);
    machine.nginx(&["-s", "stop"]);
    eventually("noticed", || machine.text("agent.log").contains("drift: ").then_some(()));
    thread::sleep(Duration::from_secs(3));
    assert!(!machine.path("state/restored").exists());
    machine.nginx(&[]);
}

/// A file whose text the manifest does not have stays as it is found, and that is said.
#[test]
fn secrets_cannot_be_restored() {
    let mut machine = Machine::new();
    fs::write(machine.path("etc/nginx/secret.pem"), "key").unwrap();
    machine.sign();
    machine.manifest.trees[0].restore = true;
    machine.sign_as_it_is();
    let _agent = watched(&machine);
    let right = machine.text(SITE);
    fs::write(machine.path("etc/nginx/secret.pem"), "another").unwrap();
    fs::write(machine.path(SITE), "no such directive;").unwrap();
    eventually("put back", || (machine.text(SITE) == right).then_some(()));
    eventually("told", || {
        log(&machine).contains("secret.pem: content: not restored: the manifest does not have its text").then_some(())
    });
    assert_eq!(machine.text("etc/nginx/secret.pem"), "another");
}

/// A file that is rendered from a template is put back as it renders here.
#[test]
fn what_is_rendered_is_restored() {
    let mut machine = Machine::new();
    fs::write(machine.path("etc/nginx/name.conf"), "name shop;\n").unwrap();
    machine.sign();
    let tree = &mut machine.manifest.trees[0];
    tree.restore = true;
    let entry = tree.entries.iter_mut().find(|entry| entry.path == b"name.conf").unwrap();
    entry.kind = EntryKind::Template { template: Template::parse("name {{ name }};\n").unwrap() };
    machine.sign_as_it_is();
    let machine = machine.with("[facts]\nname = \"shop\"");
    let _agent = watched(&machine);
    let right = machine.text(SITE);
    fs::write(machine.path("etc/nginx/name.conf"), "name other;\n").unwrap();
    fs::write(machine.path(SITE), "no such directive;").unwrap();
    eventually("put back", || (machine.text(SITE) == right).then_some(()));
    eventually("done", || log(&machine).contains("guard `nginx parses`: pass").then_some(()));
    assert_eq!(machine.text("etc/nginx/name.conf"), "name shop;\n", "{}", log(&machine));
    assert!(!log(&machine).contains("not restored"), "{}", log(&machine));
}

/// While a change is tried it is `apply`'s business.
#[test]
fn not_while_a_change_is_open() {
    let machine = restored();
    let _agent = watched(&machine);
    let script = format!("echo 'no such directive;' >>{}", machine.path(SITE).display());
    machine.apply(&["--confirm-within", "6s"], &script).is(1, "nginx: conf.d/site.conf: content put back");
    assert_eq!(log(&machine), "");
    eventually("the agent's log", || machine.text("agent.log").contains("undone at ").then_some(()));
}

/// Whatever edits again and again is stronger: after three times it is only told.
#[test]
fn not_for_ever() {
    let machine = restored();
    let _agent = watched(&machine);
    let right = machine.text(SITE);
    for times in 1..=3 {
        fs::write(machine.path(SITE), "no such directive;").unwrap();
        eventually("put back", || (machine.text(SITE) == right).then_some(()));
        eventually("done", || (log(&machine).matches("guard `nginx parses`: pass").count() == times).then_some(()));
    }
    fs::write(machine.path(SITE), "no such directive;").unwrap();
    eventually("told", || log(&machine).contains("not restored: guard `nginx parses`: fail").then_some(()));
    assert!(log(&machine).contains("3 times in 10 min"));
    assert_eq!(machine.text(SITE), "no such directive;");
    assert_eq!(kept(&machine, "conf.d/site.conf").len(), 3);
}
