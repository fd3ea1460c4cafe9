//! `undo`: a person says that an open change goes, or what was left half-way is undone.

use std::{path::PathBuf, process::ExitCode};

use portcullis_agent::apply::{self, ApplyError, Journal, Stage};

use super::apply::{failed, print, state_dir, told};

/// Exit status 0: undone, or nothing was to be undone. 2: not all could be put back, or there is no such change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis-agent undo
  portcullis-agent apply --list      # the ids")]
pub(crate) struct Args {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/portcullis/agent.toml")]
    config: PathBuf,
    /// Only what is due: after a reboot, or past its deadline with nobody left to undo it
    #[arg(long, conflicts_with = "id")]
    pending: bool,
    /// With `--pending`, before services are started: no undo command is run, and no guard asked
    #[arg(long, requires = "pending")]
    at_boot: bool,
    /// Which change, if not the one that is open
    id: Option<String>,
}

/// Undoes.
pub(crate) fn run(args: &Args) -> ExitCode {
    let state_dir = state_dir(&args.config);
    if args.pending {
        return pending(apply::undo_pending(&state_dir, args.at_boot));
    }
    match apply::undo_now(&state_dir, args.id.as_deref(), &apply::person()) {
        Ok(journal) => told(&journal, 0),
        Err(error) => failed(&error),
    }
}

fn pending(settled: Result<Vec<Journal>, ApplyError>) -> ExitCode {
    match settled {
        Ok(settled) => {
            settled.iter().for_each(print);
            let is_open = settled.iter().any(|journal| !matches!(journal.stage, Stage::Undone(_)));
            ExitCode::from(if is_open { 2 } else { 0 })
        }
        Err(error) => failed(&error),
    }
}
