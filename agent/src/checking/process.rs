//! The agent's side: starts a checking process, waits no longer than it must, and remembers those that would not end.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use super::exchange::{ANSWER_BYTES_MAX, Answer, Job, Request};

/// Starts checking processes, one after the other.
#[derive(Debug)]
pub(crate) struct Process {
    program: PathBuf,
    hung: Vec<Hung>,
}

/// One that was told to end, and has not: some thread of it waits in the kernel for what does not come.
#[derive(Debug)]
struct Hung {
    child: Child,
    /// What it has not come back from: not to be started again beside it.
    busy: BTreeSet<String>,
}

impl Process {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, hung: Vec::new() }
    }

    /// The answer to `request`, within `patience`; else why there is none, for people. Blocks.
    pub(crate) fn ask(&mut self, mut request: Request, patience: Duration) -> Result<Answer, String> {
        self.hung.retain_mut(|hung| !matches!(hung.child.try_wait(), Ok(Some(_))));
        if self.hung.len() >= HUNG_MAX {
            return Err(format!("{HUNG_MAX} checking processes hang already"));
        }
        let known: BTreeSet<_> = self.hung.iter().flat_map(|hung| hung.busy.iter().cloned()).collect();
        if let Job::Check(order) = &mut request.job {
            order.memory.busy.clone_from(&known);
        }
        let mut child = self.start()?;
        let answer = converse(&mut child, &request, patience);
        let busy = match (&answer, &request.job) {
            (Ok(Answer::Checked { memory, .. }), _) => memory.busy.difference(&known).cloned().collect(),
            _ => BTreeSet::new(),
        };
        self.end(child, busy);
        answer
    }

    fn start(&self) -> Result<Child, String> {
        Command::new(&self.program)
            .arg(COMMAND)
            // systemd is told how we stand by the agent alone.
            .env_remove("NOTIFY_SOCKET")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("no checking process could be started: {error}"))
    }

    /// What it had to say is said.
    fn end(&mut self, mut child: Child, busy: BTreeSet<String>) {
        let _ = child.kill();
        for _ in 0..END_LOOKS {
            match child.try_wait() {
                Ok(None) => thread::sleep(END_PAUSE),
                _ => return,
            }
        }
        self.hung.push(Hung { child, busy });
    }
}

/// `Err` when it is late, dies, or talks nonsense.
fn converse(child: &mut Child, request: &Request, patience: Duration) -> Result<Answer, String> {
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the checking process has no pipes".into());
    };
    let stdin = send(stdin, request)?;
    let (sender, received) = sync_channel(1);
    let read = move || {
        let (mut bytes, stdout) = (Vec::new(), stdout);
        let read = stdout.take(ANSWER_BYTES_MAX as u64 * 2).read_to_end(&mut bytes);
        // Nobody listens once it was given up.
        let _ = sender.send(read.map(|_| bytes));
    };
    thread::Builder::new().name("answer".into()).spawn(read).map_err(|error| format!("no thread: {error}"))?;
    let answer = match received.recv_timeout(patience) {
        Ok(Ok(bytes)) if bytes.is_empty() => Err("the checking process died".into()),
        Ok(Ok(bytes)) => serde_json::from_slice(&bytes).map_err(|_| "the checking process talks nonsense".into()),
        Ok(Err(error)) => Err(format!("the checking process cannot be heard: {error}")),
        Err(RecvTimeoutError::Timeout) => Err(format!("given up after {} s", patience.as_secs())),
        Err(RecvTimeoutError::Disconnected) => Err("the checking process died".into()),
    };
    // Until here it lives; without us it would have ended.
    drop(stdin);
    answer
}

/// Its stdin stays open.
fn send(mut stdin: ChildStdin, request: &Request) -> Result<OwnedFd, String> {
    let mut line = serde_json::to_vec(request).map_err(|error| format!("the request cannot be written: {error}"))?;
    line.push(b'\n');
    stdin.write_all(&line).map_err(|error| format!("the checking process does not listen: {error}"))?;
    Ok(stdin.into())
}

/// The hidden command of the agent that it is.
const COMMAND: &str = "__check";

/// One a file system that hangs, and some to spare.
const HUNG_MAX: usize = 8;

/// A process that was killed is gone in a moment, unless the kernel holds it.
const END_LOOKS: u32 = 100;
const END_PAUSE: Duration = Duration::from_millis(10);
