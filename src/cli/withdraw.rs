//! `portcullis withdraw`: withdrawing goes on in a group in which many fail for one cause.

use portcullis::{api::Withdraw, record::FreezeRecord, text::visible};

use super::{answer::Answer, client};

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
    #[command(flatten)]
    on: client::OnGroup,
}

/// Runs `withdraw`.
pub(crate) fn run(Args { on }: &Args) -> anyhow::Result<Answer> {
    on.change("withdraw", &Withdraw { reason: on.reason.clone() }, |record: &FreezeRecord| {
        format!("{} goes on withdrawing ({})\n", visible(&on.group), visible(&record.cause))
    })
}
