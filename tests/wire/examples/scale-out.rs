//! `cargo scale-out`: a scale-out of hundreds against the simulated cloud, with the real controller and agents, while the
//! controller is killed again and again. One run for each seed; exits with 0 only if every promise held in every run.

use std::{fs, process::ExitCode, time::Duration};

use clap::Parser;
use portcullis_drill::{clock::Stopwatch, programs::Programs};
use portcullis_wire::scale_out::{Figures, ScaleOut, Trouble};
use tokio::signal::unix::{SignalKind, signal};

/// Scales a group out, kills the controller again and again, and looks from outside whether each ready instance got one
/// accepted CONTINUE for each wait, and no other any.
///
/// Exit code 0: every promise held. 1: one was broken, with the seed. 2: it could not run.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo scale-out")]
struct Arguments {
    /// How many instances
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(4..=1000))]
    instances: u32,
    /// How many runs
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The seed of the first run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let the controller live
    #[arg(long)]
    no_kills: bool,
    /// Let the cloud behave
    #[arg(long)]
    no_faults: bool,
    /// Give a run up that has not settled after so many seconds
    #[arg(long, default_value_t = 240)]
    patience: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            biased;
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("terminated"),
            failed = run_all(&arguments) => failed,
        }
    };
    match ended.await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: the scale-out could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// How many of the runs broke a promise.
async fn run_all(arguments: &Arguments) -> anyhow::Result<usize> {
    println!("first seed {}", arguments.seed);
    let programs = tokio::task::spawn_blocking(Programs::build).await??;
    let (mut total, mut failed) = (Figures::default(), Vec::new());
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let run = ScaleOut {
            instances: arguments.instances,
            seed,
            trouble: Trouble { kills: if arguments.no_kills { (0, 0) } else { (5, 15) }, faults: !arguments.no_faults },
            limits: "",
            patience: Duration::from_secs(arguments.patience),
        };
        let begun = Stopwatch::start();
        let came = run.run(&programs).await;
        let about = format!("seed {seed}, {} s, load {}", begun.elapsed().as_secs(), load());
        match came {
            Ok(figures) => {
                println!("{about}: {figures}");
                total = total.and(figures);
            }
            Err(error) => {
                println!("{about}: NOT as promised:\n{error:#}");
                failed.push(seed);
            }
        }
    }
    println!("\n{} of {} runs were as promised: {total}", arguments.seeds - failed.len() as u64, arguments.seeds);
    if !failed.is_empty() {
        println!("not as promised: seeds {failed:?}; `cargo scale-out --seeds 1 --seed N` runs one again");
    }
    Ok(failed.len())
}

/// What else the machine had to do.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
