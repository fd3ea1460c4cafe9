//! The command line. A command is a module with `Args` (its help is their documentation) and `run`, and a line in
//! [`Command`].

use std::process::ExitCode;

use clap::Parser;

mod acknowledge;
mod answer;
mod attach;
mod client;
mod clock;
mod detach;
mod doctor;
mod events;
mod explain;
mod files;
mod key;
mod output;
mod r#override;
mod pause;
mod progress;
mod rehearse;
mod release;
mod resume;
mod retry;
mod settle;
mod status;
mod token;
mod trial;
mod withdraw;

use answer::Answer;

/// A family of commands: one line for each, `Variant(module)`.
macro_rules! commands {
    ($($variant:ident($module:ident)),* $(,)?) => {
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Command {
            $($variant($module::Args)),*
        }

        impl Command {
            /// Runs the command that was asked for.
            pub(crate) fn run(&self) -> anyhow::Result<crate::cli::answer::Answer> {
                match self {
                    $(Self::$variant(args) => $module::run(args)),*
                }
            }
        }
    };
}
use commands;

commands! {
    Key(key),
    Release(release),
    Status(status),
    Explain(explain),
    Events(events),
    Doctor(doctor),
    Acknowledge(acknowledge),
    Override(r#override),
    Settle(settle),
    Pause(pause),
    Resume(resume),
    Detach(detach),
    Attach(attach),
    Retry(retry),
    Withdraw(withdraw),
    Token(token),
    Trial(trial),
    Rehearse(rehearse),
}

/// Builds, signs and compares releases for the deployment readiness gate.
///
/// Exit codes: 0 yes or done, 1 no, 2 could not tell (usage, unreadable input, bad signature, unreachable). With --json, what went
/// wrong is an object with `error`, and mostly `hint`, on stdout too.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            output::failure_json(error.to_string().trim_start_matches("error: ").trim_end(), None);
        }
        error.exit()
    });
    let answer = cli.command.run();
    answer
        .unwrap_or_else(|error| {
            output::failure(&error);
            Answer::Unclear
        })
        .into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_fit_together() {
        super::Cli::command().debug_assert();
    }
}
