//! `portcullis attach`: ends `portcullis detach`.

use portcullis::{api::Detach, record::DetachRecord, text::visible};

use super::{answer::Answer, client};

/// Gate a group again that was detached: from now on the rules decide
///
/// What was let in meanwhile stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis attach web --reason 'mended, see ticket 4711'

Exit codes: 0 it is on record, 1 refused (no such group, or it is not detached), 2 it could not be told.")]
pub(crate) struct Args {
    #[command(flatten)]
    on: client::OnGroup,
}

/// Runs `attach`.
pub(crate) fn run(Args { on }: &Args) -> anyhow::Result<Answer> {
    on.change("detach", &Detach { reason: on.reason.clone(), attach: true }, |_: &DetachRecord| {
        format!("{} is gated again\n", visible(&on.group))
    })
}
