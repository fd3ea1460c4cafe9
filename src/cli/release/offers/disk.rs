//! Files below a root: no link, `..` or absolute target leads out of it, as if it were the root of the machine.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, path::Path};

use portcullis::reveal::{self, FILE_BYTES_MAX};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

pub(super) struct Disk {
    root: OwnedFd,
}

impl Disk {
    pub(super) fn open(root: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::openat(CWD, root, flags, Mode::empty())? })
    }

    fn at(&self, path: &str, more: OFlags) -> Option<OwnedFd> {
        // A FIFO is not waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()
    }

    /// The text of a regular file, as far as one looks at it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let file = File::from(self.at(path, OFlags::empty())?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The files that a pattern may find, and those below a directory: more than it finds is no harm.
    pub(super) fn matching(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let next = found.iter().flat_map(|at| {
                let names = if reveal::is_glob(part) { self.names(at) } else { vec![part.to_string()] };
                names.into_iter().map(move |name| format!("{at}/{name}"))
            });
            found = next.take(FOUND_MAX).collect();
        }
        if !reveal::is_glob(pattern) && self.at(pattern, OFlags::DIRECTORY).is_some() {
            found = self.names(pattern).into_iter().map(|name| format!("{pattern}/{name}")).collect();
        }
        found
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let path = if directory.is_empty() { "/" } else { directory };
        let Some(entries) = self.at(path, OFlags::DIRECTORY).and_then(|directory| Dir::new(directory).ok()) else {
            return Vec::new();
        };
        let usable = |entry: &rustix::fs::DirEntry| {
            matches!(
                entry.file_type(),
                FileType::RegularFile | FileType::Symlink | FileType::Directory | FileType::Unknown
            )
        };
        let names = entries.flatten().filter(usable).map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name != "." && name != "..").take(FOUND_MAX).collect();
        names.sort_unstable();
        names
    }
}

/// Files that one pattern finds.
const FOUND_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn nothing_leads_out() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("stage/etc/d")).unwrap();
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("stage/etc/a"), "a").unwrap();
        symlink("/etc/a", at("stage/etc/d/absolute")).unwrap();
        symlink("../../../secret", at("stage/etc/d/out")).unwrap();
        let disk = Disk::open(&at("stage")).unwrap();
        assert_eq!(disk.text("/etc/a").as_deref(), Some("a"));
        assert_eq!(disk.text("/etc/d/absolute").as_deref(), Some("a"));
        assert_eq!(disk.text("/etc/d/out"), None);
        assert_eq!(disk.text("/../secret"), None);
        assert_eq!(disk.text("/etc"), None);
        assert_eq!(disk.matching("/etc/d/*"), ["/etc/d/absolute", "/etc/d/out"]);
        assert_eq!(disk.matching("/etc/*/absolute")[0], "/etc/a/absolute");
        assert_eq!(disk.matching("/etc/d"), ["/etc/d/absolute", "/etc/d/out"]);
    }
}
