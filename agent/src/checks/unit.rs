//! `unit`: asks systemd by `systemctl show`, which answers about units that do not exist, too.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _};

use portcullis::{
    check::unit::{SETTLED, Unit},
    duration::Span,
    text,
};

use super::{Finding, Task, tool, uptime};
use crate::clock;

/// Asks once.
pub(super) fn run(wanted: &Unit, task: &Task<'_>) -> Finding {
    let property = format!("--property={}", PROPERTIES.join(","));
    match tool::run(&SYSTEMCTL, &["show", "--no-pager", &property, "--", &wanted.unit], task) {
        Ok(said) if said.success => judge(wanted, &Shown::parse(&said.stdout), clock::uptime_us()),
        Ok(said) => Finding::unknown(format!("systemd does not answer: {}", tool::complaint(&said))),
        Err(tool::Silent::Absent) => Finding::unknown("there is no systemd here: no `systemctl`"),
        Err(tool::Silent::Failed(why)) => Finding::unknown(why),
    }
}

/// What `systemctl show` said, property by property.
#[derive(Debug)]
struct Shown<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Shown<'a> {
    fn parse(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.split_once('=')).collect())
    }

    fn word(&self, property: &str) -> &'a str {
        self.0.get(property).copied().unwrap_or_default()
    }

    fn number(&self, property: &str) -> Option<u64> {
        self.word(property).parse().ok()
    }
}

/// `now_us` is of the monotonic clock.
fn judge(wanted: &Unit, shown: &Shown<'_>, now_us: u64) -> Finding {
    let judged = is_loaded(shown).and_then(|()| is_active(shown)).and_then(|()| has_settled(wanted, shown, now_us));
    let warning = changed_since_start(shown);
    Finding { warnings: warning.into_iter().collect(), ..judged.err().unwrap_or_else(Finding::pass) }
}

fn is_loaded(shown: &Shown<'_>) -> Result<(), Finding> {
    match shown.word("LoadState") {
        "loaded" => {}
        "" => return Err(Finding::unknown("systemd does not say whether it knows the unit")),
        state => return Err(Finding::fail("unit", "loaded", text::visible(state))),
    }
    if shown.word("NeedDaemonReload") == "yes" {
        let actual = "its file was changed after that; `systemctl daemon-reload`, then restart it";
        return Err(Finding::fail("unit", "as systemd has loaded it", actual));
    }
    Ok(())
}

fn is_active(shown: &Shown<'_>) -> Result<(), Finding> {
    let (active, sub) = (shown.word("ActiveState"), shown.word("SubState"));
    let state = text::visible(&format!("{active} ({sub})"));
    match (active, sub) {
        // What is left of a daemon that is gone: units made from scripts of SysV stay so whatever happens.
        ("active", "exited") if shown.word("Type") != "oneshot" => {
            Err(Finding::fail("state", "active", format!("{state}: nothing of it runs any more")))
        }
        ("active", _) => Ok(()),
        ("reloading", _) => Err(Finding::unknown(format!("it is {state}"))),
        ("", _) => Err(Finding::unknown("systemd does not say whether it is active")),
        _ => Err(Finding::fail("state", "active", format!("{state}{}", why_not(shown)))),
    }
}

/// How the last attempt ended, and which one it was.
fn why_not(shown: &Shown<'_>) -> String {
    let result = match shown.word("Result") {
        "" | "success" => String::new(),
        "exit-code" => format!(", exit {}", text::visible(shown.word("ExecMainStatus"))),
        other => format!(", {}", text::visible(other)),
    };
    match shown.number("NRestarts") {
        None | Some(0) => result,
        Some(1) => format!("{result}, restarted once"),
        Some(more) => format!("{result}, restarted {more} times"),
    }
}

fn has_settled(wanted: &Unit, shown: &Shown<'_>, now_us: u64) -> Result<(), Finding> {
    let restarts = shown.number("NRestarts").unwrap_or(0);
    uptime::restarts(restarts, wanted.restarts_max)?;
    let Some(up_for) = wanted.up_for.or((restarts > 0).then_some(SETTLED)) else { return Ok(()) };
    let since = shown.number("ActiveEnterTimestampMonotonic").filter(|since| *since > 0);
    let since = since.ok_or_else(|| Finding::unknown("systemd does not say since when it is active"))?;
    let up = Span::from_ms(now_us.saturating_sub(since) / 1_000);
    uptime::settled("active for", up_for, up, restarts)
}

