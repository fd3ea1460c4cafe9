//! `cargo bench-controller`: what one controller takes with a large fleet, and what one abusive client changes for the others.
//!
//! The simulated cloud, the real controller (built here in release form) with a store on disk, and ten thousand agents that report
//! every 15 s, each from an address of its own. When all are admitted, the controller is watched in peace, and then while one
//! client floods it with connections, garbage, slow and huge bodies and expensive requests. Prints a table; with `--quick` a
//! twentieth of it. Exit code 0: every report was taken all along, and the offender was named in log and metric, and nobody else;
//! 1: something of that was not so; 2: it could not be run.
//!
//! All of it shares this machine, so latencies are upper bounds, and worth something only while nothing else runs. There is no TLS
//! in it: agents and controller speak over loopback.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use portcullis_load::{
    clock::Stopwatch,
    trial::{self, Plan},
};

/// Measures one controller with a large fleet of simulated agents, with and without a client that abuses it
#[derive(Debug, Parser)]
#[command(name = "cargo bench-controller", version)]
struct Options {
    /// A twentieth, for a short while: to see that it runs
    #[arg(long)]
    quick: bool,
    /// How many instances
    #[arg(long, default_value_t = 10_000, default_value_if("quick", "true", "500"))]
    instances: u32,
    /// In how many groups
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    groups: u32,
    /// Files in the release that they run
    #[arg(long, default_value_t = 10_000)]
    files: u32,
    /// Seconds from one report of an agent to its next
    #[arg(long, default_value_t = 15, default_value_if("quick", "true", "5"))]
    every_s: u64,
    /// Seconds between its start and the launch of all
    #[arg(long, default_value_t = 20, default_value_if("quick", "true", "2"))]
    settle_s: u64,
    /// Seconds that are watched, without the abusive client and again with it
    #[arg(long, default_value_t = 45, default_value_if("quick", "true", "10"))]
    watch_s: u64,
    /// This program instead of one that is built now
    #[arg(long)]
    controller: Option<PathBuf>,
    /// Where the store is made: the disk matters
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))]
    disk: PathBuf,
    /// Leave the controller's folder, with its log and store, there
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let measured = async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            () = terminated() => Err(anyhow::anyhow!("told to stop")),
            outcome = measure(&options) => outcome,
        }
    };
    match measured.await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("error: it does not hold: {error:#}");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("error: it could not be measured: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Told to stop: what was started must be stopped too, as when it ends by itself.
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut told) => drop(told.recv().await),
        Err(_) => std::future::pending().await,
    }
}

async fn measure(options: &Options) -> Result<Result<()>> {
    let plan = Plan {
        controller: options.controller.clone().map_or_else(build, Ok)?,
        instances: options.instances,
        groups: options.groups.min(options.instances),
        files: options.files,
        every: Duration::from_secs(options.every_s),
        settle: Duration::from_secs(options.settle_s),
        watch: Duration::from_secs(options.watch_s),
        patience: PATIENCE,
    };
    fs::create_dir_all(&options.disk)?;
    let folder = tempfile::Builder::new().prefix("bench-controller-").tempdir_in(&options.disk)?;
    println!(
        "{} agents in {} groups, each reporting every {} s, a release of {} files\n{}; a small write reaches the disk in {:.1} ms\n",
        plan.instances,
        plan.groups,
        options.every_s,
        plan.files,
        machine(),
        sync_ms(folder.path())?
    );
    let findings = trial::run(&plan, folder.path(), |how_far| eprintln!("{how_far}")).await;
    if options.keep {
        println!("left in {}", folder.keep().display());
    }
    let findings = findings?;
    println!("\n{findings}");
    Ok(findings.hold())
}

/// The controller itself, as it would be shipped: with the features of its own package, and no others.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--package", "portcullis-controller", "--bins"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(output.status.success(), "the controller cannot be built");
    let messages = String::from_utf8(output.stdout).context("cargo's messages")?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    messages.lines().find_map(executable).context("cargo built no controller")
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{processors} processors, load before: {}", load.split(' ').next().unwrap_or("unknown"))
}

/// The median of some.
fn sync_ms(folder: &Path) -> Result<f64> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(folder)?;
    let mut all = Vec::new();
    for _ in 0..21 {
        let began = Stopwatch::start();
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        all.push(began.elapsed());
    }
    all.sort_unstable();
    Ok(all[10].as_secs_f64() * 1_000.0)
}

/// Ten thousand are admitted in less than half of it.
const PATIENCE: Duration = Duration::from_secs(180);
