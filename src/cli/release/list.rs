//! `portcullis release list`: what is published, and who wants it.

use portcullis::{api::ReleaseSummary, instance::GroupName, text::visible};

use crate::cli::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// List the published releases, and the groups that want or accept them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release list --json")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `release list`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let all: Vec<ReleaseSummary> = match Client::new(&args.controller)?.get(&["releases"], "")? {
        Said::Done(all) => all,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&all)?;
    } else {
        output::result(&all.iter().map(line).collect::<String>())?;
    }
    Ok(Answer::Yes)
}

fn line(one: &ReleaseSummary) -> String {
    let groups = |word: &str, names: &[GroupName]| {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        if names.is_empty() { String::new() } else { format!(", {word} by {}", names.join(" ")) }
    };
    let (wanted, accepted) = (groups("wanted", &one.wanted_by), groups("accepted", &one.accepted_by));
    let (product, release) = (visible(&one.product), visible(&one.release));
    let (at, by) = (one.published_at, visible(&one.published_by));
    format!("{product} {release} {} published {at} by {by}{wanted}{accepted}\n", one.manifest)
}
