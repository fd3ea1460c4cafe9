//! `portcullis resume`: ends a pause.

use portcullis::text::visible;

use super::{
    answer::Answer,
    client::{self, Said},
    output, pause,
};

/// End the pause of a group: the rules decide again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis resume web --reason 'the database is back'

Exit codes: 0 it is on record, 1 refused (no such group, or it only observes), 2 it could not be told.")]
pub(crate) struct Args {
    /// The group
    group: String,
    /// Why, for the audit
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `resume`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    match pause::send(&args.controller, &args.group, &args.reason, 0)? {
        Said::Done(record) if args.json => output::json(&record)?,
        Said::Done(_) => output::result(&format!("{} is no longer paused\n", visible(&args.group)))?,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    }
    Ok(Answer::Yes)
}
