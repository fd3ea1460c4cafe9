//! `portcullis retry`: one more launch, in a group that stopped replacing what fails.

use portcullis::{api::Retry, record::BreakerRecord, text::visible};

use super::{answer::Answer, client};

/// Replace one failed instance of a group that stopped replacing them, to see whether it still fails
///
/// A group whose launches keep failing for one cause keeps them, for a look. Once you have mended the cause, say so: if the next
/// launch is proven, everything goes on. (A promotion, and time, have the same effect.)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis retry web --reason 'the certificate was renewed'

Exit codes: 0 it is on record, 1 refused (no such group, or it replaces what fails), 2 it could not be told.")]
pub(crate) struct Args {
    #[command(flatten)]
    on: client::OnGroup,
}

/// Runs `retry`.
pub(crate) fn run(Args { on }: &Args) -> anyhow::Result<Answer> {
    on.change("retry", &Retry { reason: on.reason.clone() }, |record: &BreakerRecord| {
        format!("{} replaces one more ({})\n", visible(&on.group), visible(&record.cause))
    })
}
