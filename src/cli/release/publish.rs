//! `portcullis release publish`: makes a signed manifest known to the controller.

use std::path::PathBuf;

use portcullis::{api::ReleaseSummary, text::visible};

use crate::cli::{
    answer::Answer,
    client::{self, Client, Said},
    files, output,
};

/// Send a signed manifest to the controller, which verifies it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release publish manifest.json --controller https://gate.example:7421")]
pub(crate) struct Args {
    /// The manifest
    manifest: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `release publish`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let envelope = files::read_envelope(&args.manifest)?;
    let summary: ReleaseSummary = match Client::new(&args.controller)?.post(&["releases"], envelope)? {
        Said::Done(summary) => summary,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&summary)?;
    } else {
        let (product, release) = (visible(&summary.product), visible(&summary.release));
        output::result(&format!("published {product} {release}, {}\n", summary.manifest))?;
    }
    Ok(Answer::Yes)
}
