//! `portcullis release show`: a manifest for people.

use std::path::PathBuf;

use portcullis::{digest::Digest, manifest::Manifest, text::visible};
use serde::Serialize;

use super::{summary, unverified::Unverified};
use crate::cli::{answer::Answer, files, output};

/// Show what is in a manifest, without verifying its signatures
///
/// With --json everything, each entry too; otherwise the entries are counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release show manifest.json
  portcullis release show manifest.json --json | jq '.manifest.trees[].entries[].path'")]
pub(crate) struct Args {
    /// The manifest
    manifest: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `release show`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let Unverified { envelope, manifest, digest } = Unverified::read(&args.manifest)?;
    let key_ids = envelope.signatures.iter().map(|signature| signature.key_id.as_deref());
    if args.json {
        let key_ids = key_ids.collect();
        output::json(&Shown { digest: &digest, signatures_verified: false, key_ids, manifest: &manifest })?;
        return Ok(Answer::Yes);
    }
    let (identity, content) = (summary::identity(&manifest, &digest), summary::content(&manifest));
    let claims: String = key_ids
        .map(|id| format!("claims    to be signed by {}\n", id.map_or("a key without id".into(), visible)))
        .collect();
    let path = files::shown(&args.manifest);
    let note = format!("signatures are not verified: use `portcullis release verify {path} --trust KEY.pub`\n");
    output::result(&format!("{identity}{content}{claims}{note}"))?;
    Ok(Answer::Yes)
}

#[derive(Serialize)]
struct Shown<'a> {
    digest: &'a Digest,
    signatures_verified: bool,
    key_ids: Vec<Option<&'a str>>,
    manifest: &'a Manifest,
}
