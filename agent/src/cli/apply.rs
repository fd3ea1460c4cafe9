//! `apply`: a change that is undone unless the instance proves itself again in time.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use portcullis::duration::duration_ms;
use portcullis_agent::{
    apply::{self, ApplyError, Ended, Journal, Request},
    config::{CONFIRM_WITHIN, Config, STATE_DIR},
};

/// Exit status 0: confirmed. 1: undone. 2: it could not be begun, or it is not settled.
///
/// Remembers all managed trees, runs COMMAND, then demands that every check marked `guard` holds and that the controller can
/// still be reached, or that a person says `portcullis-agent confirm`, from any session. Otherwise every file is put back as it was
/// and the commands of `apply.undo` in the configuration are run. That happens at the deadline even if this command, the shell it
/// was run from, or the session is gone; and after a reboot.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis-agent apply --confirm-within 60s -- sh -c 'vi /etc/nginx/nginx.conf && nginx -s reload'

Then, from another session, if a person is to confirm:
  portcullis-agent confirm")]
pub(crate) struct Args {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/portcullis/agent.toml")]
    config: PathBuf,
    /// From the start of COMMAND until it must be confirmed: `90s`, `5m`; else as configured, 60s
    #[arg(long, value_name = "TIME", value_parser = within)]
    confirm_within: Option<Duration>,
    /// Nothing but a person's word counts, even if the controller can be reached
    #[arg(long)]
    require_confirm: bool,
    /// Without a controller: guards that hold are enough, nobody has to confirm
    #[arg(long, conflicts_with = "require_confirm")]
    guards_are_enough: bool,
    /// Show the changes that are known, and do nothing
    #[arg(long, conflicts_with = "command")]
    list: bool,
    /// What to run, with this terminal and this environment; no shell
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "list")]
    command: Vec<OsString>,
}

fn within(text: &str) -> Result<Duration, String> {
    let within = duration_ms(text).map(Duration::from_millis).filter(|within| CONFIRM_WITHIN.contains(within));
    within.ok_or_else(|| "a time from 1s to 1d, such as `90s` or `5m`".into())
}

/// Applies, and waits for what comes of it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let config = match config(&args.config) {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    if args.list {
        return list(&config);
    }
    let ended = apply::apply(&Request {
        config: &config,
        within: args.confirm_within.unwrap_or(config.apply.confirm_within),
        needs_person: args.require_confirm,
        guards_are_enough: args.guards_are_enough,
        command: args.command.clone(),
        person: apply::person(),
        tell: |line| say(&mut io::stderr(), &format!("portcullis: {line}")),
    });
    match ended {
        Ok(Ended::Confirmed(journal)) => told(&journal, 0),
        Ok(Ended::Undone(journal)) => told(&journal, 1),
        Ok(Ended::Left(journal)) => told(&journal, 2),
        Err(error) => failed(&error),
    }
}

/// The configuration, if nobody but root and the caller could have written it: its commands are run.
pub(super) fn config(path: &Path) -> Result<Config, ApplyError> {
    Config::read(path)
        .map_err(|error| ApplyError { text: error.to_string(), hint: error.hint().map(Into::into) })
        .and_then(|config| {
            apply::only_ours(path)?;
            Ok(config)
        })
}

/// Where changes are kept. A change may have broken the configuration itself: to settle it takes no more than this.
pub(super) fn state_dir(path: &Path) -> PathBuf {
    match Config::read(path) {
        Ok(config) => config.state_dir,
        Err(error) => {
            let because = portcullis::text::visible_lines(&error.to_string());
            let warning = format!("warning: looking in `{STATE_DIR}`, since the configuration does not say: {because}");
            say(&mut io::stderr(), &warning);
            STATE_DIR.into()
        }
    }
}

fn list(config: &Config) -> ExitCode {
    match apply::list(&config.state_dir) {
        Ok(changes) => {
            changes.iter().for_each(print);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// The change in a line, what came of it indented.
pub(super) fn print(journal: &Journal) {
    let lines = journal.lines();
    for (number, line) in lines.iter().enumerate() {
        let indent = if number > 0 { "  " } else { "" };
        say(&mut io::stdout(), &format!("{indent}{}", portcullis::text::visible(line)));
    }
}

pub(super) fn told(journal: &Journal, exit: u8) -> ExitCode {
    print(journal);
    ExitCode::from(exit)
}

pub(super) fn failed(error: &ApplyError) -> ExitCode {
    say(&mut io::stderr(), &format!("error: {}", portcullis::text::visible_lines(&error.text)));
    if let Some(hint) = &error.hint {
        say(&mut io::stderr(), &format!("hint: {}", portcullis::text::visible(hint)));
    }
    ExitCode::from(2)
}

/// A line to whoever still listens. That nobody does, as after a lost session, must not end what is under way.
fn say(to: &mut impl io::Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
