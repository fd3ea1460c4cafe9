//! `__supervise`: starts one command, waits for it, and leaves nothing of it behind.
//!
//! It adopts every orphan that the command makes (`PR_SET_CHILD_SUBREAPER`), so that what escapes its process group and its
//! session is still found below us; where a cgroup can be made, that kills all at once.

use std::{
    io::{self, BufRead as _, PipeReader, Read as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use super::{
    cgroup::Cgroup,
    confine, descendants,
    exchange::{Ending, Request},
};

/// The hidden command of the agent that this is.
pub(super) const COMMAND: &str = "__supervise";

enum Event {
    /// What kept it from starting, if anything; and how it ended.
    Ended(String, io::Result<ExitStatus>),
    /// The agent waits no longer, or is dead.
    Abandoned,
}

/// Reads a request from stdin, and writes to stdout how the command ended. stderr becomes the command's output.
pub fn supervise() -> ExitCode {
    let ending = match request() {
        Ok(request) => run(&request),
        Err(error) => Ending::NotStarted { reason: error.to_string() },
    };
    match serde_json::to_writer(io::stdout(), &ending) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn request() -> io::Result<Request> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn run(request: &Request) -> Ending {
    let cgroup = Cgroup::make();
    let ending =
        attend(request, cgroup.as_ref()).unwrap_or_else(|error| Ending::NotStarted { reason: error.to_string() });
    if let Some(cgroup) = &cgroup {
        cgroup.kill();
    }
    descendants::kill();
    drop(cgroup);
    ending
}

fn attend(request: &Request, cgroup: Option<&Cgroup>) -> io::Result<Ending> {
    // Away from the agent's terminal and its signals: what ends us is the end of our stdin.
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (sender, events) = channel();
    let (child, status) = start(request, cgroup)?;
    watch_agent(sender.clone());
    watch_child(child, status, sender);
    Ok(match events.recv_timeout(Duration::from_millis(request.timeout_ms)) {
        Ok(Event::Ended(problem, _)) if !problem.is_empty() => Ending::NotStarted { reason: problem },
        Ok(Event::Ended(_, status)) => ended(status?),
        Ok(Event::Abandoned) | Err(RecvTimeoutError::Disconnected) => Ending::Abandoned,
        Err(RecvTimeoutError::Timeout) => Ending::TimedOut,
    })
}

fn ended(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited { code },
        (None, signal) => Ending::Killed { signal: signal.unwrap_or(0) },
    }
}

/// The pipe tells, by its end, that the command runs; before that, why it cannot.
fn start(request: &Request, cgroup: Option<&Cgroup>) -> io::Result<(Child, PipeReader)> {
    let (status, told) = io::pipe()?;
    let output = io::stderr().as_fd().try_clone_to_owned()?;
    let child = Command::new("/proc/self/exe")
        .arg(confine::COMMAND)
        .arg(serde_json::to_string(request)?)
        .args(cgroup.map(Cgroup::path))
        .env_clear()
        .stdin(Stdio::from(told))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(output))
        .spawn()?;
    Ok((child, status))
}

fn watch_agent(sender: Sender<Event>) {
    thread::spawn(move || {
        // The agent writes nothing more: all that can come is the end.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = sender.send(Event::Abandoned);
    });
}

fn watch_child(mut child: Child, status: PipeReader, sender: Sender<Event>) {
    thread::spawn(move || {
        let mut problem = String::new();
        let _ = status.take(PROBLEM_BYTES_MAX).read_to_string(&mut problem);
        let _ = sender.send(Event::Ended(problem, child.wait()));
    });
}

const PROBLEM_BYTES_MAX: u64 = 4 * 1024;
