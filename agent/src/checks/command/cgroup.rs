//! A cgroup (version 2) for one command, where one can be had: it kills at once all that was ever started in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A cgroup of our own, below the one we are in. Removed when dropped, if it is empty by then.
#[derive(Debug)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where there is none, or it is not ours to divide, or the kernel cannot kill by it (before 5.14).
    pub(super) fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own_directory(&mounts, &own)?.join(format!("portcullis-check-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let cgroup = Self(path);
        // Only where that controller was given to us; else the limit on the user's processes stands alone.
        let _ = fs::write(cgroup.0.join("pids.max"), PROCESSES_MAX.to_string());
        cgroup.0.join("cgroup.kill").exists().then_some(cgroup)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Kills all in it.
    pub(super) fn kill(&self) {
        // What could not be killed by this is found by descent.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir(&self.0) {
                // The dead leave it one by one.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(2)),
                _ => return,
            }
        }
    }
}

/// The directory of our own cgroup: the line `0::/path` below the mount of type `cgroup2`.
fn own_directory(mounts: &str, own: &str) -> Option<PathBuf> {
    let below = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (after.starts_with("cgroup2 ") && root == "/").then_some(point)
    })?;
    Some(Path::new(mount).join(below))
}

/// Of one command.
const PROCESSES_MAX: u32 = 512;

const REMOVE_TRIES: u32 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_our_own() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw";
        let own = "8:pids:/\n0::/system.slice/portcullis-agent.service\n";
        let directory = own_directory(mounts, own).unwrap();
        assert_eq!(directory, Path::new("/sys/fs/cgroup/unified/system.slice/portcullis-agent.service"));
        assert_eq!(own_directory("", own), None);
        assert_eq!(own_directory(mounts, "8:pids:/"), None);
    }
}
