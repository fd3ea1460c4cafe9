//! Commands: what they get, and what becomes of them.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command, time::Duration};

use crate::fixture::{AGENT, Run, fixture, is_root};

/// Of a script that fails, so that its output is told.
fn output_of(script: &str) -> String {
    let run = fixture().with_script(&format!("{script}; exit 3"), 10_000).json();
    let (status, reason) = run.outcome(1);
    assert_eq!((run.exit, status.as_str()), (1, "fail"), "{run:?}");
    reason.strip_prefix("expected exit 0, actual exit 3").unwrap().trim_start_matches(": ").into()
}

#[test]
fn the_exit_status_decides() {
    let run = fixture().with_command(&["true"], 5_000).with_command(&["false"], 5_000).json();
    assert_eq!(run.exit, 1);
    assert_eq!(run.outcome(1), ("pass".into(), String::new()));
    assert_eq!(run.outcome(2), ("fail".into(), "expected exit 0, actual exit 1".into()));
    assert_eq!(output_of("echo one; echo two >&2"), "one\ntwo");
}

#[test]
fn nothing_of_the_agents_environment() {
    let environment = output_of("/usr/bin/env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort");
    assert_eq!(environment, "LANG=C.UTF-8\nPATH=/usr/sbin:/usr/bin:/sbin:/bin");
    assert_eq!(output_of("pwd; readlink /proc/self/fd/0"), "/\n/dev/null");
    assert_eq!(output_of("grep NoNewPrivs /proc/self/status | tr -d '\\t'"), "NoNewPrivs:1");
    assert_eq!(output_of("ulimit -c; ulimit -n"), "0\n1024");
}

/// What the agent itself was given by whoever started it (here: nothing) is another matter.
#[test]
fn no_descriptor_of_the_agents() {
    let fixture = fixture().with_script("ls /proc/self/fd; exit 1", 5_000);
    let close = "for fd in $(ls /proc/$$/fd); do [ $fd -le 2 ] || eval \"exec $fd>&-\"; done; exec \"$@\"";
    let mut command = Command::new("bash");
    let run = Run::of(command.args(["-c", close, "bash", AGENT]).args(fixture.arguments()).arg("--json"));
    // 3 is the directory that is being listed.
    assert_eq!(run.outcome(1).1, "expected exit 0, actual exit 1: 0\n1\n2\n3");
}

#[test]
fn an_unprivileged_user() {
    if is_root("another user") {
        assert_eq!(output_of("id -u; id -g; id -G"), "65534\n65534\n65534");
        assert_eq!(output_of("grep CapEff /proc/self/status | tr -d '\\t'"), "CapEff:0000000000000000");
    }
}

#[test]
fn no_shell() {
    let fixture = fixture();
    let trap = fixture.at("trap");
    fs::create_dir(fixture.at("open")).unwrap();
    fs::set_permissions(fixture.at("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let trick = format!("$(touch {0}); `touch {0}` | touch {0} & > {0}", trap.display());
    let run = fixture.with_command(&["echo", &trick], 5_000).with_command(&["true; true"], 5_000).json();
    assert_eq!(run.outcome(1).0, "pass");
    assert_eq!(
        run.outcome(2),
        ("unknown".into(), "not run: `true; true` is not in /usr/sbin:/usr/bin:/sbin:/bin".into())
    );
    assert!(!trap.exists());
    assert_eq!(run.exit, 2);
}

#[test]
fn a_program_that_others_can_change_is_not_run() {
    let fixture = fixture();
    let program = fixture.at("program");
    fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = fixture.with_command(&[program.to_str().unwrap()], 5_000).json();
    let (status, reason) = run.outcome(1);
    assert_eq!((run.exit, status.as_str()), (2, "unknown"));
    assert!(reason.contains("can be written by others than root") || reason.contains("not owned by root"), "{reason}");
}

#[test]
fn not_before_every_tree_passes() {
    let fixture = fixture().with_command(&["true"], 5_000);
    fs::write(fixture.app("extra"), "").unwrap();
    let run = fixture.json();
    assert_eq!(run.outcome(1), ("unknown".into(), "not run: tree `app` did not pass".into()));
}

#[test]
fn a_flood_is_cut_off() {
    let run = fixture().with_command(&["yes", "abcdefg"], 20_000).json();
    let (status, reason) = run.outcome(1);
    assert_eq!((run.exit, status.as_str()), (2, "unknown"));
    assert!(reason.starts_with("killed: it wrote more than 1048576 bytes: abcdefg\n"), "{reason}");
    assert!(reason.len() < 5_000);
    assert!(run.value()["took_ms"].as_u64().unwrap() < 10_000);
}

#[test]
fn what_is_slow_keeps_nothing_else_from_its_turn() {
    let mut fixture = fixture();
    for _ in 0..3 {
        fixture = fixture.with_command(&["sleep", "100"], 700);
    }
    let run = fixture.with_command(&["true"], 5_000).json();
    assert_eq!(run.outcome(1), ("unknown".into(), "killed: not done after 700 ms".into()));
    assert_eq!(run.outcome(4).0, "pass");
    assert!(run.value()["took_ms"].as_u64().unwrap() < Duration::from_secs(5).as_millis() as u64);
}

#[test]
fn a_crash_is_no_answer() {
    let run = fixture().with_script("kill -SEGV $$", 5_000).with_script("kill -KILL $$", 5_000).json();
    assert_eq!(run.outcome(1), ("unknown".into(), "killed by signal 11".into()));
    assert_eq!(run.outcome(2), ("unknown".into(), "killed by signal 9".into()));
}
