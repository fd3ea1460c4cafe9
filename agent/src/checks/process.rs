//! `process`: who runs the file, since when, and whether what runs is what is on disk.
//!
//! Which file a process runs is told by device and inode (`/proc/PID/exe` follows to the very file, deleted or not). That a file
//! was written in place while it ran cannot be: Linux refuses that. So a process that runs the inode which is at the path runs
//! that content.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use portcullis::{check::process::Process, duration::Span, text};

use super::{
    Finding, Task,
    procfs::{self, Executable, Pid},
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
    /// When the newest of `newer_than` was changed, in milliseconds since 1970, and which one it is.
    changed: Option<(u64, &'a str)>,
}

impl<'a> Look<'a> {
    fn new(wanted: &'a Process) -> Result<Self, Finding> {
        let user = wanted.user.as_deref().map(|user| {
            let why = || Finding::unknown(format!("there is no user `{}` in /etc/passwd", text::visible(user)));
            procfs::user_id(user).ok_or_else(why)
        });
        let found = fs::canonicalize(&wanted.executable).and_then(|path| Ok((fs::metadata(&path)?, path)));
        let (metadata, path) = found.map_err(|error| not_there(&wanted.executable, &error))?;
        let changed = wanted.newer_than.iter().map(|path| changed_ms(path).map(|ms| (ms, path.as_str())));
        let changed = changed.collect::<Result<Vec<_>, _>>()?.into_iter().max();
        Ok(Self { wanted, user: user.transpose()?, path, id: (metadata.dev(), metadata.ino()), changed })
    }

    fn all(&self, task: &Task<'_>) -> Result<Seen, Finding> {
        let pids = procfs::pids().map_err(|error| Finding::unknown(format!("`/proc`: {error}")))?;
        let mut seen = Seen { others_hidden: procfs::others_are_hidden(), ..Seen::default() };
        for pid in pids.into_iter().map(Pid) {
            if task.is_over() {
                let count = seen.running.len();
                return Err(Finding::unknown(format!(
                    "not all processes were looked at in time; {count} found so far"
                )));
            }
            match self.one(pid) {
                Ok(Some((running, true))) => seen.running.push(running),
                Ok(Some((_, false))) => seen.of_others += 1,
                Ok(None) => {}
                Err(_) if self.is_called_so(pid) => seen.unreadable += 1,
                Err(_) => {}
            }
        }
        Ok(seen)
    }

    /// A process that runs it, and whether the wanted user does; `None` if it runs anything else, or has ended by now.
    fn one(&self, pid: Pid) -> io::Result<Option<(Running, bool)>> {
        let Some(executable) = pid.executable()?.filter(|executable| self.is_it(pid, executable)) else {
            return Ok(None);
        };
        let (Some(stat), Some(user), Some(arguments)) = (pid.stat(), pid.user(), pid.arguments()) else {
            return Ok(None);
        };
        let contained = self.wanted.arguments_contain.as_ref().is_none_or(|part| arguments.contains(part));
        if stat.state == 'Z' || !contained {
            return Ok(None);
        }
        let up_ms = clock::boot_ms().saturating_sub(ticks_ms(stat.started));
        let stale = if self.wanted.fresh { self.stale(pid, &executable, up_ms)? } else { self.older(up_ms) };
        Ok(Some((
            Running { pid: pid.0, up: Span::from_ms(up_ms), stale },
            self.user.is_none_or(|wanted| wanted == user),
        )))
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
    fn stale(&self, pid: Pid, executable: &Executable, up_ms: u64) -> io::Result<Option<String>> {
        if executable.id != self.id {
            return Ok(Some("runs a file that was replaced".into()));
        }
        let libraries = pid.stale_libraries()?;
        Ok(match libraries.as_slice() {
            [] => self.older(up_ms),
            [one] => Some(format!("uses `{}`, which was replaced", text::visible(one))),
            [one, rest @ ..] => {
                Some(format!("uses `{}` and {} more, which were replaced", text::visible(one), rest.len()))
            }
        })
    }

    fn older(&self, up_ms: u64) -> Option<String> {
        let (changed_ms, path) = self.changed?;
        let since_ms = clock::now().0.saturating_sub(changed_ms);
        (up_ms > since_ms.saturating_add(SLACK_MS))
            .then(|| format!("was started before `{}` was changed", text::visible(path)))
    }
}

fn not_there(path: &str, error: &io::Error) -> Finding {
    match error.kind() {
        io::ErrorKind::NotFound => Finding::fail(&text::visible(path), "a file", "nothing there"),
        _ => Finding::unknown(format!("`{}`: {error}", text::visible(path))),
    }
}

/// When a file, or a symlink on the way to it, was last changed: by its `ctime`, which nobody can set, and which a file put in place
/// by renaming gets too.
fn changed_ms(path: &str) -> Result<u64, Finding> {
    let both = fs::symlink_metadata(path).and_then(|link| Ok([link, fs::metadata(path)?]));
    let ms = |metadata: &fs::Metadata| {
        metadata.ctime().saturating_mul(1_000).saturating_add(metadata.ctime_nsec() / 1_000_000)
    };
    let changed = both.map(|both| both.iter().map(ms).max().unwrap_or(0));
    changed.map(|ms| u64::try_from(ms).unwrap_or(0)).map_err(|error| not_there(path, &error))
}

fn ticks_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1)
}

/// How much younger a file may seem than a process that was started after it: starts are counted in ticks of 10 ms, and the
/// clock of file systems goes in ticks of up to 10 ms.
const SLACK_MS: u64 = 20;
