//! `portcullis release`: manifests, from the spec to the signature.

pub(crate) mod build;
mod diff;
mod learn;
mod list;
mod offers;
mod promote;
mod publish;
mod retire;
mod show;
mod sign;
mod summary;
mod unverified;
pub(crate) mod verify;

/// Build, sign, verify, show and compare releases
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
    Build(build),
    Learn(learn),
    Sign(sign),
    Verify(verify),
    Show(show),
    Diff(diff),
    Publish(publish),
    List(list),
    Promote(promote),
    Retire(retire),
}
