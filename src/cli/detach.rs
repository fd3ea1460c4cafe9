//! `portcullis detach`: doing without the gate, without killing what waits at its hook.

use portcullis::{api, record::DetachRecord, text::visible};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Let in everything that waits in a group, proven or not, until `portcullis attach`: how to leave
///
/// Nothing is given up any more, and serving instances are left alone. The hook stays: deleting it while an instance waits would
/// abandon that instance. `portcullis status` says when none does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis detach web --reason 'the gate is in our way; see ticket 4711'

To leave for good, and what to do without a controller: deploy/break-glass.md.

Exit codes: 0 it is on record, 1 refused (no such group), 2 it could not be told.")]
pub(crate) struct Args {
    /// The group
    group: String,
    /// Why: for the audit, and for whoever is paged next
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `detach`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let group = visible(&args.group);
    match send(&args.controller, &args.group, &args.reason, false)? {
        Said::Done(record) if args.json => output::json(&record)?,
        Said::Done(_) => output::result(&format!(
            "{group} is detached: all that waits is let in, until `portcullis attach {group}`\n\
             keep its hook until `portcullis status --group {group}` says that none waits; then deploy/break-glass.md\n"
        ))?,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    }
    Ok(Answer::Yes)
}

/// Detaches a group, or attaches it again.
pub(super) fn send(
    controller: &client::Controller,
    group: &str,
    reason: &str,
    attach: bool,
) -> anyhow::Result<Said<DetachRecord>> {
    let wish = api::Detach { reason: reason.into(), attach };
    Client::new(controller)?.post(&["groups", group, "detach"], serde_json::to_vec(&wish)?)
}
