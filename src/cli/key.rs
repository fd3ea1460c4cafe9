//! `portcullis key`: keys.

mod generate;

/// Make keys
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
    Generate(generate),
}
