//! `portcullis release retire`: a group no longer accepts a former release.

use portcullis::{api::Retire, record::GroupRecord, text::visible};

use crate::cli::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// No longer accept a former release in a group: an image with it is held from then on
///
/// The wanted release cannot be retired: promote another first. One that still serves only with --force and a reason; what
/// serves goes on serving.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release retire 2026.11.19-2 --group web

Exit codes: 0 it is retired, 1 refused (not accepted, wanted, still serving), 2 it could not be told.

The controller: --controller, else PORTCULLIS_CONTROLLER, else `controller` in ~/.config/portcullis/config.toml or
/etc/portcullis/cli.toml. The token: PORTCULLIS_TOKEN.")]
pub(crate) struct Args {
    /// The release's name, or its manifest's digest
    release: String,
    /// The group
    #[arg(long)]
    group: String,
    /// Retire it although it still serves; needs a reason
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `release retire`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let wish = Retire { release: args.release.clone(), force: args.force, reason: args.reason.clone() };
    let client = Client::new(&args.controller)?;
    let record: GroupRecord = match client.post(&["groups", &args.group, "retire"], serde_json::to_vec(&wish)?)? {
        Said::Done(record) => record,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&record)?;
        return Ok(Answer::Yes);
    }
    let accepted: Vec<String> = record.accepted.iter().map(ToString::to_string).collect();
    output::result(&format!("{} accepts {}\n", visible(&args.group), accepted.join(", ")))?;
    Ok(Answer::Yes)
}
