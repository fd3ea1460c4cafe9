//! `status`: how does this instance stand?

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use portcullis_agent::{
    apply::{self, Journal},
    config::Config,
    restore,
    status::{self, Status},
};

/// Exit status 0: ready. 1: not ready. 2: no agent answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the agent listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7410")]
    listen: SocketAddr,
    /// Its configuration: changes and restored edits are told from its state directory, if that can be read
    #[arg(long, value_name = "FILE", default_value = "/etc/portcullis/agent.toml")]
    config: PathBuf,
    /// Print its last report, one JSON object; `null` while there is none
    #[arg(long)]
    json: bool,
}

/// Asks, and prints what is told.
pub(crate) fn run(args: &Args) -> ExitCode {
    let status = match status::ask(args.listen) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match print(args, &status) {
        // Whoever stopped reading has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("error: failed to print: {error}");
            ExitCode::from(2)
        }
        _ => ExitCode::from(u8::from(!status.ready)),
    }
}

fn print(args: &Args, status: &Status) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        return writeln!(out, "{}", serde_json::to_string(&status.report)?);
    }
    let (word, reasons) = status.lines.split_first().map_or(("", &[][..]), |(word, reasons)| (word.as_str(), reasons));
    if status.ready {
        writeln!(out, "ready")?;
    } else {
        writeln!(out, "not ready: {word}")?;
    }
    reasons.iter().try_for_each(|reason| writeln!(out, "  {reason}"))?;
    changes(args).iter().try_for_each(|line| writeln!(out, "  {line}"))
}

/// What is open, what came of the last change, and what was restored: for those who may know.
fn changes(args: &Args) -> Vec<String> {
    let Ok(config) = Config::read(&args.config) else { return Vec::new() };
    let changes = apply::list(&config.state_dir).unwrap_or_default();
    let (last, earlier) = changes.split_last().map_or((None, &[][..]), |(last, earlier)| (Some(last), earlier));
    let open = earlier.iter().filter(|change| !change.stage.is_final());
    let changes = open.chain(last).flat_map(Journal::lines);
    changes.chain(restore::lines(&config.state_dir).into_iter().map(|line| format!("restore: {line}"))).collect()
}