/// Loaded again, but not started again: what runs may be as it was before. Not all that is in a unit's file needs that, so it is
/// no failure.
fn changed_since_start(shown: &Shown<'_>) -> Option<String> {
    let started_us = shown.number("ExecMainStartTimestampMonotonic").filter(|started| *started > 0)?;
    let paths = [shown.word("FragmentPath")].into_iter().chain(shown.word("DropInPaths").split(' '));
    let up_ms = clock::uptime_us().saturating_sub(started_us) / 1_000;
    let started_ms = clock::now().0.saturating_sub(up_ms);
    let changed = |path: &&str| {
        let changed = fs::metadata(path)
            .ok()
            .map(|metadata| metadata.ctime().saturating_mul(1_000) + metadata.ctime_nsec() / 1_000_000);
        changed.and_then(|ms| u64::try_from(ms).ok()).is_some_and(|ms| ms > started_ms)
    };
    let path = paths.filter(|path| !path.is_empty()).find(changed)?;
    Some(format!("`{}` was changed after it was started; it may need a restart", text::visible(path)))
}

const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// Each in the manual of the D-Bus interface, org.freedesktop.systemd1(5).
const PROPERTIES: [&str; 13] = [
    "LoadState",
    "ActiveState",
    "SubState",
    "Type",
    "Result",
    "NRestarts",
    "ActiveEnterTimestampMonotonic",
    "ExecMainStartTimestampMonotonic",
    "ExecMainStatus",
    "UnitFileState",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
];

#[cfg(test)]
mod tests {
    use portcullis::outcome::Status;

    use super::*;

    const NOW_US: u64 = 100_000_000;

    fn check(restarts_max: Option<u64>, up_for_s: Option<u64>, changes: &str, status: Status, words: &str) {
        let wanted = Unit { unit: "a.service".into(), restarts_max, up_for: up_for_s.map(Span::from_s) };
        let good = "Type=simple\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNRestarts=0\n\
                    ActiveEnterTimestampMonotonic=90000000\nNeedDaemonReload=no\nFragmentPath=\nDropInPaths=\n";
        let finding = judge(&wanted, &Shown::parse(&format!("{good}{changes}")), NOW_US);
        let reason = finding.reason.unwrap_or_default();
        assert_eq!(finding.status, status, "{changes}: {reason}");
        assert!(reason.contains(words), "{reason}\nexpected: {words}");
    }

    #[test]
    fn table() {
        use Status::{Fail, Pass, Unknown};
        check(None, None, "", Pass, "");
        check(None, None, "LoadState=not-found\nActiveState=inactive", Fail, "unit: expected loaded, actual not-found");
        check(None, None, "LoadState=masked", Fail, "actual masked");
        check(None, None, "LoadState=", Unknown, "does not say");
        check(None, None, "NeedDaemonReload=yes", Fail, "`systemctl daemon-reload`");
        check(
            None,
            None,
            "ActiveState=inactive\nSubState=dead",
            Fail,
            "state: expected active, actual inactive (dead)",
        );
        check(
            None,
            None,
            "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=3",
            Fail,
            "failed (failed), exit 3",
        );
        check(
            None,
            None,
            "ActiveState=activating\nSubState=auto-restart\nResult=exit-code\nExecMainStatus=1\nNRestarts=7",
            Fail,
            "activating (auto-restart), exit 1, restarted 7 times",
        );
        check(None, None, "ActiveState=failed\nSubState=failed\nResult=oom-kill", Fail, "failed (failed), oom-kill");
        check(None, None, "ActiveState=reloading\nSubState=reload", Unknown, "reloading");
        check(None, None, "SubState=exited", Fail, "nothing of it runs any more");
        check(None, None, "SubState=exited\nType=oneshot", Pass, "");
        check(None, None, "SubState=waiting\nType=", Pass, "");
        check(Some(2), None, "NRestarts=2", Pass, "");
        check(Some(2), None, "NRestarts=3", Fail, "restarts: expected at most 2, actual 3");
        check(None, Some(10), "", Pass, "");
        check(None, Some(11), "", Fail, "active for: expected 11s on end, actual 10s");
        // What was restarted by itself must have settled, wanted or not.
        check(
            None,
            None,
            "NRestarts=1\nActiveEnterTimestampMonotonic=95000000",
            Fail,
            "expected 10s on end, actual 5s, after 1 restart",
        );
        check(None, Some(1), "NRestarts=1\nActiveEnterTimestampMonotonic=95000000", Pass, "");
        check(None, Some(1), "ActiveEnterTimestampMonotonic=0", Unknown, "since when");
    }
}
