//! `status`: how does this instance stand?

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use portcullis_agent::status::{self, Status};

/// Exit status 0: ready. 1: not ready. 2: no agent answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the agent listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7410")]
    listen: SocketAddr,
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
    reasons.iter().try_for_each(|reason| writeln!(out, "  {reason}"))
}
