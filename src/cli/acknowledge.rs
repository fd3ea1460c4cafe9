//! `portcullis acknowledge`: somebody looks after an alert.

use portcullis::{api::Acknowledge, record::AlertRecord, text::visible};

use super::{answer::Answer, client};

/// Say that you look after an alert: it is not repeated any more, and `status` shows who does what about it
///
/// When it is over, and begins anew, everybody is told again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis acknowledge web stalled --reason 'the certificate is being renewed'

Exit codes: 0 it is on record, 1 no such alert was told, 2 it could not be told.")]
pub(crate) struct Args {
    #[command(flatten)]
    on: client::OnGroup,
    /// Which alert, as `portcullis status` names it
    code: String,
}

/// Runs `acknowledge`.
pub(crate) fn run(Args { on, code }: &Args) -> anyhow::Result<Answer> {
    let wish = Acknowledge { code: code.clone(), reason: on.reason.clone() };
    on.change("acknowledge", &wish, |_: &AlertRecord| format!("{} of {} is yours\n", visible(code), visible(&on.group)))
}
