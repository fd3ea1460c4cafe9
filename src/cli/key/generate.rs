//! `portcullis key generate`: a new pair of keys.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use portcullis::signature::SigningKey;
use zeroize::Zeroizing;

use crate::cli::{
    answer::{Answer, Hint as _},
    files, output,
};

/// Make a new ed25519 key for signing releases
///
/// Writes the private key (PKCS#8, PEM, readable by its owner only) to FILE and the public key (SPKI, PEM) to FILE.pub,
/// and prints the key's id: the SHA-256 of the public key's DER. Neither file may exist.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis key generate --out release.key")]
pub(crate) struct Args {
    /// Where to write the private key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs `key generate`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let mut name = OsString::from(&args.out);
    name.push(".pub");
    let public = PathBuf::from(name);
    for path in [&*args.out, &*public] {
        refuse_to_overwrite(path)?;
    }
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random).context("failed to get random bytes")?;
    let key = SigningKey::generate(&random);
    write_pair(&key, &args.out, &public)?;
    output::result(&format!("{}\n", key.public().key_id()))?;
    Ok(Answer::Yes)
}

fn refuse_to_overwrite(path: &Path) -> anyhow::Result<()> {
    // Not `exists`: a link to nowhere is in the way as well.
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let error = anyhow!("`{}` exists, and a key is never overwritten", files::shown(path));
    Err(error).hint(Some("choose another name, or move the old key away"))
}

/// Both files or none.
fn write_pair(key: &SigningKey, private: &Path, public: &Path) -> anyhow::Result<()> {
    let private_file = files::create(private, 0o600)?;
    let done = files::create(public, 0o644).and_then(|public_file| {
        let done = files::set_mode(&private_file, private, 0o600)
            .and_then(|()| files::fill(private_file, private, key.to_pem().as_bytes()))
            .and_then(|()| files::fill(public_file, public, key.public().to_pem().as_bytes()))
            .and_then(|()| files::sync_directory(private).context("failed to write to the disk"));
        done.inspect_err(|_| remove(public))
    });
    done.inspect_err(|_| remove(private))
}

/// Of what this process created; the error that led here is what is told.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}
