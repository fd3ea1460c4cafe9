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

use portcullis::{check::Command, manifest::Check, outcome::Status};

use super::{Finding, Options, Task};

mod cgroup;
mod confine;
mod descendants;
mod exchange;
mod executable;
mod output;
mod start;
mod supervise;

pub use confine::confine;
pub(crate) use executable::{PATH, find};
pub use supervise::supervise;

use exchange::{Ending, Request};

/// Runs a command.
pub(super) fn run(wanted: &Command, task: &Task<'_>) -> Finding {
    let (check, options) = (task.check, task.options);
    let limits = output::Limits::default();
    match request(check, &wanted.argv, options).and_then(|request| start::run(&request, &options.program, limits)) {
        Ok(finished) => judge(check, &finished, limits),
        Err(reason) => Finding::unknown(reason),
    }
}

/// What a program said that another kind of check asks.
pub(super) struct Answer {
    /// Its exit status.
    pub(super) code: i32,
    /// All that it wrote.
    pub(super) output: Vec<u8>,
    /// It ran with fewer rights than the agent has.
    pub(super) is_unprivileged: bool,
}

/// Runs a program for another kind of check, by the same rules as any command. The error is for people: it has not answered.
pub(super) fn ask(argv: &[String], task: &Task<'_>, bytes_max: usize) -> Result<Answer, String> {
    let mut request = request(task.check, argv, task.options)?;
    request.timeout_ms = u64::try_from(task.left().as_millis()).unwrap_or(u64::MAX);
    let limits = output::Limits { kept: bytes_max, max: bytes_max };
    let finished = start::run(&request, &task.options.program, limits)?;
    match finished.ending {
        Ending::Exited { code } => {
            Ok(Answer { code, output: finished.output, is_unprivileged: request.user.is_some() })
        }
        _ => {
            let reason = judge(task.check, &finished, limits).reason;
            Err(reason.unwrap_or_else(|| "it did not answer".into()))
        }
    }
}

/// The real path of a program that commands may run.
pub(super) fn real_path(name: &str) -> Result<String, String> {
    find(name).map_err(|error| error.to_string())
}

/// What came of a command.
struct Finished {
    ending: Ending,
    /// The beginning of what it wrote.
    output: Vec<u8>,
}

fn request(check: &Check, argv: &[String], options: &Options) -> Result<Request, String> {
    let name = argv.first().ok_or("not run: the command is empty")?;
    let program = find(name).map_err(|error| format!("not run: {error}"))?;
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
fn judge(check: &Check, finished: &Finished, limits: output::Limits) -> Finding {
    let said = said(&finished.output);
    let (status, reason) = match &finished.ending {
        Ending::Exited { code: 0 } => (Status::Pass, None),
        Ending::Exited { code } => (Status::Fail, Some(format!("expected exit 0, actual exit {code}{said}"))),
        Ending::Killed { signal } => (Status::Unknown, Some(format!("killed by signal {signal}{said}"))),
        Ending::TimedOut => (Status::Unknown, Some(format!("killed: not done after {} ms{said}", check.timeout_ms))),
        Ending::Flooded => {
            let max = limits.max;
            (Status::Unknown, Some(format!("killed: it wrote more than {max} bytes{said}")))
        }
        Ending::NotStarted { reason } => (Status::Unknown, Some(format!("not run: {reason}"))),
        Ending::Abandoned => (Status::Unknown, Some(format!("killed: nobody waited for it any more{said}"))),
    };
    Finding::new(status, reason)
}

fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(&output[..output.len().min(output::OUTPUT_BYTES_KEPT)]);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
