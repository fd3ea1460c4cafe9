//! `portcullis token create`: a join token, written to a file and shown to nobody.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::cli::{
    answer::Answer,
    client::{self, Client, Said},
    files, output,
};

/// Create a join token: a secret with which instances of one group enrol
///
/// It is written to a file that only its owner can read; the controller keeps a hash.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis token create --group web --out join-token --uses 1000 --for 720h")]
pub(crate) struct Args {
    /// The group whose instances may use it
    #[arg(long)]
    group: String,
    /// Where to write it; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How many instances may use it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it may be used: 30m, 24h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = seconds)]
    expires_in_s: u64,
    #[command(flatten)]
    controller: client::Controller,
}

#[derive(Deserialize)]
struct Created {
    token: String,
    expires: portcullis::timestamp::Timestamp,
}

/// Runs `token create`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let client = Client::new(&args.controller)?;
    // First the file: a token that cannot be written down is lost.
    let file = files::create(&args.out, 0o600)?;
    let wish = serde_json::json!({"group": args.group, "expires_in_s": args.expires_in_s, "uses": args.uses});
    let said = client.post::<Created>(&["join-tokens"], wish.to_string().into_bytes());
    if !matches!(said, Ok(Said::Done(_))) {
        // What matters is told below.
        let _ = std::fs::remove_file(&args.out);
    }
    let created = match said? {
        Said::Done(created) => created,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    files::fill(file, &args.out, format!("{}\n", created.token).as_bytes())?;
    let path = files::shown(&args.out);
    output::result(&format!("{path}: {} uses until {}\n", args.uses, created.expires))?;
    Ok(Answer::Yes)
}

fn seconds(text: &str) -> anyhow::Result<u64> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => bail!("not a length of time such as 30m, 24h, 7d"),
    };
    let number: u64 = text[..text.len() - 1].parse().context("not a length of time such as 30m, 24h, 7d")?;
    number.checked_mul(unit).context("too long")
}
