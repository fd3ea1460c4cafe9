//! `portcullis release sign`: what one signs is seen.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use portcullis::signature::SIGNATURES_MAX;

use super::{summary, unverified::Unverified};
use crate::cli::{answer::Answer, files, output};

/// Add a signature to a manifest
///
/// Validates the manifest as an agent would, prints what it is and what it will run and let pass, and writes it back with
/// one signature more. Sign again with another key for a second signer. The payload stays as it is, byte for byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis release sign manifest.json --key release.key")]
pub(crate) struct Args {
    /// The manifest, changed in place
    manifest: PathBuf,
    /// The private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Runs `release sign`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let key = files::read_signing_key(&args.key)?;
    // Signers at the same time come one after the other: none overwrites what another has added.
    let _locked = files::lock(&args.manifest)?;
    let Unverified { mut envelope, manifest, digest } = Unverified::read(&args.manifest)?;
    envelope.sign(&key);
    if envelope.signatures.len() > SIGNATURES_MAX {
        bail!(
            "failed to sign `{}`: it has {SIGNATURES_MAX} signatures, as many as may be",
            files::shown(&args.manifest)
        );
    }
    // Before the signature exists anywhere.
    let (identity, content) = (summary::identity(&manifest, &digest), summary::content(&manifest));
    output::result(&format!("{identity}{content}"))?;
    files::replace(&args.manifest, &envelope.to_json()).context("failed to add the signature")?;
    let (key_id, signatures) = (key.public().key_id(), envelope.signatures.len());
    output::result(&format!("signed    by {key_id}, {signatures} of at most {SIGNATURES_MAX} signatures\n"))?;
    Ok(Answer::Yes)
}
