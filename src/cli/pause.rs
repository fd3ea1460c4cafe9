//! `portcullis pause`: nothing is decided about a group's waiting instances, for a time.

use portcullis::{
    api::{Pause, WORD_S_DEFAULT},
    duration::Span,
    record::PauseRecord,
    text::visible,
};

use super::{answer::Answer, client};

/// Keep all waiting instances of a group waiting: none is admitted, none given up, for a time
///
/// Heartbeats go on, so that no hook times out. A word on one instance (`portcullis override`) still counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis pause web --reason 'the database is being moved' --for 1h

Exit codes: 0 it is on record, 1 refused (no such group, or it only observes), 2 it could not be told.")]
pub(crate) struct Args {
    #[command(flatten)]
    on: client::OnGroup,
    /// For how long: 30m, 2h; 4h at most
    #[arg(long = "for", value_name = "TIME", default_value_t = Span::from_s(WORD_S_DEFAULT))]
    length: Span,
}

/// Runs `pause`.
pub(crate) fn run(Args { on, length }: &Args) -> anyhow::Result<Answer> {
    let wish = Pause { reason: on.reason.clone(), for_s: (length.ms / 1_000).max(1) };
    on.change("pause", &wish, |record: &PauseRecord| {
        format!("{} is paused until {}\n", visible(&on.group), record.until)
    })
}
