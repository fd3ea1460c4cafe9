//! `portcullis release diff`: what a release wants otherwise than another.

use std::{fmt::Write as _, path::PathBuf};

use portcullis::{
    manifest::{Change, Changes, EntryChange, TreeChange},
    text::visible,
};
use serde::Serialize;

use super::unverified::Unverified;
use crate::cli::{answer::Answer, output};

/// Compare what two manifests want
///
/// Exit code 0: the same; 1: they differ; 2: could not tell. The names of the releases and their sequences make no
/// difference. Signatures are not verified.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis release diff yesterday.json today.json")]
pub(crate) struct Args {
    /// The old manifest
    old: PathBuf,
    /// The new manifest
    new: PathBuf,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `release diff`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let (old, new) = (Unverified::read(&args.old)?, Unverified::read(&args.new)?);
    let changes = Changes::between(&old.manifest, &new.manifest);
    if args.json {
        let same = changes.is_empty();
        output::json(&Compared { same, old: Side::of(&old), new: Side::of(&new), changes: &changes })?;
    } else {
        output::result(&lines(&changes))?;
    }
    Ok(if changes.is_empty() { Answer::Yes } else { Answer::No })
}

fn lines(changes: &Changes) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    if let Some((old, new)) = &changes.product {
        let _ = writeln!(out, "~ product: {} is now {}", visible(old), visible(new));
    }
    for tree in &changes.trees {
        tree_lines(&mut out, tree);
    }
    for check in &changes.checks {
        let (sign, what) = (sign(check.change), in_what(&check.what));
        let _ = writeln!(out, "{sign} check {}{what}", visible(&check.check));
    }
    out
}

fn tree_lines(out: &mut String, tree: &TreeChange) {
    let name = visible(&tree.tree);
    let _ = writeln!(out, "{} tree {name}{}", sign(tree.change), in_what(&tree.settings));
    for EntryChange { path, change, what } in &tree.entries {
        let _ = writeln!(out, "{}   {}{}", sign(*change), visible(path), in_what(what));
    }
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    }
}

fn in_what(what: &[&str]) -> String {
    if what.is_empty() { String::new() } else { format!(": {}", what.join(", ")) }
}

#[derive(Serialize)]
struct Compared<'a> {
    same: bool,
    old: Side<'a>,
    new: Side<'a>,
    #[serde(flatten)]
    changes: &'a Changes,
}

#[derive(Serialize)]
struct Side<'a> {
    release: &'a str,
    sequence: u64,
    digest: String,
}

impl<'a> Side<'a> {
    fn of(side: &'a Unverified) -> Self {
        let (release, sequence) = (&side.manifest.release, side.manifest.sequence);
        Self { release, sequence, digest: side.digest.to_string() }
    }
}
