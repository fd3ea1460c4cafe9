//! `portcullis settle`: which key speaks for an instance.

use portcullis::{
    api::{Claim, Settle, Settled},
    text::visible,
};

use super::{answer::Answer, client};

/// Say which key speaks for an instance: after a reinstall, or when two keys claim to be it
///
/// With `new`, the old key is never taken again, and what was proven with it counts no more: give the machine a join token
/// (`portcullis token create`), and its agent enrols and proves it anew. If it serves, it serves on, and is told as `bypassed`: take
/// it out of traffic first to have it proven before. With `old`, only the dispute ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis settle web-1 new --reason 'reinstalled, see OPS-12'
  portcullis settle web-1 old --reason 'a stray image had our token; the token is used up'

Exit codes: 0 it is on record, 1 refused (nobody enrolled as it, or there is nothing to settle), 2 it could not be told.")]
pub(crate) struct Args {
    /// The instance
    instance: String,
    /// Which key
    #[arg(value_enum)]
    key: Choice,
    /// Why: for the audit, and for whoever is paged next
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Choice {
    /// The one that enrolled first
    Old,
    /// The next one that enrols
    New,
}

/// Runs `settle`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let key = match args.key {
        Choice::Old => Claim::Old,
        Choice::New => Claim::New,
    };
    let wish = Settle { key, reason: args.reason.clone() };
    let path = ["instances", &args.instance, "settle"];
    client::change(&args.controller, &path, &wish, args.json, |settled: &Settled| {
        let instance = visible(settled.instance.as_str());
        match settled.key {
            Claim::Old => format!("{instance}: the key that enrolled first speaks for it\n"),
            Claim::New => format!("{instance}: the next key that enrols speaks for it\n"),
        }
    })
}
