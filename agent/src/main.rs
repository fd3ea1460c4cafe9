//! `portcullis-agent`: the command line of the agent.
#![forbid(unsafe_code)]

mod cli;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use portcullis_agent::checks::command;

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
    /// Run one command of a check, and leave nothing of it behind (used by the agent itself)
    #[command(name = "__supervise", hide = true)]
    Supervise,
    /// Give up rights and become a command (used by the agent itself)
    #[command(name = "__confine", hide = true)]
    Confine { request: String, cgroup: Option<PathBuf> },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => cli::check::run(&args),
        Command::Run(args) => cli::run::run(&args),
        Command::Status(args) => cli::status::run(&args),
        Command::Supervise => command::supervise(),
        Command::Confine { request, cgroup } => command::confine(&request, cgroup.as_deref()),
    }
}
