//! The undo commands: what makes services take back the files that were put back, such as a reload.
//!
//! They come from the agent's own configuration and run as its user, without a shell, in a clean environment. Unlike the
//! commands of checks they may leave something running: a restart is meant to.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    checks::command::{PATH, find},
    clock,
};

/// Runs one; the error is for people. What it writes goes to `output`, which is begun anew.
pub(crate) fn run(argv: &[String], timeout: Duration, output: &Path) -> Result<(), String> {
    let program = argv.first().ok_or("it is empty").map_err(String::from)?;
    let program = find(program).map_err(|error| error.to_string())?;
    let mut written = opened(output).map_err(|error| format!("no place for its output: {error}"))?;
    let (out, err) = (written.try_clone(), written.try_clone());
    let spawned = out.and_then(|out| {
        Command::new(program)
            .arg0(&argv[0])
            .args(&argv[1..])
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err?)
            .process_group(0)
            .spawn()
    });
    let ended = spawned.map_err(|error| error.to_string()).and_then(|child| attend(child, timeout, &written));
    ended.map_err(|because| format!("{because}{}", said(&mut written)))
}

fn opened(path: &Path) -> io::Result<File> {
    // Not a pipe: what it leaves running would be killed by the end of it.
    File::options().create(true).truncate(true).read(true).write(true).open(path)
}

fn attend(mut child: Child, timeout: Duration, output: &File) -> Result<(), String> {
    let deadline = clock::monotonic() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        let flooded = output.metadata().is_ok_and(|output| output.len() > OUTPUT_BYTES_MAX);
        if flooded || clock::monotonic() >= deadline {
            if let Some(group) = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
            let because = if flooded { "it wrote too much".into() } else { format!("not done after {timeout:?}") };
            return Err(format!("killed: {because}"));
        }
        thread::sleep(POLL);
    }
}

/// The beginning of what it wrote, in one line.
fn said(output: &mut File) -> String {
    let mut bytes = Vec::new();
    // The offset is shared with whoever writes; it is done.
    let _ = output.rewind().and_then(|()| output.take(SAID_BYTES_MAX).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {}", portcullis::text::visible(&text.replace('\n', "; "))) }
}

const OUTPUT_BYTES_MAX: u64 = 1 << 20;
const SAID_BYTES_MAX: u64 = 2_048;
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_they_end() {
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let argv = ["sh", "-c", script].map(String::from);
            run(&argv, Duration::from_millis(700), &dir.path().join("output"))
        };
        assert_eq!(run("exit 0"), Ok(()));
        assert_eq!(run("echo one; echo two >&2; exit 3"), Err("exit status: 3: one; two".into()));
        assert_eq!(run("sleep 30 & sleep 30"), Err("killed: not done after 700ms".into()));
        assert!(run("yes").unwrap_err().starts_with("killed: it wrote too much: y; y"));
        assert_eq!(run("[ -z \"$HOME\" ] && echo $PATH >&2; exit 1"), Err(format!("exit status: 1: {PATH}")));
        let argv = ["no-such-program-anywhere".to_string()];
        assert!(
            super::run(&argv, Duration::from_secs(1), &dir.path().join("output")).unwrap_err().contains("is not in")
        );
    }
}
