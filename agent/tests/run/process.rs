//! The process that checks: it ends with its agent, and takes its memory along.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    controller::Controller,
    fixture::{Agent, Machine, eventually},
};

/// Checking processes of an agent, by their command line.
fn checking(agent: &Agent) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent(*pid) == Some(agent.pid()) && command_line(*pid).contains("__check")).collect()
}

fn command_line(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn is_there(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists() && !command_line(pid).is_empty()
}

fn sleeping(seconds: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| command_line(*pid) == format!("sleep\0{seconds}\0")).collect()
}

/// Killed, it can tell nobody anything: its end must be enough.
#[test]
fn it_ends_with_its_agent_and_so_does_what_it_started() {
    for kill in [true, false] {
        let (machine, controller) = (Machine::new(), Controller::start());
        let seconds = if kill { "4001.5" } else { "4002.5" };
        controller.promotes(&machine.release("one", &["sleep", seconds]));
        let agent = machine.configured_for(controller.address).start();
        eventually("the command runs", || (!sleeping(seconds).is_empty()).then_some(()));
        let processes = checking(&agent);
        assert_eq!(processes.len(), 1);
        if kill {
            drop(agent);
        } else {
            assert!(agent.stop().1 < Duration::from_secs(5));
        }
        eventually("it ends", || (!is_there(processes[0])).then_some(()));
        eventually("the command ends", || sleeping(seconds).is_empty().then_some(()));
    }
}

/// Every file is read in the first round; nothing has changed in the others, nothing is read, and all pass.
#[test]
fn what_passed_is_remembered_and_a_change_is_seen_all_the_same() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start();
    agent.until_ready();
    let kept = || fs::read_dir(machine.path("state/cache")).ok()?.flatten().next().map(|entry| entry.path());
    eventually("kept", kept);
    controller.until_asked("/v1/report", 2);
    // The same length, and the times set back.
    let page = machine.path("site/index.html");
    let modified = fs::metadata(&page).unwrap().modified().unwrap();
    fs::write(&page, "<h1>SHOP</h1>\n").unwrap();
    fs::File::options().write(true).open(&page).unwrap().set_modified(modified).unwrap();
    agent.until_readyz_says("content: index.html");
}

#[test]
fn the_cache_can_be_switched_off() {
    let machine = Machine::new();
    fs::write(machine.path("manifest.json"), machine.release("one", &[]).envelope).unwrap();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\ncache = false\n").start();
    agent.until_ready();
    assert!(!machine.path("state/cache").exists());
}
