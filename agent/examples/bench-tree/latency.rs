//! Each file's first read takes milliseconds, as on a fresh cloud volume: what counts is how many wait at the same time.

use std::{process::Command, time::Duration};

use super::{
    Options, corpus,
    full::{FLOOR, OURS},
    measure::{Table, measured},
    peers,
    slow::Slow,
};

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("tree");
    std::fs::create_dir(&root)?;
    let _mounted = Slow::mount(&root, FILES, LATENCY)?;
    corpus::sign(&root, directory.path())?;
    let mut table = Table::default();
    for _ in 0..options.rounds.clamp(1, 3) {
        let mut sha256sum = Command::new("sha256sum");
        sha256sum.args(["-c", "--quiet"]).arg(directory.path().join("list")).current_dir(&root);
        table.add(FLOOR, measured(peers::bare("bare", directory.path())?, &[])?);
        table.add(OURS, measured(peers::ours(directory.path())?, &[])?);
        table.add("sha256sum -c", measured(sha256sum, &[])?);
    }
    let title = format!("High latency: {FILES} files, {} ms for the first read of each", LATENCY.as_millis());
    table.print(&title, FLOOR);
    let (ours, theirs) = (table.median(OURS).wall_s, table.median("sha256sum -c").wall_s);
    println!("\nportcullis-agent check takes {:.3} of the time of sha256sum -c", ours / theirs);
    Ok(())
}

const FILES: u64 = 2_000;
const LATENCY: Duration = Duration::from_millis(5);
