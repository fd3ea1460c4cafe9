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
    identity::{Identity, Stamp, Stamps},
    open::Opener,
    walk::{Found, Stop, Visitor, walk},
};
use crate::{
    glob::Ignore,
    manifest::{Entry, EntryKind, Extras, Tree},
};

/// Which names are ours to notice when they come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// All: so a directory's own times tell even of those that came and went again between the walks.
    All,
    /// All but those ignored.
    NotIgnored,
    /// Only those that are listed.
    Listed,
}

impl Names {
    /// In `tree`, of which `extras` are wanted or not.
    pub(super) fn of(tree: &Tree, extras: Extras) -> Self {
        match extras {
            Extras::Allow => Self::Listed,
            Extras::Refuse if tree.ignore.is_empty() => Self::All,
            Extras::Refuse => Self::NotIgnored,
        }
    }
}

/// What the first walk saw.
#[derive(Debug)]
pub(super) struct Snapshot {
    stamps: Stamps,
    /// Of each listed entry; 0 where it was not seen.
    seen: Vec<Stamp>,
    /// The sum of what is there and not listed.
    unlisted: u64,
    root: Stamp,
    names: Names,
    /// Directories that were not looked into, though they are listed.
    pub(super) closed: BTreeSet<Vec<u8>>,
}

impl Snapshot {
    /// Before the first walk, of `entries` listed entries.
    pub(super) fn new(entries: usize, root: &Stat, names: Names) -> Self {
        let mut snapshot = Self {
            stamps: Stamps::default(),
            seen: vec![0; entries],
            unlisted: 0,
            root: 0,
            names,
            closed: BTreeSet::new(),
        };
        snapshot.root = snapshot.stamp(root);
        snapshot
    }

    /// The listed entry `index` is there.
    pub(super) fn saw(&mut self, index: usize, stat: &Stat) {
        let stamp = self.stamp(stat);
        match self.seen.get_mut(index) {
            Some(seen) => *seen = stamp,
            // While a list is being made it grows with the walk.
            None => self.seen.push(stamp),
        }
    }

    /// Something is there that is not listed.
    pub(super) fn saw_unlisted(&mut self, path: &[u8]) {
        self.unlisted = self.unlisted.wrapping_add(self.stamps.name(path));
    }

    fn stamp(&self, stat: &Stat) -> Stamp {
        let identity = Identity::of(stat);
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        self.stamps.stamp(&if is_dir && self.names != Names::All { identity.but_for_names() } else { identity })
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
        let mut again = Again { was: self, entries, next: 0, unlisted: 0, moved: Moved::default() };
        walk(opener, root, ignore, progress, &mut again)?;
        again.passed(None);
        again.moved.elsewhere |= (again.unlisted != self.unlisted && self.names != Names::Listed)
            || rustix::fs::fstat(root).map_or(true, |root| self.stamp(&root) != self.root);
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
        let same = self.was.seen[self.next] == self.was.stamp(&found.stat);
        if !same {
            self.moved.listed.insert(self.next);
        }
        self.next += 1;
        same && entry.kind == EntryKind::Directory && !self.was.closed.contains(found.path)
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
