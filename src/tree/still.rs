//! Walking again, after all has been hashed: whether the tree stood still throughout.
//!
//! A file is compared with itself around its own reading (`hash`); only a second walk shows that nothing which had been
//! read already changed while the rest was still being read. Without it a tree could pass that never was, at any moment,
//! as the manifest wants it.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};

use super::{
    Progress, Trouble,
    identity::{Identity, Names, Stamp, Stamps},
    open::Opener,
    passed::Unsettled,
    sum::{Sum, Summing},
    walk::{Found, Stop, Visitor, walk},
};
use crate::{
    glob::Ignore,
    manifest::{Entry, EntryKind},
};

/// What the first walk saw.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) stamps: Stamps,
    /// Of each listed entry; 0 where it was not seen.
    pub(super) seen: Vec<Stamp>,
    /// The sum of what is there and not listed.
    unlisted: u64,
    root: Stamp,
    names: Names,
    unsettled: Unsettled,
    /// Listed files of which nobody could say by their times alone whether they will have changed; and whether they are racy.
    pub(super) fresh: Vec<(usize, bool)>,
    /// Directories that were not looked into, though they are listed.
    pub(super) closed: BTreeSet<Vec<u8>>,
}

impl Snapshot {
    /// Before the first walk, of `entries` listed entries.
    pub(super) fn new(entries: usize, root: &Stat, names: Names) -> Self {
        Self::with(Stamps::new(), Unsettled::NONE, entries, root, names)
    }

    /// The same with stamps that can be compared with others', and the moments from which on files are fresh.
    pub(super) fn with(stamps: Stamps, unsettled: Unsettled, entries: usize, root: &Stat, names: Names) -> Self {
        Self {
            root: stamps.stamp(b"", root, names),
            stamps,
            seen: vec![0; entries],
            unlisted: 0,
            names,
            unsettled,
            fresh: Vec::new(),
            closed: BTreeSet::new(),
        }
    }

    /// The listed entry `index` is there.
    pub(super) fn saw(&mut self, index: usize, found: &Found<'_>) -> Stamp {
        let stamp = self.stamps.stamp(found.path, &found.stat, self.names);
        match self.seen.get_mut(index) {
            Some(seen) => *seen = stamp,
            // While a list is being made it grows with the walk.
            None => self.seen.push(stamp),
        }
        let is_file = FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile;
        let newest_ns = Identity::of(&found.stat).newest_ns();
        if is_file && newest_ns >= self.unsettled.fresh_from_ns {
            self.fresh.push((index, newest_ns >= self.unsettled.racy_from_ns));
        }
        stamp
    }

    /// The listed entry `index` was not read, as it would have been by a check with full care: that is still to be done.
    pub(super) fn believed(&mut self, index: usize) {
        if self.fresh.last().is_none_or(|(last, _)| *last != index) {
            self.fresh.push((index, false));
        }
    }

    /// Something is there that is not listed.
    pub(super) fn saw_unlisted(&mut self, path: &[u8]) {
        self.unlisted = self.unlisted.wrapping_add(self.stamps.name(path));
    }

    /// Of all that was seen, the root included.
    pub(super) fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.seen.iter().chain([&self.root]).for_each(|stamp| sum.add(*stamp));
        sum
    }

    /// Whether nothing was in the way of the first walk: all that is listed was seen, and nothing else.
    fn is_whole(&self) -> bool {
        self.unlisted == 0 && self.closed.is_empty() && !self.seen.contains(&0)
    }

    /// Walks again, and tells what is no longer as it was seen.
    pub(super) fn moved(
        &self,
        entries: &[Entry],
        opener: &Opener,
        root: &OwnedFd,
        ignore: &Ignore,
        progress: &dyn Progress,
    ) -> Result<Moved, Stop> {
        if self.is_whole() {
            let is_listed = |path: &[u8], _| entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).is_ok();
            let (stamps, names) = (&self.stamps, self.names);
            let summing = Summing { opener, root, ignore, progress, stamps, names, counts: &is_listed };
            if summing.sum() == Some(self.sum()) {
                return Ok(Moved::default());
            }
        }
        let mut again = Again { was: self, entries, next: 0, unlisted: 0, moved: Moved::default() };
        walk(opener, root, ignore, progress, &mut again)?;
        again.passed(None);
        again.moved.elsewhere |= (again.unlisted != self.unlisted && self.names != Names::Listed)
            || rustix::fs::fstat(root).map_or(true, |root| self.stamps.stamp(b"", &root, self.names) != self.root);
        Ok(again.moved)
    }
}

/// What did not stand still.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Indices of listed entries, each once.
    pub(super) listed: BTreeSet<usize>,
    /// The root, or things that are not listed.
    pub(super) elsewhere: bool,
}

struct Again<'a> {
    was: &'a Snapshot,
    entries: &'a [Entry],
    next: usize,
    unlisted: u64,
    moved: Moved,
}

impl Again<'_> {
    /// What was seen before and has not come up to here is gone.
    fn passed(&mut self, here: Option<&[u8]>) {
        while let Some(entry) = self.entries.get(self.next)
            && here.is_none_or(|here| entry.path.as_slice() < here)
        {
            if self.was.seen[self.next] != 0 {
                self.moved.listed.insert(self.next);
            }
            self.next += 1;
        }
    }
}

impl Visitor for Again<'_> {
    fn found(&mut self, found: &Found<'_>) -> bool {
        self.passed(Some(found.path));
        let Some(entry) = self.entries.get(self.next).filter(|entry| entry.path == found.path) else {
            self.unlisted = self.unlisted.wrapping_add(self.was.stamps.name(found.path));
            return false;
        };
        let same = self.was.seen[self.next] == self.was.stamps.stamp(found.path, &found.stat, self.was.names);
        // What is closed differs already, or is nobody's business.
        let is_closed = self.was.closed.contains(found.path);
        if !same && !is_closed {
            self.moved.listed.insert(self.next);
        }
        self.next += 1;
        same && entry.kind == EntryKind::Directory && !is_closed
    }

    fn trouble(&mut self, path: &[u8], _: Trouble) {
        match self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)) {
            Ok(index) if self.was.seen[index] != 0 => {
                self.moved.listed.insert(index);
            }
            Ok(_) => {}
            Err(_) => self.moved.elsewhere |= self.was.names != Names::Listed || path.is_empty(),
        }
    }
}
