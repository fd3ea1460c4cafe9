//! `confirm`: a person says that an open change stays.

use std::{path::PathBuf, process::ExitCode};

use portcullis_agent::apply;

use super::apply::{failed, state_dir, told};

/// Exit status 0: it stays. 2: there is no such change, or it cannot be confirmed (its guards fail, or it is too late).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis-agent confirm
  portcullis-agent apply --list      # the ids")]
pub(crate) struct Args {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/portcullis/agent.toml")]
    config: PathBuf,
    /// Which change, if not the one that is open
    id: Option<String>,
}

/// Confirms.
pub(crate) fn run(args: &Args) -> ExitCode {
    match apply::confirm(&state_dir(&args.config), args.id.as_deref(), &apply::person()) {
        Ok(journal) => told(&journal, 0),
        Err(error) => failed(&error),
    }
}
