//! `status`: how does this instance stand?

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use portcullis::text::visible_lines;
use portcullis_agent::{
    apply::{self, Journal},
    config::Config,
    restore,
    status::{self, Status},
};

use super::problem::{Form, Problem};

/// Exit status 0: ready. 1: not ready. 2: no agent answers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis-agent status
  portcullis-agent status --json | jq '.outcomes[] | select(.status != \"pass\")'

Exit codes: 0 ready, 1 not ready, 2 no agent answers. What its words mean is in deploy/reasons.md.")]
pub(crate) struct Args {
    /// Where the agent listens; else as its configuration says, else 127.0.0.1:7410
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Its configuration: where it listens, and its state directory, where changes and restored edits are kept
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Print its last report, one JSON object; `null` while there is none
    #[arg(long)]
    json: bool,
}

/// Asks, and prints what is told.
pub(crate) fn run(args: &Args) -> ExitCode {
    let config = config(args);
    let listen = args.listen.or(config.as_ref().map(|config| config.listen)).unwrap_or(LISTEN);
    let status = match status::ask(listen) {
        Ok(status) => status,
        Err(error) => return Problem { text: error.to_string(), hint: Some(HINT) }.tell(Form::of(args.json, false)),
    };
    match print(args, config.as_ref(), &status) {
        // Whoever stopped reading has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("error: failed to print: {error}");
            ExitCode::from(2)
        }
        _ => ExitCode::from(u8::from(!status.ready)),
    }
}

/// One that cannot be read is told of: without it, another agent than the one that is meant may be asked.
fn config(args: &Args) -> Option<Config> {
    let is_there = args.config.try_exists().unwrap_or(true) || args.config != Path::new(CONFIG);
    match Config::read(&args.config) {
        Ok(config) => Some(config),
        Err(error) => {
            if is_there {
                eprintln!("warning: not as the configuration says: {}", visible_lines(&error.to_string()));
            }
            None
        }
    }
}

fn print(args: &Args, config: Option<&Config>, status: &Status) -> io::Result<()> {
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
    config.map(changes).unwrap_or_default().iter().try_for_each(|line| writeln!(out, "  {line}"))
}

/// What is open, what came of the last change, and what was restored: for those who may know.
fn changes(config: &Config) -> Vec<String> {
    let changes = apply::list(&config.state_dir).unwrap_or_default();
    let (last, earlier) = changes.split_last().map_or((None, &[][..]), |(last, earlier)| (Some(last), earlier));
    let open = earlier.iter().filter(|change| !change.stage.is_final());
    let changes = open.chain(last).flat_map(Journal::lines);
    changes.chain(restore::lines(&config.state_dir).into_iter().map(|line| format!("restore: {line}"))).collect()
}

/// Where an agent's configuration is, unless it is told otherwise.
const CONFIG: &str = "/etc/portcullis/agent.toml";

/// Where an agent listens on this machine, unless it is told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7410);

const HINT: &str = "does it run (`systemctl status portcullis-agent`), and does it listen there? `--listen ADDR` asks elsewhere, \
                    `--config FILE` as that file says";
