//! `portcullis withdraw`: withdrawing goes on in a group in which many fail for one cause.

use portcullis::{api::Withdraw, record::FreezeRecord, text::visible};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Go on withdrawing from a group in which many serving instances fail for one cause
///
/// Many that fail alike are one failure: nothing is withdrawn from their group until you have looked. This lets it go on for those that
/// fail now, as far as the group may lose some: `unavailable_max` and `ready_min` hold all the same. (It goes on by itself when none
/// fails for that cause any more.)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis withdraw web --reason 'only the canaries have it'

Exit codes: 0 it is on record, 1 refused (no such group, or nothing keeps it back), 2 it could not be told.")]
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

/// Runs `withdraw`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let wish = Withdraw { reason: args.reason.clone() };
    let client = Client::new(&args.controller)?;
    let record: FreezeRecord = match client.post(&["groups", &args.group, "withdraw"], serde_json::to_vec(&wish)?)? {
        Said::Done(record) => record,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&record)?;
    } else {
        output::result(&format!("{} goes on withdrawing ({})\n", visible(&args.group), visible(&record.cause)))?;
    }
    Ok(Answer::Yes)
}
