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

/// A process that was killed is gone in a moment, unless the kernel holds it; the answer waits for that.
const END_LOOKS: u32 = 1_000;
const END_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use portcullis::signature::{SigningKey, TrustedKeys};

    use super::*;
    use crate::{
        checking::{Order, What},
        checks::{Memory, Options},
        config::Pin,
        manifests::Rules,
    };

    /// A program that writes down who it is and what it is asked, and then does what `script` says.
    fn program(dir: &Path, script: &str) -> Process {
        let (file, place) = (dir.join("program"), dir.display());
        fs::write(&file, format!("#!/bin/sh\necho $$ >{place}/pid\nhead -n 1 >{place}/request\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Process::new(file)
    }

    fn ask(process: &mut Process, patience: Duration) -> Result<Answer, String> {
        let trust = TrustedKeys::new(vec![SigningKey::generate(&[1; 32]).public()], 1).unwrap();
        let rules = Rules { trust, pin: Pin::default() };
        loop {
            let (options, memory) = (Options::default(), Memory::default());
            let order = Order { what: What::Trees, outline: String::new(), options, memory };
            let job = Job::Check(Box::new(order));
            let request = Request { file: "/nowhere".into(), digest: None, rules: (&rules).into(), job };
            let answer = process.ask(request, patience);
            // A child of another test still has the program open for writing, until it becomes what it is to be.
            if !matches!(&answer, Err(error) if error.contains("Text file busy")) {
                return answer;
            }
        }
    }

    fn hung(busy: &str) -> Hung {
        // Stands in for one that the kernel holds: nobody has killed it.
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        Hung { child, busy: BTreeSet::from([busy.into()]) }
    }

    #[test]
    fn what_hangs_is_killed_at_its_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = program(dir.path(), "exec sleep 1000");
        assert_eq!(ask(&mut process, Duration::from_secs(3)).unwrap_err(), "given up after 3 s");
        assert!(process.hung.is_empty(), "it is gone");
        let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists());
    }

    /// What the kernel holds cannot be killed: then at least nothing of it is started a second time, and there is an end to it.
    #[test]
    fn what_cannot_be_killed_is_remembered_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = program(dir.path(), r#"echo '{"refused":{"because":"so"}}'"#);
        let asked = |process: &mut Process| {
            let answer = ask(process, Duration::from_secs(30));
            assert!(matches!(answer, Ok(Answer::Refused { .. })), "{answer:?}");
            fs::read_to_string(dir.path().join("request")).unwrap().contains("tree /srv")
        };
        process.hung.push(hung("tree /srv"));
        assert!(asked(&mut process), "the next is told what not to touch");
        process.hung[0].child.kill().unwrap();
        process.hung[0].child.wait().unwrap();
        assert!(!asked(&mut process) && process.hung.is_empty());
        process.hung.extend((0..HUNG_MAX).map(|_| hung("tree /srv")));
        assert_eq!(ask(&mut process, Duration::from_secs(30)).unwrap_err(), "8 checking processes hang already");
        for hung in &mut process.hung {
            hung.child.kill().unwrap();
            hung.child.wait().unwrap();
        }
    }
}
