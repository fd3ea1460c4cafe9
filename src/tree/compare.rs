//! What is there against what is listed: two sequences in the same order, merged.
//!
//! What is not looked into is not counted: an extra directory is one difference, and so is whatever stands in the place of a
//! listed directory (a file, a link, a mount, a directory that cannot be read). Where nothing stands in its place, it and
//! every entry below it are missing.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::fs::Stat;

use super::{
    Progress, Trouble, attributes,
    differences::{Differences, Of},
    diffs,
    hash::{self, Feeder},
    identity::{Identity, Names, Stamp, Stamps, kind, listed_kind},
    open::{Opener, mount_of},
    passed::{Care, Passed, Unsettled},
    still::Snapshot,
    walk::{Found, Stop, Visitor, walk},
    within::Within,
};
use crate::{
    digest::Digest,
    glob::Ignore,
    manifest::{Entry, EntryKind, Extras, Tree},
    outcome::{Outcome, Problem, Status},
    text,
};

/// One tree, and where it is.
pub(super) struct Comparison<'a> {
    pub(super) tree: &'a Tree,
    pub(super) ignore: &'a Ignore,
    pub(super) opener: &'a Opener,
    pub(super) root: &'a OwnedFd,
    pub(super) progress: &'a dyn Progress,
    /// How it looked when it passed, where that can be believed: what still looks so is not read.
    pub(super) last: Option<(&'a Passed, Care)>,
    /// Which files will have to be read again next time.
    pub(super) unsettled: Unsettled,
    /// The directories to look into, where it is not all of them.
    pub(super) within: Option<&'a Within>,
}

impl Comparison<'_> {
    /// Walks, hashes, walks again. And how it looked, if it passed.
    pub(super) fn outcome(&self, root: &Stat) -> (Outcome, Option<Passed>) {
        let differences = Mutex::new(Differences::new(self.tree.entries.len()));
        let seen = self.hashed(root, &differences).and_then(|snapshot| {
            diffs::add(&mut lock(&differences), &self.tree.entries, self.opener, self.root, self.progress);
            self.stood_still(&snapshot, &differences)?;
            Ok(snapshot)
        });
        let (snapshot, stop) = match seen {
            Ok(snapshot) => (Some(snapshot), None),
            Err(stop) => (None, Some(stop)),
        };
        let outcome = differences.into_inner().unwrap_or_else(PoisonError::into_inner).outcome(self.tree, stop);
        let snapshot = snapshot.filter(|_| outcome.status == Status::Pass);
        (outcome, snapshot.map(|snapshot| Passed::new(&self.tree.entries, snapshot)))
    }

    fn hashed(&self, root: &Stat, differences: &Mutex<Differences>) -> Result<Snapshot, Stop> {
        let entries = &self.tree.entries;
        let mount = mount_of(self.root.as_fd());
        let stamps = self.last.map_or_else(Stamps::new, |(last, _)| last.stamps()).in_mount(mount);
        let names = Names::of(self.tree, self.tree.extras);
        let mut snapshot = Snapshot::with(stamps, self.unsettled, entries.len(), root, names);
        let done = |index: usize, hashed| judge(&entries[index], index, hashed, differences);
        hash::beside(self.opener, self.progress, &done, |feeder| {
            let mut merge = Merge { of: self, differences, feeder, snapshot: &mut snapshot, next: 0 };
            walk(self.opener, self.root, self.ignore, self.progress, &mut merge)?;
            merge.missing(None);
            Ok(())
        })?;
        Ok(snapshot)
    }

    /// What is known to differ already is not called unstable as well.
    fn stood_still(&self, snapshot: &Snapshot, differences: &Mutex<Differences>) -> Result<(), Stop> {
        let entries = &self.tree.entries;
        let moved = snapshot.moved(entries, self.opener, self.root, self.ignore, self.progress)?;
        let mut differences = lock(differences);
        for index in moved.listed {
            if !differences.has(index) {
                differences.add(Of::Listed(index), &entries[index].path, Problem::Unstable, None, None);
            }
        }
        if moved.elsewhere && differences.is_empty() {
            differences.add(Of::Unlisted, b"", Problem::Unstable, None, None);
        }
        Ok(())
    }
}

fn lock(differences: &Mutex<Differences>) -> MutexGuard<'_, Differences> {
    // Adding keeps no invariant half-way: what a panicking thread left behind is still true.
    differences.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of hashing `entry`, a file.
fn judge(entry: &Entry, index: usize, hashed: Result<Digest, Trouble>, differences: &Mutex<Differences>) {
    let of = Of::Listed(index);
    match (hashed, &entry.kind) {
        (Ok(actual), EntryKind::File { sha256, .. }) if actual == *sha256 => {}
        (Ok(actual), EntryKind::File { sha256, .. }) => {
            let (expected, actual) = (sha256.to_string(), actual.to_string());
            lock(differences).add(of, &entry.path, Problem::Content, Some(expected), Some(actual));
        }
        (Ok(_), EntryKind::Directory | EntryKind::Link { .. } | EntryKind::Template { .. }) => {
            unreachable!("only files are fed")
        }
        (Err(trouble), _) => troubled(&mut lock(differences), of, Some(entry), &entry.path, &trouble),
    }
}

fn troubled(differences: &mut Differences, of: Of, entry: Option<&Entry>, path: &[u8], trouble: &Trouble) {
    let (problem, expected) = match trouble {
        // The root is a directory, and so is what else is looked into.
        Trouble::Mount => (Problem::Type, Some(entry.map_or("dir", |entry| listed_kind(&entry.kind)))),
        Trouble::Unstable => (Problem::Unstable, None),
        Trouble::Unreadable(_) | Trouble::TooDeep => (Problem::Unreadable, None),
    };
    let actual = (problem != Problem::Unstable).then(|| trouble.text());
    differences.add(of, path, problem, expected.map(Into::into), actual);
}

