//! What `check` prints: for machines, and for people.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use portcullis::{
    digest::Digest,
    outcome::{DIFFERENCES_MAX, Difference, Outcome, Status},
    text::{escaped_json, visible, visible_line},
};
use serde::Serialize;

use super::check::Report;

/// DESIGN.md §7.
#[derive(Serialize)]
struct Json<'a> {
    ready: bool,
    release: &'a str,
    manifest: Digest,
    took_ms: u64,
    /// Only where less than the whole manifest was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    /// Only where templates were rendered.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    facts: &'a BTreeMap<String, String>,
    outcomes: &'a [Outcome],
}

/// One object, and a newline.
pub(super) fn json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let object = Json {
        ready: report.status() == Status::Pass,
        release: &report.release,
        manifest: report.digest,
        took_ms: report.took_ms,
        scope: report.trees_only.then_some("trees"),
        facts: &report.facts,
        outcomes: &report.outcomes,
    };
    writeln!(out, "{}", escaped_json(&serde_json::to_string(&object)?))
}

/// A line for each check, each followed by what differs; and the answer last, where it is seen.
pub(super) fn text(out: &mut impl Write, report: &Report, all: bool, colour: bool) -> io::Result<()> {
    let shown = if all { usize::MAX } else { DIFFERENCES_SHOWN };
    for outcome in &report.outcomes {
        let (status, kind) = (painted(outcome.status, colour), &outcome.kind);
        writeln!(out, "{status}  {} ({kind}, {} ms)", visible(&outcome.check), outcome.took_ms)?;
        for line in outcome.reason.iter().flat_map(|reason| reason.lines()) {
            writeln!(out, "         {}", visible(line))?;
        }
        for warning in &outcome.warnings {
            writeln!(out, "         warning: {}", visible(warning))?;
        }
        for difference in outcome.differences.iter().take(shown) {
            writeln!(out, "         - {}", line(difference))?;
            for line in difference.diff.iter().flat_map(|diff| diff.split_terminator('\n')) {
                writeln!(out, "             {}", visible_line(line))?;
            }
        }
        if let Some(rest) = rest(outcome, shown) {
            let listed = outcome.differences.len();
            let hint = if listed > shown { format!("; `--all` shows {listed}") } else { String::new() };
            writeln!(out, "         - {rest}{hint}")?;
        }
    }
    let answer = match (report.status(), report.trees_only) {
        (Status::Pass, false) => "ready",
        (Status::Pass, true) => "trees match (nothing else was checked)",
        (Status::Fail, _) => "not ready",
        (Status::Unknown, _) => "could not tell",
    };
    writeln!(out, "{answer}: release {}, {}", visible(&report.release), report.digest)
}

/// How many differences are there besides the first `shown`, and of how many; nothing where there are none.
pub(super) fn rest(outcome: &Outcome, shown: usize) -> Option<String> {
    let total = outcome.differences_total.unwrap_or(0);
    let more = total.saturating_sub(outcome.differences.len().min(shown) as u64);
    let limit =
        if total > DIFFERENCES_MAX as u64 { format!(" (at most {DIFFERENCES_MAX} are listed)") } else { String::new() };
    (more > 0).then(|| format!("and {more} more of {total}{limit}"))
}

fn line(difference: &Difference) -> String {
    let path = if difference.path.is_empty() { "." } else { &difference.path };
    let problem = difference.problem.as_str();
    let detail = match (&difference.expected, &difference.actual) {
        (Some(expected), Some(actual)) => format!(": expected {expected}, actual {actual}"),
        (Some(expected), None) => format!(": expected {expected}"),
        (None, Some(actual)) => format!(": {actual}"),
        (None, None) => String::new(),
    };
    visible(&format!("{path}  {problem}{detail}"))
}

fn painted(status: Status, colour: bool) -> String {
    let padded = format!("{status:<7}", status = status.to_string());
    let code = match status {
        _ if !colour => return padded,
        Status::Pass => 32,
        Status::Unknown => 33,
        Status::Fail => 31,
    };
    format!("\u{1b}[{code}m{padded}\u{1b}[0m")
}

/// Of one check, without `--all`.
const DIFFERENCES_SHOWN: usize = 20;
