//! `portcullis token`: what lets instances enrol.

mod create;

/// Create tokens that let instances enrol
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &Args) -> anyhow::Result<super::answer::Answer> {
    args.command.run()
}

super::commands! {
    Create(create),
}
