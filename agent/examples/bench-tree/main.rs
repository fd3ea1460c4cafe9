//! `portcullis-agent` beside the least that the same work can take on this machine, and beside what people use today; on the
//! same files, in turns, as ratios:
//!
//! `cargo bench-agent [SECTION]…`, see its `--help`.
//!
//! Without a section, all of them. Each run is a program of its own, so that starting and reading the list count. The bare
//! loop walks, opens, reads, hashes and compares, as many threads as processors beside the walk: no signature, no ignores, no
//! guard against symlinks, mounts or change. With `--cold` (root only) the page cache is dropped before each. `latency` mounts a file
//! system of its own (root only).

use std::{
    path::Path,
    process::{Command, Stdio},
};

use clap::Parser;
use corpus::Corpus;

mod bare;
mod corpus;
mod drift;
mod full;
mod latency;
mod listener;
mod measure;
mod peers;
mod readyz;
mod serving;
mod slow;
mod unchanged;

/// Measures the agent beside the least that the same work can take here, and beside what people use today
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench-agent")]
struct Options {
    /// What to measure; all when none is named
    #[arg(value_parser = ["small", "large", "unchanged", "latency", "readyz", "drift"])]
    sections: Vec<String>,
    /// A tenth of everything, once: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Drop the page cache before each run (root only)
    #[arg(long)]
    cold: bool,
    /// Leave the other tools out
    #[arg(long)]
    no_peers: bool,
    /// How many small files
    #[arg(long, default_value_t = 100_000, default_value_if("quick", "true", "10000"))]
    files: usize,
    /// Their size in bytes
    #[arg(long, default_value_t = 10_240)]
    size: usize,
    /// How many large files
    #[arg(long, default_value_t = 8)]
    large_files: usize,
    /// Their size
    #[arg(long, default_value_t = 512, default_value_if("quick", "true", "32"))]
    large_mib: usize,
    /// How often everything is run, in turns
    #[arg(long, default_value_t = 5, default_value_if("quick", "true", "1"))]
    rounds: usize,
    /// How long each load on /readyz lasts
    #[arg(long, default_value_t = 5, default_value_if("quick", "true", "2"))]
    seconds: usize,
    /// How many changes drift is measured with
    #[arg(long, default_value_t = 100, default_value_if("quick", "true", "10"))]
    samples: usize,
    /// Seconds between two of them, so that it is not the budget of looks that is measured
    #[arg(long, default_value_t = 6, default_value_if("quick", "true", "3"))]
    rest_s: u64,
}

impl Options {
    fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|wanted| wanted == section)
    }

    const fn peers(&self) -> bool {
        !self.no_peers
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", list, root] => return bare::run(Path::new(list), Path::new(root)),
        ["walk", _, root] => return bare::walk(Path::new(root)),
        _ => {}
    }
    let options = Options::parse();
    build()?;
    if options.wants("small") {
        full::run(&options, "Small files", &Corpus::of(options.files, options.size)?)?;
    }
    if options.wants("large") {
        full::run(&options, "Large files", &Corpus::of(options.large_files, options.large_mib << 20)?)?;
    }
    if options.wants("unchanged") {
        unchanged::run(&options, &Corpus::of(options.files, options.size)?)?;
    }
    if options.wants("latency") {
        latency::run(&options)?;
    }
    if options.wants("readyz") {
        readyz::run(&options, &Corpus::of(options.files, options.size)?)?;
    }
    if options.wants("drift") {
        drift::run(&options, &Corpus::of(options.files, options.size)?)?;
    }
    Ok(())
}

/// The agent itself: an example is built without the package's program.
fn build() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--quiet", "--release", "--locked", "--package", "portcullis-agent", "--bins"];
    let status = Command::new(cargo).args(arguments).stdin(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "the agent cannot be built");
    Ok(())
}
