//! Programs of the system that checks ask: `systemctl`. Not what a release brought, so they are run as the agent is, by a path
//! that only root can write to; bounded all the same.

use std::{
    io::{self, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use portcullis::text;

use super::Task;

/// What a program wrote, if it came to its end.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Why it came to none.
#[derive(Debug)]
pub(super) enum Silent {
    /// There is no such program.
    Absent,
    /// In words.
    Failed(String),
}

/// Runs the first of `programs` that is there.
pub(super) fn run(programs: &[&str], arguments: &[&str], task: &Task<'_>) -> Result<Said, Silent> {
    let program = programs.iter().find(|program| Path::new(program).exists()).ok_or(Silent::Absent)?;
    let failed = |error: io::Error| Silent::Failed(format!("`{program}`: {error}"));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = (drained(child.stdout.take()), drained(child.stderr.take()));
    let ended = (output.0.recv_timeout(task.left()), output.1.recv_timeout(task.left()));
    let (Ok(stdout), Ok(stderr)) = ended else {
        end(&mut child);
        return Err(Silent::Failed(format!("`{program}` did not end within {} ms", task.check.timeout_ms)));
    };
    // It has closed both, so it ends now, or is ended.
    let status = match child.try_wait() {
        Ok(Some(status)) => status,
        _ => waited(&mut child, task).map_err(failed)?,
    };
    Ok(Said { success: status.success(), stdout, stderr })
}

fn waited(child: &mut Child, task: &Task<'_>) -> io::Result<std::process::ExitStatus> {
    while !task.is_over() {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
    end(child);
    Err(io::ErrorKind::TimedOut.into())
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads a pipe to its end on a thread of its own, keeping the beginning.
fn drained(pipe: Option<impl io::Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let Some(mut pipe) = pipe else { return receiver };
    // Where no thread can be had, the sender is dropped, and it has failed.
    let _ = thread::Builder::new().name("check tool".into()).spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// The first line of what a program complains of, for a reason.
pub(super) fn complaint(said: &Said) -> String {
    let line = said.stderr.lines().next().unwrap_or("it failed without a word");
    text::visible(&line.chars().take(COMPLAINT_MAX).collect::<String>())
}

const POLL: std::time::Duration = std::time::Duration::from_millis(5);
/// Some properties of a unit, a kilobyte or two.
const OUTPUT_BYTES_MAX: u64 = 256 << 10;
const COMPLAINT_MAX: usize = 300;
