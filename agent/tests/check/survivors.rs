//! Nothing that a command started is left, however it hid.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::fixture::{fixture, is_root};

/// Sleepers that no other test has, by the seconds they sleep.
fn alive(seconds: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .filter(|line| line == format!("sleep\0{seconds}\0").as_bytes())
        .count()
}

fn soon_none(seconds: &str) -> bool {
    let deadline = now() + Duration::from_secs(10);
    while alive(seconds) > 0 && now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    alive(seconds) == 0
}

#[expect(clippy::disallowed_methods, reason = "real programs are waited for")]
fn now() -> Instant {
    Instant::now()
}

/// Children in sessions of their own, forked twice, without any pipe of ours.
fn hidden(seconds: &str) -> String {
    format!("for n in 1 2 3; do setsid sh -c 'setsid sleep {seconds} >/dev/null 2>&1 </dev/null &' & done; sleep 0.2")
}

#[test]
fn at_the_deadline() {
    let run = fixture().with_script(&format!("{}; sleep 4001.1", hidden("4001.1")), 1_500).json();
    assert_eq!(run.outcome(1), ("unknown".into(), "killed: not done after 1500 ms".into()));
    assert_eq!(alive("4001.1"), 0);
}

#[test]
fn after_an_exit() {
    let run = fixture().with_script(&hidden("4002.2"), 10_000).json();
    assert_eq!((run.outcome(1).0.as_str(), alive("4002.2")), ("pass", 0));
    assert!(run.value()["took_ms"].as_u64().unwrap() < 5_000, "nobody waits for what holds no pipe");
}

#[test]
fn one_that_keeps_the_pipe_open() {
    let run = fixture().with_script("setsid sleep 4003.3 & exit 0", 10_000).json();
    assert_eq!((run.outcome(1).0.as_str(), alive("4003.3")), ("pass", 0));
}

#[test]
fn without_a_cgroup() {
    if is_root("mounts") {
        let script = format!("{}; sleep 4004.4", hidden("4004.4"));
        let fixture = fixture().with_script(&script, 1_500);
        let run = fixture.json_after_mounting("umount -l -a -t cgroup2");
        assert_eq!(run.outcome(1), ("unknown".into(), "killed: not done after 1500 ms".into()), "{run:?}");
        assert_eq!(alive("4004.4"), 0);
    }
}

#[test]
fn when_the_agent_is_killed() {
    let fixture = fixture().with_script(&format!("{}; sleep 4005.5", hidden("4005.5")), 60_000);
    let mut agent = fixture.command(&["--json"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = now() + Duration::from_secs(20);
    while alive("4005.5") < 4 && now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(alive("4005.5"), 4);
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(soon_none("4005.5"));
}
