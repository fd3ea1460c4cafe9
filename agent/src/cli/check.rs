//! `check`: is this machine, or this mounted image, exactly as the signed manifest wants it?

use std::process::ExitCode;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the checks once and tells what came of them.
pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(2)
}
