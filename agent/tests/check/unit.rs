//! Units of a real systemd: good ones, and each way not to be.

use std::{fs, os::unix::fs::symlink, process::Command};

use serde_json::Value;

use crate::fixture::{Fixture, copy_of_agent, fixture, is_root, untold};

/// By name: what the unit is, the check, and what is to come of it.
const UNITS: [(&str, &str, &str, &str); 15] = [
    ("good.service", "[Service]\nExecStart=/bin/sleep 1000", "", "pass"),
    (
        "young.service",
        "[Service]\nExecStart=/bin/sleep 1000",
        r#", up_for = "1h""#,
        "fail active for: expected 1h on end",
    ),
    ("settled.service", "[Service]\nExecStart=/bin/sleep 1000", r#", up_for = "500ms", restarts_max = 0"#, "pass"),
    // Started again and again; up for most of the time.
    ("loop.service", "[Service]\nExecStart=/bin/sleep 0.5\nRestart=always\nRestartSec=10ms", "", "fail "),
    (
        "slow.service",
        "[Service]\nExecStart=/bin/sleep 0.5\nRestart=always\nRestartSec=10ms",
        r#", restarts_max = 1, up_for = "0s""#,
        // Seen between two starts, it is not even active.
        "fail restarts: expected at most 1 | fail state: expected active, actual activating (auto-restart)",
    ),
    (
        "waiting.service",
        "[Service]\nExecStart=/bin/sh -c 'exit 4'\nRestart=always\nRestartSec=1h",
        "",
        "fail state: expected active, actual activating (auto-restart), exit 4",
    ),
    (
        "failed.service",
        "[Service]\nExecStart=/bin/sh -c 'exit 3'",
        "",
        "fail state: expected active, actual failed (failed), exit 3",
    ),
    (
        "stopped.service",
        "[Service]\nExecStart=/bin/sleep 1000",
        "",
        "fail state: expected active, actual inactive (dead)",
    ),
    ("broken.service", "[Service]\nType=simple", "", "fail unit: expected loaded, actual bad-setting"),
    (
        "changed.service",
        "[Service]\nExecStart=/bin/sleep 1000",
        "",
        "fail unit: expected as systemd has loaded it, actual its file was changed",
    ),
    ("reloaded.service", "[Service]\nExecStart=/bin/sleep 1000", "", "pass"),
    ("once.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true", "", "pass"),
    (
        "hollow.service",
        "[Service]\nRemainAfterExit=yes\nExecStart=/bin/true",
        "",
        "fail state: expected active, actual active (exited): nothing of it runs any more",
    ),
    ("up.target", "Description=Nothing but a name", "", "pass"),
    ("masked.service", "", "", "fail unit: expected loaded, actual masked"),
];

/// Starts what is to be started, waits for what takes time, and looks once.
const DRIVE: &str = r#"
for unit in good young settled loop slow waiting failed changed reloaded once hollow; do systemctl start $unit.service; done
systemctl start up.target
until [ "$(systemctl show --value --property=NRestarts slow.service)" -ge 2 ]; do sleep 0.1; done
until [ "$(systemctl show --value --property=SubState hollow.service)" = exited ]; do sleep 0.1; done
until [ "$(systemctl show --value --property=ActiveState failed.service)" = failed ]; do sleep 0.1; done
sleep 1.1
echo >>/etc/systemd/system/reloaded.service
systemctl daemon-reload
echo >>/etc/systemd/system/changed.service
"#;

/// What the agent says of every unit, under a systemd of its own.
fn under_systemd(fixture: &Fixture) -> Vec<Value> {
    let bench = fixture.at("app").parent().unwrap().to_path_buf();
    let units = bench.join("units");
    fs::create_dir(&units).unwrap();
    for (name, unit, ..) in UNITS.iter().filter(|(_, unit, ..)| !unit.is_empty()) {
        let unit = format!("[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n{unit}\n");
        fs::write(units.join(name), unit).unwrap();
    }
    symlink("/dev/null", units.join("masked.service")).unwrap();
    let at = |name: &str| bench.join(name).display().to_string();
    let drive =
        format!("[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh {}\n", at("drive.sh"));
    fs::write(units.join("drive.service"), drive).unwrap();
    copy_of_agent(&bench.join("agent"));
    let check = format!("{} {} --json >{} 2>{}", at("agent"), fixture.arguments().join(" "), at("json"), at("stderr"));
    fs::write(bench.join("drive.sh"), format!("{DRIVE}\n{check}\nsystemctl exit 42\n")).unwrap();
    let boot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd.sh");
    let mut systemd = Command::new("timeout");
    systemd.args([
        "--signal=KILL",
        "60",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--uts",
        "--ipc",
        "--cgroup",
        "--net",
    ]);
    let output = systemd.args(["sh", boot]).arg(&bench).arg("drive.service").output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    let told = fs::read_to_string(bench.join("stderr")).unwrap();
    let json = fs::read_to_string(bench.join("json")).unwrap();
    let value: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}{told}"));
    value["outcomes"].as_array().unwrap().clone()
}

#[test]
fn as_a_real_systemd_says() {
    if !is_root("namespaces") {
        return;
    }
    let table = |(name, _, more, _): &(&str, &str, &str, &str)| {
        format!("[[check]]\nname = \"{name}\"\nunit = {{ unit = \"{name}\"{more} }}\n")
    };
    let absent = "[[check]]\nname = \"absent\"\nunit = { unit = \"absent.service\" }\n";
    let spec: String = UNITS.iter().map(table).chain([absent.into()]).collect();
    let outcomes = under_systemd(&fixture().with_spec(&spec));
    let expected = UNITS.iter().map(|(name, .., expected)| (*name, *expected));
    let expected = expected.chain([("absent", "fail unit: expected loaded, actual not-found")]);
    assert_eq!(outcomes.len(), 1 + UNITS.len() + 1);
    for (outcome, (name, expected)) in outcomes[1..].iter().zip(expected) {
        let reason = outcome["reason"].as_str().unwrap_or_default();
        let told = format!("{} {reason}", outcome["status"].as_str().unwrap());
        assert!(
            outcome["check"] == name && expected.split(" | ").any(|expected| told.trim().starts_with(expected.trim())),
            "{name}: {told}\nexpected: {expected}"
        );
        let warned = outcome["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        assert_eq!(warned, ["reloaded.service", "changed.service"].contains(&name), "{name}: {outcome}");
    }
}

#[test]
fn where_there_is_no_systemd() {
    if fs::exists("/run/systemd/system").unwrap() {
        return;
    }
    untold(r#"unit = { unit = "good.service" }"#, "systemd does not answer: System has not been booted with systemd");
}
