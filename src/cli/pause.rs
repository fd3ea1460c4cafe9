//! `portcullis pause`: nothing is decided about a group's waiting instances, for a time.

use portcullis::{
    api::{self, WORD_S_DEFAULT},
    duration::Span,
    record::PauseRecord,
    text::visible,
};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Keep all waiting instances of a group waiting: none is admitted, none given up, for a time
///
/// Heartbeats go on, so that no hook times out. A word on one instance (`portcullis override`) still counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis pause web --reason 'the database is being moved' --for 1h

Exit codes: 0 it is on record, 1 refused (no such group, or it only observes), 2 it could not be told.")]
pub(crate) struct Args {
    /// The group
    group: String,
    /// Why: for the audit, and for whoever is paged next
    #[arg(long)]
    reason: String,
    /// For how long: 30m, 2h; 4h at most
    #[arg(long = "for", value_name = "TIME", default_value_t = Span::from_s(WORD_S_DEFAULT))]
    length: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `pause`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let for_s = (args.length.ms / 1_000).max(1);
    match send(&args.controller, &args.group, &args.reason, for_s)? {
        Said::Done(record) if args.json => output::json(&record)?,
        Said::Done(record) => output::result(&format!("{} is paused until {}\n", visible(&args.group), record.until))?,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    }
    Ok(Answer::Yes)
}

/// Pauses a group, or, for no time at all, ends its pause.
pub(super) fn send(
    controller: &client::Controller,
    group: &str,
    reason: &str,
    for_s: u64,
) -> anyhow::Result<Said<PauseRecord>> {
    let wish = api::Pause { reason: reason.into(), for_s };
    Client::new(controller)?.post(&["groups", group, "pause"], serde_json::to_vec(&wish)?)
}
