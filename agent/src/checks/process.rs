//! `process`: who runs the file, since when, and whether what runs is what is on disk.
//!
//! Which file a process runs is told by device and inode (`/proc/PID/exe` follows to the very file, deleted or not). That a file
//! was written in place while it ran cannot be: Linux refuses that. So a process that runs the inode which is at the path runs
//! that content.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use portcullis::{check::process::Process, duration::Span, text};

use super::{
    Finding, Task,
    moment::{self, Change, Moment, Order},
    procfs::{self, Executable, Pid},
    way::way,
};
use crate::clock;

mod judge;

use judge::{Running, Seen, judge};

/// Looks at every process once.
pub(super) fn run(wanted: &Process, task: &Task<'_>) -> Finding {
    match Look::new(wanted).and_then(|look| look.all(task)) {
        Ok(seen) => judge(wanted, &seen),
        Err(finding) => finding,
    }
}

/// What is looked for, as it is on this machine.
struct Look<'a> {
    wanted: &'a Process,
    user: Option<u32>,
    /// Every symlink followed.
    path: PathBuf,
    /// The file that is there now.
    id: (u64, u64),
    /// It begins with `#!`.
    is_script: bool,
    /// Of `newer_than`, and on the way there.
    changes: Vec<Change>,
}

impl<'a> Look<'a> {
    fn new(wanted: &'a Process) -> Result<Self, Finding> {
        let user = wanted.user.as_deref().map(|user| {
            let why = || Finding::unknown(format!("there is no user `{}` in /etc/passwd", text::visible(user)));
            procfs::user_id(user).ok_or_else(why)
        });
        let found = fs::canonicalize(&wanted.executable).and_then(|path| Ok((fs::metadata(&path)?, path)));
        let (metadata, path) = found.map_err(|error| not_there(&wanted.executable, &error))?;
        let ways = wanted.newer_than.iter().map(|path| way(Path::new(path)).map_err(|error| not_there(path, &error)));
        let changes = moment::changes(ways.collect::<Result<Vec<_>, _>>()?.iter());
        let changes = changes.map_err(|error| Finding::unknown(format!("`newer_than` changed meanwhile: {error}")))?;
        let (id, is_script) = ((metadata.dev(), metadata.ino()), metadata.is_file() && begins_with(&path, b"#!"));
        Ok(Self { wanted, user: user.transpose()?, path, id, is_script, changes })
    }

    fn all(&self, task: &Task<'_>) -> Result<Seen, Finding> {
        let pids = procfs::pids().map_err(|error| Finding::unknown(format!("`/proc`: {error}")))?;
        let others_hidden = procfs::others_are_hidden();
        let mut seen = Seen { others_hidden, is_script: self.is_script, ..Seen::default() };
        for pid in pids.into_iter().map(Pid) {
            if task.is_over() {
                let count = seen.running.len();
                return Err(Finding::unknown(format!(
                    "not all processes were looked at in time; {count} found so far"
                )));
            }
            match self.one(pid) {
                Ok(Found::It(running)) => seen.running.push(running),
                Ok(Found::OfAnother) => seen.of_others += 1,
                Ok(Found::WithOtherArguments) => seen.of_other_arguments += 1,
                Ok(Found::Namesake(what)) => seen.namesake = Some(what),
                Ok(Found::Nothing) => {}
                Err(_) if self.is_called_so(pid) => seen.unreadable += 1,
                Err(_) => {}
            }
        }
        Ok(seen)
    }

    /// What a process is to what is looked for.
    fn one(&self, pid: Pid) -> io::Result<Found> {
        let Some(executable) = pid.executable()? else { return Ok(Found::Nothing) };
        if !self.is_it(pid, &executable) {
            let is_namesake = executable.path.file_name() == self.path.file_name();
            let path = text::escape(executable.path.as_os_str().as_bytes());
            let what = || Found::Namesake(format!("process {} runs `{path}`, another file", pid.0));
            return Ok(if is_namesake { what() } else { Found::Nothing });
        }
        let (Some(stat), Some(user), Some(arguments)) = (pid.stat(), pid.user(), pid.arguments()) else {
            return Ok(Found::Nothing);
        };
        if stat.state == 'Z' {
            return Ok(Found::Nothing);
        }
        if !self.wanted.arguments_contain.as_ref().is_none_or(|part| arguments.contains(part)) {
            return Ok(Found::WithOtherArguments);
        }
        if self.user.is_some_and(|wanted| wanted != user) {
            return Ok(Found::OfAnother);
        }
        let started = stat.started;
        let stale = if self.wanted.fresh { self.stale(pid, &executable, started)? } else { self.older(started) };
        let up = Span::from_ms(clock::boot_ms().saturating_sub(ticks_ms(started)));
        Ok(Found::It(Running { pid: pid.0, up, stale }))
    }

    /// One that may not be looked at is none of these if it is not even called like it.
    fn is_called_so(&self, pid: Pid) -> bool {
        let mut names =
            [Path::new(&self.wanted.executable), &self.path].into_iter().filter_map(|path| path.file_name()?.to_str());
        names.any(|name| pid.is_called(name))
    }

    /// The same file; or one that was there before, on this machine: in a container the same path is another file.
    fn is_it(&self, pid: Pid, executable: &Executable) -> bool {
        executable.id == self.id || executable.path == self.path && !pid.is_elsewhere()
    }

    /// Why what runs is not what is on disk.
    fn stale(&self, pid: Pid, executable: &Executable, started: u64) -> io::Result<Option<String>> {
        if executable.id != self.id {
            return Ok(Some("runs a file that was replaced".into()));
        }
        let libraries = pid.stale_libraries()?;
        Ok(match libraries.as_slice() {
            [] => self.older(started),
            [one] => Some(format!("uses `{}`, which was replaced", text::visible(one))),
            [one, rest @ ..] => {
                Some(format!("uses `{}` and {} more, which were replaced", text::visible(one), rest.len()))
            }
        })
    }

    fn older(&self, started: u64) -> Option<String> {
        let started = Moment::of_ticks(started);
        let change = moment::latest(&self.changes, started)?;
        let is_older = started.compare(change.at) == Order::Before;
        is_older
            .then(|| format!("was started before `{}` was changed", text::escape(change.path.as_os_str().as_bytes())))
    }
}

/// What a process is to what is looked for.
enum Found {
    It(Running),
    /// Of another user.
    OfAnother,
    WithOtherArguments,
    /// Another file of that name, for people.
    Namesake(String),
    /// Anything else, or it has ended by now.
    Nothing,
}

fn begins_with(path: &Path, with: &[u8]) -> bool {
    let mut begin = vec![0; with.len()];
    let read = fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut begin));
    read.is_ok() && begin == with
}

fn not_there(path: &str, error: &io::Error) -> Finding {
    match error.kind() {
        io::ErrorKind::NotFound => Finding::fail(&text::visible(path), "a file", "nothing there"),
        _ => Finding::unknown(format!("`{}`: {error}", text::visible(path))),
    }
}

fn ticks_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1)
}
