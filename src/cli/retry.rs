//! `portcullis retry`: one more launch, in a group that stopped replacing what fails.

use portcullis::{api::Retry, record::BreakerRecord, text::visible};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Replace one failed instance of a group that stopped replacing them, to see whether it still fails
///
/// A group whose launches keep failing for one cause keeps them, for a look. Once you have mended the cause, say so: if the next
/// launch is proven, everything goes on. (A promotion, and time, have the same effect.)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis retry web --reason 'the certificate was renewed'

Exit codes: 0 it is on record, 1 refused (no such group, or it replaces what fails), 2 it could not be told.")]
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

/// Runs `retry`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let wish = Retry { reason: args.reason.clone() };
    let client = Client::new(&args.controller)?;
    let record: BreakerRecord = match client.post(&["groups", &args.group, "retry"], serde_json::to_vec(&wish)?)? {
        Said::Done(record) => record,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&record)?;
    } else {
        output::result(&format!("{} replaces one more ({})\n", visible(&args.group), visible(&record.cause)))?;
    }
    Ok(Answer::Yes)
}
