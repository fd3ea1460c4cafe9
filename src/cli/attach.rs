//! `portcullis attach`: ends `portcullis detach`.

use portcullis::text::visible;

use super::{
    answer::Answer,
    client::{self, Said},
    detach, output,
};

/// Gate a group again that was detached: from now on the rules decide
///
/// What was let in meanwhile stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis attach web --reason 'mended, see ticket 4711'

Exit codes: 0 it is on record, 1 refused (no such group, or it is not detached), 2 it could not be told.")]
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

/// Runs `attach`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    match detach::send(&args.controller, &args.group, &args.reason, true)? {
        Said::Done(record) if args.json => output::json(&record)?,
        Said::Done(_) => output::result(&format!("{} is gated again\n", visible(&args.group)))?,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    }
    Ok(Answer::Yes)
}
