//! `portcullis detach`: doing without the gate, without killing what waits at its hook.

use portcullis::{api::Detach, record::DetachRecord, text::visible};

use super::{answer::Answer, client};

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
    #[command(flatten)]
    on: client::OnGroup,
}

/// Runs `detach`.
pub(crate) fn run(Args { on }: &Args) -> anyhow::Result<Answer> {
    let group = visible(&on.group);
    on.change("detach", &Detach { reason: on.reason.clone(), attach: false }, |_: &DetachRecord| {
        format!(
            "{group} is detached: all that waits is let in, until `portcullis attach {group}`\n\
             keep its hook until `portcullis status --group {group}` says that none waits; then deploy/break-glass.md\n"
        )
    })
}
