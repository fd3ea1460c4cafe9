//! Finding and killing all that descends from this process, by `/proc`. Orphans come to us, so that no double fork, no new
//! session and no new process group leads out of our sight.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::clock;

/// Kills all descendants, and those that they start meanwhile. Gives up on what cannot be killed.
pub(super) fn kill() {
    let deadline = clock::monotonic() + KILL_TIMEOUT;
    loop {
        let mut stopped = BTreeSet::new();
        // First they are stopped, until there is nobody left who could start another.
        loop {
            let all = living();
            let fresh: Vec<_> = all.difference(&stopped).copied().collect();
            if fresh.is_empty() {
                break;
            }
            signal(&fresh, Signal::STOP);
            stopped.extend(fresh);
            if clock::monotonic() >= deadline {
                break;
            }
        }
        if stopped.is_empty() || clock::monotonic() >= deadline {
            signal(&stopped.into_iter().collect::<Vec<_>>(), Signal::KILL);
            return;
        }
        signal(&stopped.into_iter().collect::<Vec<_>>(), Signal::KILL);
        thread::sleep(POLL);
    }
}

fn signal(processes: &[i32], signal: Signal) {
    for pid in processes.iter().filter_map(|&pid| Pid::from_raw(pid)) {
        // Gone already, or never ours to kill: the next look tells.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// All descendants that are not dead.
fn living() -> BTreeSet<i32> {
    let mut children = BTreeMap::<i32, Vec<i32>>::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && let Ok(stat) = fs::read_to_string(process.path().join("stat"))
            && let Some(parent) = living_parent(&stat)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut todo = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(parent) = todo.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.insert(child);
            todo.push(child);
        }
    }
    found
}

/// The parent in a line of `/proc/PID/stat`, unless it is of a zombie. The name, in parentheses, may hold anything.
fn living_parent(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.next()?.parse().ok()
}

/// What is not dead after this long waits in the kernel, and will die when that lets go of it.
const KILL_TIMEOUT: Duration = Duration::from_secs(4);

const POLL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat() {
        assert_eq!(living_parent("7 (a) b) S 3 7 7 0"), Some(3));
        assert_eq!(living_parent("7 (a) Z 3 7 7 0"), None);
        assert_eq!(living_parent(""), None);
    }
}
