//! `portcullis trial`: what a group that only observes would have done.

use portcullis::{api::Trial, text::visible, timestamp::Timestamp};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    clock, output,
};

/// What a group that only observes would have done with its launches, had it enforced
///
/// Two weeks of this are a good ground for `mode = "enforce"`: who would have been held, for how long, and who would have been
/// given up, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  portcullis trial web
  portcullis trial web --since 14d

Exit codes: 0 none would have been given up, 1 some would have been, or there is no such group, 2 it could not be told.")]
pub(crate) struct Args {
    /// The group
    group: String,
    /// Launches since then: a moment (RFC 3339), or how long ago; what is told is kept for 30 days
    #[arg(long, value_name = "TIME", value_parser = clock::since, default_value = "7d")]
    since: Timestamp,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `trial`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let client = Client::new(&args.controller)?;
    let query = format!("since={}", args.since);
    let trial: Trial = match client.get(&["groups", &args.group, "trial"], &query)? {
        Said::Done(trial) => trial,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if args.json {
        output::json(&trial)?;
    } else {
        output::result(&told(&trial))?;
    }
    Ok(if trial.failures.is_empty() { Answer::Yes } else { Answer::No })
}

fn told(trial: &Trial) -> String {
    let mut told = format!("{} since {}: {} launches proven", visible(&trial.group.0), trial.since, trial.proven);
    if let Some((median, max)) = trial.proven_after_s_median.zip(trial.proven_after_s_max) {
        told += &format!(", after {median} s (median) and {max} s (longest)");
    }
    let lost: usize = trial.failures.iter().map(|failure| failure.instances.len()).sum();
    told += &format!("; {lost} would have been given up\n");
    for failure in &trial.failures {
        let first: Vec<String> = failure.instances.iter().take(NAMED_MAX).map(|id| visible(&id.0)).collect();
        let more = if failure.instances.len() > NAMED_MAX { ", ..." } else { "" };
        let causes: Vec<String> = failure.causes.iter().map(|cause| visible(cause)).collect();
        told += &format!("  {}: {} ({}{more})\n", failure.instances.len(), causes.join("; "), first.join(", "));
    }
    told
}

/// Instances that are named of each kind.
const NAMED_MAX: usize = 5;
