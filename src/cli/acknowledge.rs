//! `portcullis acknowledge`: somebody looks after an alert.

use portcullis::{api::Acknowledge, record::AlertRecord, text::visible};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Say that you look after an alert: it is not repeated any more, and `status` shows who does what about it
///
/// When it is over, and begins anew, everybody is told again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis acknowledge web stalled --reason 'the certificate is being renewed'

Exit codes: 0 it is on record, 1 no such alert was told, 2 it could not be told.")]
pub(crate) struct Args {
    /// The group
    group: String,
    /// Which alert, as `portcullis status` names it
    code: String,
    /// What is done about it
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `acknowledge`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let wish = Acknowledge { code: args.code.clone(), reason: args.reason.clone() };
    let client = Client::new(&args.controller)?;
    let record: AlertRecord = match client.post(&["groups", &args.group, "acknowledge"], serde_json::to_vec(&wish)?)? {
        Said::Done(record) => record,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&record)?;
    } else {
        output::result(&format!("{} of {} is yours\n", visible(&args.code), visible(&args.group)))?;
    }
    Ok(Answer::Yes)
}
