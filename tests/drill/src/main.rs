//! `cargo drill`: replays an incident, and exits with 0 only if everything it promises was observed.

use std::process::ExitCode;

use clap::Parser;
use portcullis_drill::{i1, timeline::Timeline};

/// Replays the outage that Portcullis was made for, without the gate and with it.
///
/// A group with two good instances scales out while the deploy halts half-way on the new ones. Without the gate, users get
/// errors; with it, the new instances are held, the operator is told which files are missing, and once the deploy is
/// finished on one of them it is admitted by itself. Exit code 0: all of this was observed. 1: something was not.
/// 2: the drill itself could not run.
#[derive(Debug, Parser)]
#[command(name = "cargo drill", version)]
struct Arguments {}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    let timeline = Timeline::start();
    let drill = async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            outcome = i1::run(&timeline) => outcome,
        }
    };
    match drill.await {
        Ok(summary) => {
            timeline.heading("Summary");
            println!("{summary}");
            if summary.is_as_promised() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("error: the drill could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}
