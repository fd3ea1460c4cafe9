//! `portcullis resume`: ends a pause.

use portcullis::{api::Pause, record::PauseRecord, text::visible};

use super::{answer::Answer, client};

/// End the pause of a group: the rules decide again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis resume web --reason 'the database is back'

Exit codes: 0 it is on record, 1 refused (no such group, or it only observes), 2 it could not be told.")]
pub(crate) struct Args {
    #[command(flatten)]
    on: client::OnGroup,
}

/// Runs `resume`.
pub(crate) fn run(Args { on }: &Args) -> anyhow::Result<Answer> {
    on.change("pause", &Pause { reason: on.reason.clone(), for_s: 0 }, |_: &PauseRecord| {
        format!("{} is no longer paused\n", visible(&on.group))
    })
}
