//! `run`: the service.

use std::{
    env,
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use portcullis_agent::{config::Config, run};
use tracing_subscriber::EnvFilter;

use super::problem::{Form, Problem};

/// Ends with status 0 when it is told to stop, with 2 when it cannot start. `PORTCULLIS_LOG` sets what is logged (`info`).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  PORTCULLIS_LOG=debug portcullis-agent run --config /etc/portcullis/agent.toml")]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/portcullis/agent.toml")]
    config: PathBuf,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args) -> ExitCode {
    log();
    let config = match Config::read(&args.config) {
        Ok(config) => config,
        Err(error) => return Problem::from(error).tell(Form::Text),
    };
    match run::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Problem { text: format!("{:#}", anyhow::Error::from(error)), hint: None }.tell(Form::Text),
    }
}

/// To stderr; the journal puts the time there by itself.
pub(crate) fn log() {
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let log = log.with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none());
    if env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}