/// The first walk.
struct Merge<'a> {
    of: &'a Comparison<'a>,
    differences: &'a Mutex<Differences>,
    feeder: &'a mut Feeder,
    snapshot: &'a mut Snapshot,
    /// The first entry that has neither been found nor missed.
    next: usize,
}

impl<'a> Merge<'a> {
    /// What is listed before `here`, and has not been found, is missing: unless nobody looks there.
    fn missing(&mut self, here: Option<&[u8]>) {
        while let Some(entry) = self.of.tree.entries.get(self.next)
            && here.is_none_or(|here| entry.path.as_slice() < here)
        {
            let is_dir = entry.kind == EntryKind::Directory;
            if !self.is_closed(&entry.path) && !self.of.ignore.hides(&entry.path, is_dir) {
                let expected = Some(listed_kind(&entry.kind).into());
                lock(self.differences).add(Of::Listed(self.next), &entry.path, Problem::Missing, expected, None);
            }
            self.next += 1;
        }
    }

    /// Whether it lies below something that was not looked into.
    fn is_closed(&self, path: &[u8]) -> bool {
        let closed = &self.snapshot.closed;
        let mut slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        !closed.is_empty() && (closed.contains(&b""[..]) || slashes.any(|(slash, _)| closed.contains(&path[..slash])))
    }

    fn extra(&mut self, found: &Found<'_>) {
        if self.of.tree.extras == Extras::Refuse {
            self.snapshot.saw_unlisted(found.path);
            let actual = Some(kind(&found.stat).into());
            lock(self.differences).add(Of::Unlisted, found.path, Problem::Extra, None, actual);
        }
    }

    /// Compares all but the content of a file of the right size; whether to look into it.
    fn listed(&mut self, index: usize, entry: &'a Entry, found: &Found<'_>, stamp: Stamp) -> bool {
        let stat = &found.stat;
        let (wanted, actual) = (listed_kind(&entry.kind), kind(stat));
        if wanted != actual {
            self.differs(index, entry, Problem::Type, (wanted.into(), actual.into()));
            self.snapshot.closed.insert(entry.path.clone());
            return false;
        }
        for (problem, pair) in attributes::problems(self.of.tree.attributes, entry, stat) {
            self.differs(index, entry, problem, pair);
        }
        match &entry.kind {
            EntryKind::Directory => return self.looks_into(entry),
            EntryKind::Link { target } => self.link(index, entry, target, found),
            EntryKind::Template { template } => {
                let actual = Some(template.not_rendered().to_string());
                lock(self.differences).add(Of::Listed(index), &entry.path, Problem::Unreadable, None, actual);
            }
            EntryKind::File { size, .. } => {
                let was = Identity::of(stat);
                if self.of.last.is_some_and(|(last, care)| last.holds(index, stamp, care)) {
                    // Read before, and untouched since.
                    if self.of.last.is_some_and(|(last, _)| last.is_fresh(index)) {
                        self.snapshot.believed(index);
                    }
                } else if was.size == *size {
                    self.feeder.feed(index, found, was);
                } else {
                    let sizes = (format!("size {size}"), format!("size {}", was.size));
                    self.differs(index, entry, Problem::Content, sizes);
                }
            }
        }
        false
    }

    fn looks_into(&mut self, directory: &Entry) -> bool {
        let open = self.of.within.is_none_or(|within| within.opens(&directory.path));
        if !open {
            self.snapshot.closed.insert(directory.path.clone());
        }
        open
    }

    fn link(&mut self, index: usize, entry: &Entry, target: &[u8], found: &Found<'_>) {
        match rustix::fs::readlinkat(found.directory, found.name, Vec::new()) {
            Ok(actual) if actual.to_bytes() == target => {}
            Ok(actual) => {
                let targets = (text::path(target), text::path(actual.to_bytes()));
                self.differs(index, entry, Problem::Link, targets);
            }
            // EINVAL: no link any more.
            Err(rustix::io::Errno::INVAL) => self.trouble(found.path, Trouble::Unstable),
            Err(error) => self.trouble(found.path, error.into()),
        }
    }

    fn differs(&self, index: usize, entry: &Entry, problem: Problem, (expected, actual): (String, String)) {
        lock(self.differences).add(Of::Listed(index), &entry.path, problem, Some(expected), Some(actual));
    }
}

impl Visitor for Merge<'_> {
    fn found(&mut self, found: &Found<'_>) -> bool {
        self.missing(Some(found.path));
        match self.of.tree.entries.get(self.next) {
            Some(entry) if entry.path == found.path => {
                let index = self.next;
                self.next += 1;
                let stamp = self.snapshot.saw(index, found);
                self.listed(index, entry, found, stamp)
            }
            _ => {
                self.extra(found);
                false
            }
        }
    }

    fn trouble(&mut self, path: &[u8], trouble: Trouble) {
        let entries = &self.of.tree.entries;
        let (of, entry) = match entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)) {
            Ok(index) => (Of::Listed(index), Some(&entries[index])),
            // Nobody's business, unless it is the root.
            Err(_) if self.of.tree.extras == Extras::Allow && !path.is_empty() => return,
            Err(_) => (Of::Unlisted, None),
        };
        self.missing(Some(path));
        // Not found, but not missing either.
        if let Of::Listed(index) = of {
            self.next = self.next.max(index + 1);
        }
        self.snapshot.closed.insert(path.to_vec());
        troubled(&mut lock(self.differences), of, entry, path, &trouble);
    }

    fn listed(&mut self) {
        self.feeder.flush();
    }
}
