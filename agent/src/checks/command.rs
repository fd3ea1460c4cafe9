//! Commands: a program that must exit with 0 (PROTOCOL.md §2).
//!
//! ```text
//!  agent ── stdin: the request, then open for as long as the agent waits ──▶ __supervise ──▶ __confine ──▶ the program
//!        ◀── stdout: how it ended ─────────────────────────────────────────── │ kills all         sets limits, gives up
//!        ◀── stderr: what the program wrote ──────────────────────────────────┴─ that is left     rights, then becomes it
//! ```
//!
//! Both helpers are this very program under a hidden command: what has to happen between `fork` and `exec` happens in a process
//! of its own, in safe code. The supervisor outlives its agent by no more than it takes to kill what it started.

use portcullis::{
    manifest::{Check, CheckKind},
    outcome::{Outcome, Status},
};

use super::{Options, Runner, isolated, unknown};

mod cgroup;
mod confine;
mod descendants;
mod exchange;
mod executable;
mod output;
mod start;
mod supervise;

pub use confine::confine;
pub use supervise::supervise;

use exchange::{Ending, Request};

/// Runs commands.
pub(super) struct Command;

impl Runner for Command {
    fn run(&self, check: &Check, options: &Options) -> Outcome {
        let CheckKind::Command { argv } = &check.kind;
        match request(check, argv, options).and_then(|request| start::run(&request, &options.program)) {
            Ok(finished) => judge(check, &finished),
            Err(reason) => unknown(check, reason),
        }
    }
}

/// What came of a command.
struct Finished {
    ending: Ending,
    /// The beginning of what it wrote.
    output: Vec<u8>,
}

fn request(check: &Check, argv: &[String], options: &Options) -> Result<Request, String> {
    let name = argv.first().ok_or("not run: the command is empty")?;
    let program = executable::find(name).map_err(|error| format!("not run: {error}"))?;
    let is_root = rustix::process::geteuid().is_root();
    let may_be_root = options.root_commands.iter().any(|listed| listed == argv);
    Ok(Request {
        program,
        argv: argv.to_vec(),
        user: (is_root && !may_be_root).then_some(options.user),
        timeout_ms: check.timeout_ms,
    })
}

/// Only an exit is an answer: 0 is yes, all else no. A command that was killed, by us or by anyone, has not answered.
fn judge(check: &Check, finished: &Finished) -> Outcome {
    let said = said(&finished.output);
    let (status, reason) = match &finished.ending {
        Ending::Exited { code: 0 } => (Status::Pass, None),
        Ending::Exited { code } => (Status::Fail, Some(format!("expected exit 0, actual exit {code}{said}"))),
        Ending::Killed { signal } => (Status::Unknown, Some(format!("killed by signal {signal}{said}"))),
        Ending::TimedOut => (Status::Unknown, Some(format!("killed: not done after {} ms{said}", check.timeout_ms))),
        Ending::Flooded => {
            let max = output::OUTPUT_BYTES_MAX;
            (Status::Unknown, Some(format!("killed: it wrote more than {max} bytes{said}")))
        }
        Ending::NotStarted { reason } => (Status::Unknown, Some(format!("not run: {reason}"))),
        Ending::Abandoned => (Status::Unknown, Some(format!("killed: nobody waited for it any more{said}"))),
    };
    isolated::outcome(&check.name, check.kind.name(), status, reason)
}

fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
