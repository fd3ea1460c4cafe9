//! Walking a real tree in the order of a manifest: by the bytes of the whole path.
//!
//! That order is not the order of a depth-first walk: `a`, `a.b`, `a/c`, since `.` sorts before `/`. So a directory's
//! contents wait under the key `a/` until all siblings that sort before that key had their turn.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use core::ffi::CStr;
use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, RawDir, Stat},
    io::Errno,
};

use super::{DEPTH_MAX, ENTRIES_WALKED_MAX, Progress, Trouble, open::Opener};
use crate::glob::Ignore;

/// What a walk is for.
pub(super) trait Visitor {
    /// Called for each thing that is there and not ignored, ascending by path; of a directory, whether to look into it.
    fn found(&mut self, found: &Found<'_>) -> bool;

    /// A thing that could not be looked at (or into: then it was `found` before).
    fn trouble(&mut self, path: &[u8], trouble: Trouble);

    /// All of a directory but its subdirectories has been `found`.
    fn listed(&mut self) {}
}

/// Something that is there.
pub(super) struct Found<'a> {
    /// Relative to the root.
    pub(super) path: &'a [u8],
    /// Its last component.
    pub(super) name: &'a CStr,
    /// Where the name is to be looked up.
    pub(super) directory: &'a Arc<OwnedFd>,
    /// By `lstat`.
    pub(super) stat: Stat,
}

/// Why a walk ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stop {
    #[error("given up at the deadline")]
    Cancelled,
    #[error("more than {ENTRIES_WALKED_MAX} entries")]
    TooMany,
    #[error("no thread could be started for hashing")]
    NoWorker,
}

/// Walks all below `root`.
pub(super) fn walk(
    opener: &Opener,
    root: &OwnedFd,
    ignore: &Ignore,
    progress: &dyn Progress,
    visitor: &mut dyn Visitor,
) -> Result<(), Stop> {
    let mut walk = Walk { opener, ignore, progress, visitor, path: Vec::new(), entries: 0, buffer: Vec::new() };
    // Listing moves a descriptor's position, so that each walk needs its own.
    match opener.directory(root.as_fd(), c".") {
        Ok(directory) => walk.directory(&Arc::new(directory), 0),
        Err(error) => {
            walk.visitor.trouble(b"", error.into());
            Ok(())
        }
    }
}

struct Walk<'a> {
    opener: &'a Opener,
    ignore: &'a Ignore,
    progress: &'a dyn Progress,
    visitor: &'a mut dyn Visitor,
    path: Vec<u8>,
    entries: u64,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Arc<OwnedFd>, depth: usize) -> Result<(), Stop> {
        let names = match self.list(directory)? {
            Ok(names) => names,
            Err(error) => {
                self.visitor.trouble(&self.path, error.into());
                return Ok(());
            }
        };
        let stem = self.path.len();
        // Each with its slash. Seldom more than one: only while names like `a.b` and `a-b` come between `a` and `a/`.
        let mut waiting = BTreeSet::<Vec<u8>>::new();
        for name in names.iter() {
            while waiting.first().is_some_and(|key| key.as_slice() < name.to_bytes()) {
                self.descend(directory, waiting.pop_first(), stem, depth)?;
            }
            if self.entry(directory, name, stem) {
                waiting.insert([name.to_bytes(), b"/"].concat());
            }
            if self.progress.cancelled() {
                return Err(Stop::Cancelled);
            }
        }
        self.visitor.listed();
        while !waiting.is_empty() {
            self.descend(directory, waiting.pop_first(), stem, depth)?;
        }
        Ok(())
    }

    /// Whether to look into it.
    fn entry(&mut self, directory: &Arc<OwnedFd>, name: &CStr, stem: usize) -> bool {
        self.set_path(stem, name.to_bytes());
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(_) if self.ignore.matches(&self.path, true) || self.ignore.matches(&self.path, false) => return false,
            Err(error) => {
                self.visitor.trouble(&self.path, error.into());
                return false;
            }
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if self.ignore.matches(&self.path, is_dir) {
            return false;
        }
        self.visitor.found(&Found { path: &self.path, name, directory, stat })
    }

    fn descend(&mut self, directory: &OwnedFd, key: Option<Vec<u8>>, stem: usize, depth: usize) -> Result<(), Stop> {
        let Some(mut name) = key else { return Ok(()) };
        name.pop();
        self.set_path(stem, &name);
        if depth + 1 >= DEPTH_MAX {
            self.visitor.trouble(&self.path, Trouble::TooDeep);
            return Ok(());
        }
        let opened = CString::new(name)
            .map_err(|_| Errno::INVAL)
            .and_then(|name| self.opener.directory(directory.as_fd(), &name));
        match opened {
            Ok(opened) => self.directory(&Arc::new(opened), depth + 1),
            Err(error) => {
                self.visitor.trouble(&self.path, error.into());
                Ok(())
            }
        }
    }

    fn set_path(&mut self, stem: usize, name: &[u8]) {
        self.path.truncate(stem);
        if stem > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    fn list(&mut self, directory: &OwnedFd) -> Result<Result<Names, Errno>, Stop> {
        let mut names = Names::default();
        self.buffer.reserve(LISTING_BYTES);
        let mut listing = RawDir::new(directory, self.buffer.spare_capacity_mut());
        while let Some(item) = listing.next() {
            match item {
                Ok(item) if matches!(item.file_name().to_bytes(), b"." | b"..") => {}
                Ok(item) => names.push(item.file_name()),
                Err(error) => return Ok(Err(error)),
            }
            if self.entries + names.len() > ENTRIES_WALKED_MAX {
                return Err(Stop::TooMany);
            }
        }
        self.entries += names.len();
        self.progress.walked(names.len());
        names.sort();
        Ok(Ok(names))
    }
}

/// The names of a directory, in one piece of memory.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    /// Start, and end without the NUL.
    spans: Vec<(usize, usize)>,
}

impl Names {
    fn push(&mut self, name: &CStr) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.spans.push((start, self.bytes.len() - 1));
    }

    fn len(&self) -> u64 {
        self.spans.len() as u64
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
    }

    fn iter(&self) -> impl Iterator<Item = &CStr> {
        // What was pushed ends in its only NUL.
        self.spans.iter().filter_map(|&(start, end)| CStr::from_bytes_with_nul(&self.bytes[start..=end]).ok())
    }
}

/// One `getdents` call's worth: some 1,000 names.
pub(super) const LISTING_BYTES: usize = 64 * 1024;
