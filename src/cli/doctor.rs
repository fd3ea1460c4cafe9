//! `portcullis doctor`: what is to be mended about the set-up, before it matters.

use portcullis::{
    api::Examination,
    doctor::{Finding, State, overall},
    instance::GroupName,
    text::visible,
};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Examine the set-up: hooks, maintenance, scaling, health checks, permissions, clock, certificates; and say how to mend each
///
/// The controller asks, with the permissions that it has. Calls that would change something are rehearsed on an instance that does
/// not exist.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis doctor --group web

What its words mean is in deploy/reasons.md.

Exit codes: 0 all is well, 1 something is to be mended (or there is no such group), 2 something could not be told.")]
pub(crate) struct Args {
    /// Only this group, and the controller itself
    #[arg(long)]
    group: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `doctor`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let mut examined: Examination = match Client::new(&args.controller)?.get(&["doctor"], "")? {
        Said::Done(examined) => examined,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if let Some(only) = &args.group {
        let is_it = |finding: &Finding| finding.group.as_ref().is_some_and(|group| group.as_str() == only);
        if !examined.findings.iter().any(is_it) {
            output::failure(&anyhow::anyhow!("`{}` is not a gated group that can be examined", visible(only)));
            return Ok(Answer::No);
        }
        examined.findings.retain(|finding| finding.group.is_none() || is_it(finding));
    }
    if args.json {
        output::json(&examined)?;
    } else {
        output::result(&page(&examined.findings))?;
    }
    Ok(match overall(&examined.findings) {
        State::Well | State::Note => Answer::Yes,
        State::Mend => Answer::No,
        State::Unclear => Answer::Unclear,
    })
}

fn page(findings: &[Finding]) -> String {
    let (mut text, mut of) = (String::new(), None);
    for finding in findings {
        if of != Some(&finding.group) {
            of = Some(&finding.group);
            text.push_str(&format!("{}\n", finding.group.as_ref().map_or("controller".into(), GroupName::to_string)));
        }
        text.push_str(&line(finding));
    }
    text
}

fn line(finding: &Finding) -> String {
    let state = match finding.state {
        State::Well => "ok",
        State::Note => "note",
        State::Unclear => "unclear",
        State::Mend => "MEND",
    };
    let line = format!("  {state:<7}  {:<11}  {}", finding.topic.code(), visible(&finding.what));
    let hint = finding.mend.as_ref().map(|mend| format!("           hint: {}\n", visible(mend))).unwrap_or_default();
    format!("{}\n{hint}", line.trim_end())
}
