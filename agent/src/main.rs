//! `portcullis-agent`: the command line of the agent.
#![forbid(unsafe_code)]

mod cli;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use portcullis_agent::{apply, checking, checks::command, restore};

/// Proves on the instance that it carries the signed release.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check this machine, or a mounted image, against a signed manifest, once
    Check(cli::check::Args),
    /// Prove this instance again and again, and answer probes, until stopped
    Run(cli::run::Args),
    /// Ask the agent that runs on this instance how it stands
    Status(cli::status::Args),
    /// Verify a manifest and check by it, for one round (used by the agent itself)
    #[command(name = "__check", hide = true)]
    CheckOnce,
    /// Run a command that changes managed files, and undo what it did unless it is confirmed in time
    Apply(cli::apply::Args),
    /// Keep the change that `apply` made
    Confirm(cli::confirm::Args),
    /// Undo the change that `apply` made, now
    Undo(cli::undo::Args),
    /// Start the rest of the arguments as nobody's child (used by the agent itself)
    #[command(name = "__detach", hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    Detach { arguments: Vec<std::ffi::OsString> },
    /// Wait for a change to be confirmed, else undo it (used by the agent itself)
    #[command(name = "__undo", hide = true)]
    WaitAndUndo { change: PathBuf },
    /// See whether an edit is to be undone from the manifest's texts (used by the agent itself)
    #[command(name = "__restore", hide = true)]
    Restore { config: PathBuf, envelope: PathBuf, digest: String },
    /// Run one command of a check, and leave nothing of it behind (used by the agent itself)
    #[command(name = "__supervise", hide = true)]
    Supervise,
    /// Give up rights and become a command (used by the agent itself)
    #[command(name = "__confine", hide = true)]
    Confine { request: String, cgroup: Option<PathBuf> },
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let given = |option: &str| std::env::args_os().take_while(|word| word != "--").any(|word| word == option);
        if error.use_stderr() {
            cli::problem::usage(&error.to_string(), cli::problem::Form::of(given("--json"), given("--junit")));
        }
        error.exit()
    });
    match cli.command {
        Command::Check(args) => cli::check::run(&args),
        Command::Run(args) => cli::run::run(&args),
        Command::Status(args) => cli::status::run(&args),
        Command::CheckOnce => {
            cli::run::log();
            checking::check()
        }
        Command::Apply(args) => cli::apply::run(&args),
        Command::Confirm(args) => cli::confirm::run(&args),
        Command::Undo(args) => cli::undo::run(&args),
        Command::Detach { arguments } => apply::detach(&arguments),
        Command::WaitAndUndo { change } => apply::wait_and_undo(&change),
        Command::Restore { config, envelope, digest } => restore::run(&config, &envelope, &digest),
        Command::Supervise => command::supervise(),
        Command::Confine { request, cgroup } => command::confine(&request, cgroup.as_deref()),
    }
}
