//! `portcullis release promote`: makes a release the wanted one of a group.

use portcullis::{api::Promote, record::GroupRecord, text::visible};

use crate::cli::{answer::Answer, client};

/// Make a published release the wanted one of a group; the former one stays accepted
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release promote 2026.11.20-1 --group web
  portcullis release promote 2026.11.19-2 --group web --rollback --reason 'INC-7: errors at checkout'")]
pub(crate) struct Args {
    /// The release's name, or its manifest's digest
    release: String,
    /// The group
    #[arg(long)]
    group: String,
    /// Go back to an older release; needs a reason
    #[arg(long, requires = "reason")]
    rollback: bool,
    /// Promote what was not proven in the group that the policy names, or is of another product; needs a reason
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

/// Runs `release promote`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let (release, reason) = (args.release.clone(), args.reason.clone());
    let wish = Promote { release, rollback: args.rollback, force: args.force, reason };
    let path = ["groups", &args.group, "promote"];
    client::change(&args.controller, &path, &wish, args.json, |record: &GroupRecord| {
        let wanted = record.accepted.first().map_or_else(|| "nothing".into(), ToString::to_string);
        let former = record.accepted.len().saturating_sub(1);
        format!("{} wants {wanted}; {former} former accepted\n", visible(&args.group))
    })
}
