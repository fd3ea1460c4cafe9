//! `portcullis release retire`: a group no longer accepts a former release.

use portcullis::{api::Retire, record::GroupRecord, text::visible};

use crate::cli::{answer::Answer, client};

/// No longer accept a former release in a group: an image with it is held from then on
///
/// The wanted release cannot be retired: promote another first. One that still serves only with --force and a reason; what
/// serves goes on serving.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release retire 2026.11.19-2 --group web

Exit codes: 0 it is retired, 1 refused (not accepted, wanted, still serving), 2 it could not be told.")]
pub(crate) struct Args {
    /// The release's name, or its manifest's digest
    release: String,
    /// The group
    #[arg(long)]
    group: String,
    /// Retire it although it still serves; needs a reason
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `release retire`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let wish = Retire { release: args.release.clone(), force: args.force, reason: args.reason.clone() };
    let path = ["groups", &args.group, "retire"];
    client::change(&args.controller, &path, &wish, args.json, |record: &GroupRecord| {
        let accepted: Vec<String> = record.accepted.iter().map(ToString::to_string).collect();
        format!("{} accepts {}\n", visible(&args.group), accepted.join(", "))
    })
}
