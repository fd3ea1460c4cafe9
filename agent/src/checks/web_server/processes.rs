//! Processes that run a program, from `/proc`.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::checks::procfs::{self, Executable, Pid};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// Its arguments with a blank between, or the title that it gave itself instead.
    pub(super) title: String,
    /// When it was started, in ticks since the machine was.
    pub(super) start_ticks: u64,
    /// Its program is no longer what is on disk.
    pub(super) is_replaced: bool,
}

/// What was seen.
pub(super) struct Seen {
    /// All that run the program, or ran what was there before.
    pub(super) processes: Vec<Process>,
    /// Why it cannot be told what some of that name run.
    pub(super) hidden: Option<String>,
}

/// All processes of the program at `path` (real, absolute).
pub(super) fn running(path: &Path) -> io::Result<Seen> {
    let metadata = fs::metadata(path)?;
    let id = (metadata.dev(), metadata.ino());
    let hidden = procfs::others_are_hidden().then(|| "the processes of others are hidden".to_string());
    let mut seen = Seen { processes: Vec::new(), hidden };
    for pid in procfs::pids()?.into_iter().map(Pid) {
        match pid.executable() {
            Ok(Some(executable)) if executable.id == id => seen.processes.extend(process(pid, false)),
            Ok(Some(executable)) if is_former(&executable, path) && !pid.is_elsewhere() => {
                seen.processes.extend(process(pid, true));
            }
            Err(error) if has_name_of(pid, path) => seen.hidden = Some(error.to_string()),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(seen)
}

/// The same name for another file: in a container it may be anybody's, here it is what was there before.
fn is_former(executable: &Executable, path: &Path) -> bool {
    executable.path == path
}

fn has_name_of(pid: Pid, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let comm = fs::read(pid.path("comm")).unwrap_or_default();
    comm.trim_ascii_end() == &name[..name.len().min(COMM_BYTES_MAX)]
}

fn process(pid: Pid, is_replaced: bool) -> Option<Process> {
    let stat = pid.stat().filter(|stat| !matches!(stat.state, 'Z' | 'X'))?;
    // A title is followed by NULs where the arguments had been.
    let title = pid.arguments()?.trim_end().to_string();
    Some(Process { pid: pid.0, parent: stat.parent, title, start_ticks: stat.started, is_replaced })
}

/// The kernel cuts names.
const COMM_BYTES_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_very_process() {
        let own = fs::read_link("/proc/self/exe").unwrap();
        let found = running(&own).unwrap().processes;
        let own = found.iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(!own.is_replaced && own.start_ticks > 0 && own.parent == std::os::unix::process::parent_id());
        assert!(running(Path::new("/bin/true")).unwrap().processes.is_empty());
    }
}
