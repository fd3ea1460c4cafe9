//! Processes by number and start: a number alone may be another's by now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In ticks since boot.
    start: u64,
}

impl Process {
    pub(crate) fn of(pid: i32) -> Self {
        Self { pid, start: stat(pid).map_or(0, |stat| stat.start) }
    }

    pub(crate) fn this() -> Self {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.dead)
    }

    /// Ends it and all below it: first they are stopped, so that none can start another. What left by a double fork, as
    /// services do, stays: it may be what the command was for.
    pub(crate) fn kill_all(&self) {
        let mut stopped = BTreeSet::new();
        for _ in 0..KILL_TRIES {
            if !self.is_alive() && stopped.is_empty() {
                return;
            }
            let fresh: Vec<_> = self.family().difference(&stopped).copied().collect();
            if fresh.is_empty() {
                break;
            }
            signal(&fresh, Signal::STOP);
            stopped.extend(fresh);
        }
        signal(&stopped.iter().copied().collect::<Vec<_>>(), Signal::KILL);
        for _ in 0..KILL_TRIES {
            if !stopped.iter().any(|&pid| stat(pid).is_some_and(|stat| !stat.dead)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// It and all that descends from it.
    fn family(&self) -> BTreeSet<i32> {
        let mut children = BTreeMap::<i32, Vec<i32>>::new();
        for item in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = item.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))).filter(|(_, stat)| !stat.dead) {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        let (mut found, mut todo) = (BTreeSet::new(), vec![self.pid]);
        while let Some(pid) = todo.pop() {
            if found.insert(pid) {
                todo.extend(children.remove(&pid).unwrap_or_default());
            }
        }
        found
    }
}

fn signal(processes: &[i32], signal: Signal) {
    for pid in processes.iter().filter_map(|&pid| Pid::from_raw(pid)) {
        // Gone already: the next look tells.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

struct Stat {
    dead: bool,
    parent: i32,
    start: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// A line of `/proc/PID/stat`. The name, in parentheses, may hold anything.
fn parse(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { dead, parent, start: fields.nth(17)?.parse().ok()? })
}

const KILL_TRIES: u32 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat() {
        let stat = parse("7 (a) b) Z 3 7 7 0 -1 4 0 0 0 0 1 2 3 4 20 0 1 0 4711 5 6").unwrap();
        assert_eq!((stat.dead, stat.parent, stat.start), (true, 3, 4711));
        assert!(parse("7 (a) S").is_none());
        let this = Process::this();
        assert!(this.is_alive() && this.start > 0);
        assert!(!Process { start: this.start + 1, ..this }.is_alive(), "another of that number");
    }

    #[test]
    fn ends_all_below() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "sleep 4100 & sleep 4100 & wait"]).spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap());
        while process.family().len() < 3 {
            thread::yield_now();
        }
        let family = process.family();
        process.kill_all();
        child.wait().unwrap();
        assert!(family.iter().all(|&pid| stat(pid).is_none_or(|stat| stat.dead)));
    }
}
