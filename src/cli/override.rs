//! `portcullis override`: an operator's word on one waiting instance.

use portcullis::{
    api::{self, WORD_S_DEFAULT},
    duration::Span,
    record::{OverrideRecord, Word},
    text::visible,
};

use super::{answer::Answer, client};

/// Admit, hold or reject one waiting instance, whatever is proven of it; for its present wait only
///
/// Everybody sees it, with your name and your reason: in `status`, `explain` and `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis override i-0abc hold --reason 'looking at its disk' --for 2h
  portcullis override i-0abc admit --reason 'the check is wrong, see OPS-12'
  portcullis override i-0abc none --reason 'seen enough'

Exit codes: 0 it is on record, 1 refused (it does not wait, or was rejected), 2 it could not be told.")]
pub(crate) struct Args {
    /// The instance
    instance: String,
    /// What is to be done with it
    #[arg(value_enum)]
    word: Choice,
    /// Why: for the audit, and for whoever is paged next
    #[arg(long)]
    reason: String,
    /// For how long it counts: 30m, 2h; 4h at most
    #[arg(long = "for", value_name = "TIME", default_value_t = Span::from_s(WORD_S_DEFAULT))]
    length: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Choice {
    /// Let it into service without proof
    Admit,
    /// Keep it waiting, proven or not, past its deadline too
    Hold,
    /// End it now: the group launches another
    Reject,
    /// Take back what was said
    None,
}

/// Runs `override`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let word = match args.word {
        Choice::Admit => Some(Word::Admit),
        Choice::Hold => Some(Word::Hold),
        Choice::Reject => Some(Word::Reject),
        Choice::None => None,
    };
    let wish = api::Override { word, reason: args.reason.clone(), for_s: args.length.ms / 1_000 };
    let (path, instance) = (["instances", &args.instance, "override"], visible(&args.instance));
    client::change(&args.controller, &path, &wish, args.json, |record: &OverrideRecord| match word {
        None => format!("{instance}: taken back; the rules decide again\n"),
        Some(Word::Admit) => format!("{instance} is admitted without proof, until {}\n", record.until),
        Some(Word::Hold) => format!("{instance} is held until {}\n", record.until),
        Some(Word::Reject) => format!("{instance} is given up\n"),
    })
}
