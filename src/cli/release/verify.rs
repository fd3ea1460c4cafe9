//! `portcullis release verify`: the whole verifier.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use portcullis::{
    manifest::VerifiedManifest,
    signature::{PublicKey, TrustedKeys},
};
use serde::Serialize;

use super::summary::{self, Summary};
use crate::cli::{answer::Answer, files, output};

/// Verify a manifest's signatures and every rule of its format
///
/// Exit code 0: enough trusted keys have signed it and it keeps every rule. Exit code 2: anything else, with the reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release verify manifest.json --trust release.key.pub
  portcullis release verify manifest.json --trust alice.pub --trust bob.pub --threshold 2")]
pub(crate) struct Args {
    /// The signed manifest
    manifest: PathBuf,
    /// A public key to trust; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// How many different trusted keys must have signed
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: usize,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `release verify`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let trusted = read_trusted(&args.trust, args.threshold)?;
    let bytes = files::read_envelope(&args.manifest)?;
    let VerifiedManifest { manifest, digest, signers, .. } = VerifiedManifest::open(&bytes, &trusted)
        .with_context(|| format!("failed to verify `{}`", files::shown(&args.manifest)))?;
    if args.json {
        output::json(&Verified { verified: true, manifest: Summary::of(&manifest, &digest), signers: &signers })?;
    } else {
        let signers: String = signers.iter().map(|signer| format!("signed    by {signer}\n")).collect();
        let (identity, kept) = (summary::identity(&manifest, &digest), summary::kept(&manifest));
        output::result(&format!("{identity}{kept}{signers}"))?;
    }
    Ok(Answer::Yes)
}

/// Reads the keys to trust.
pub(crate) fn read_trusted<P: AsRef<Path>>(paths: &[P], threshold: usize) -> anyhow::Result<TrustedKeys> {
    let keys = paths.iter().map(|path| files::read_public_key(path.as_ref()));
    let keys: Vec<PublicKey> = keys.collect::<anyhow::Result<_>>()?;
    TrustedKeys::new(keys, threshold).context("failed to use the trusted keys")
}

#[derive(Serialize)]
struct Verified<'a> {
    verified: bool,
    #[serde(flatten)]
    manifest: Summary<'a>,
    signers: &'a [String],
}
