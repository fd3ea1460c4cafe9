//! Putting a watch on every directory of some trees.

use std::{
    ffi::OsStr,
    fmt, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, inotify, inotify::WatchFlags},
    io::Errno,
};

use super::{Target, places::Places};

/// Why nothing is watched, for people.
#[derive(Debug)]
pub(super) struct Blind(String);

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Blind {
    fn from(because: &str) -> Self {
        Self(because.into())
    }
}

impl Blind {
    pub(super) fn new(what: &str, error: &io::Error) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// Of a watch that could not be opened at all.
    pub(super) fn opening(error: Errno) -> Self {
        match error {
            Errno::MFILE => Self("no more than `fs.inotify.max_user_instances` may watch".into()),
            Errno::NOSYS => Self("this kernel has no inotify".into()),
            error => Self::new("inotify", &error.into()),
        }
    }

    fn at(target: &Target, path: &[u8], error: Errno) -> Self {
        if error == Errno::NOSPC {
            return Self("there are more directories than `fs.inotify.max_user_watches` has left".into());
        }
        let path = target.root.join(OsStr::from_bytes(path));
        let path = portcullis::text::escape(path.as_os_str().as_bytes());
        Self::new(&format!("`{path}`"), &error.into())
    }
}

/// Watches every directory of `targets` that is not ignored, and those above their roots. What is watched already stays so.
/// Each is watched before it is listed, so that what is made in it afterwards is told.
pub(super) fn walk(eye: &OwnedFd, targets: &[Target], directories_max: usize) -> Result<Places, Blind> {
    let mut walk = Walk { eye, places: Places::default(), directories_max, listing: Vec::new() };
    for (index, target) in targets.iter().enumerate() {
        walk.above(target)?;
        if !target.is_file {
            walk.tree(index, target)?;
        }
    }
    Ok(walk.places)
}

struct Walk<'a> {
    eye: &'a OwnedFd,
    places: Places,
    directories_max: usize,
    listing: Vec<u8>,
}

impl Walk<'_> {
    /// The directories above a root or a file, as far as they are there: one day it may be put in its place, or another.
    fn above(&mut self, target: &Target) -> Result<(), Blind> {
        let mut ancestors: Vec<&Path> = target.root.ancestors().collect();
        ancestors.reverse();
        for pair in ancestors.windows(2) {
            let name = pair[1].file_name().unwrap_or_default();
            let mut flags = ABOVE;
            // Whoever watches a file hears only of those beside it.
            flags.set(WatchFlags::CLOSE_WRITE, target.is_file && pair[1] == target.root);
            match inotify::add_watch(self.eye, pair[0], flags) {
                Ok(watch) => self.places.put_above(watch, name.as_bytes()),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                // Who may not list it may still look below; only that another root was put there is noticed later.
                Err(Errno::ACCESS) => {}
                Err(error) => return Err(Blind::at(target, b"", error)),
            }
        }
        Ok(())
    }

    fn tree(&mut self, index: usize, target: &Target) -> Result<(), Blind> {
        let mut flags = DIRECTORY;
        flags.set(OFlags::NOFOLLOW, !target.root_link);
        let root = match rustix::fs::open(&target.root, flags, Mode::empty()) {
            Ok(root) => root,
            Err(error) if is_no_directory(error) => return Ok(()),
            Err(error) => return Err(Blind::at(target, b"", error)),
        };
        let mut waiting = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            match self.directory(index, target, &root, &path, &mut waiting) {
                Ok(()) => {}
                // Vanished, or not ours: the checks say what is wrong with it, and its parent is watched.
                Err(error) if is_no_directory(error) => {}
                Err(error) => return Err(Blind::at(target, &path, error)),
            }
            if self.places.directories() > self.directories_max {
                return Err(Blind(format!("there are more than {} directories", self.directories_max)));
            }
        }
        Ok(())
    }

    /// Watches one directory; those in it wait for their turn.
    fn directory(
        &mut self,
        index: usize,
        target: &Target,
        root: &OwnedFd,
        path: &[u8],
        waiting: &mut Vec<Vec<u8>>,
    ) -> Result<(), Errno> {
        let directory = open(root, path)?;
        let this = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let watch = inotify::add_watch(self.eye, this, INSIDE)?;
        self.places.put_inside(watch, index, path);
        self.listing.reserve(LISTING_BYTES);
        let mut listing = RawDir::new(&directory, self.listing.spare_capacity_mut());
        while let Some(item) = listing.next() {
            let item = item?;
            let name = item.file_name();
            let is_dir = match item.file_type() {
                FileType::Directory => !matches!(name.to_bytes(), b"." | b".."),
                FileType::Unknown => {
                    rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
                        && !matches!(name.to_bytes(), b"." | b"..")
                }
                _ => false,
            };
            if is_dir {
                let name = name.to_bytes();
                let below = if path.is_empty() { name.to_vec() } else { [path, name].join(&b'/') };
                if !target.ignore.matches(&below, true) {
                    waiting.push(below);
                }
            }
        }
        Ok(())
    }
}

/// Beneath the root: never by a link, never into a mount. On a kernel without `openat2` it may happen; then some things are
/// watched that need not be.
fn open(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    match rustix::fs::openat2(root, path, DIRECTORY, Mode::empty(), BENEATH) {
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(root, path, DIRECTORY, Mode::empty()),
        opened => opened,
    }
}

/// Not there, no longer there, something else by now, or mounted there.
fn is_no_directory(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// All that changes what a check would see. `MODIFY` besides `CLOSE_WRITE`: some files are never closed.
const INSIDE: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);

/// Only names that come and go: much happens in directories above.
const ABOVE: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);

/// As for the walk of a check: some 1,000 names.
const LISTING_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_limit() {
        let tree = portcullis::manifest::Tree::new("app", "/srv/app");
        let target = Target::new(&tree, None);
        for (error, told) in
            [(Errno::NOSPC, "`fs.inotify.max_user_watches`"), (Errno::ACCESS, "`/srv/app/a`: Permission")]
        {
            let blind = Blind::at(&target, b"a", error).to_string();
            assert!(blind.contains(told), "{blind}");
        }
        assert!(Blind::opening(Errno::MFILE).to_string().contains("max_user_instances"));
    }
}
