//! Making the entries of a manifest out of what is there.

use alloc::{format, string::String, vec::Vec};
use std::{
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use rustix::fs::FileType;

use super::{
    Progress, ReadError, Trouble, attributes,
    hash::{self, Feeder},
    identity::{Identity, Names, kind},
    open::Opener,
    small::Reader,
    still::Snapshot,
    templates::{self, Globs},
    texts::{self, Contents},
    walk::{Found, Visitor, walk},
};
use crate::{
    digest::Digest,
    glob::Ignore,
    manifest::{Attributes, Entry, EntryKind, Extras, PATH_BYTES_MAX, Tree},
    text,
};

/// What is to be listed, and how.
pub(super) struct Wanted<'a> {
    pub(super) tree: &'a Tree,
    pub(super) ignore: &'a Ignore,
    pub(super) globs: &'a Globs,
    /// How many bytes of texts are kept.
    pub(super) budget: Option<&'a mut usize>,
    pub(super) has_templates: bool,
}

/// The entries below `root`.
pub(super) fn collect(
    wanted: Wanted<'_>,
    opener: &Opener,
    root: &OwnedFd,
    progress: &dyn Progress,
) -> Result<Contents, ReadError> {
    let Wanted { tree, ignore, globs, budget, has_templates } = wanted;
    let stat = rustix::fs::fstat(root).map_err(|error| failed(b"", &error.into()))?;
    let mut snapshot = Snapshot::new(0, &stat, Names::of(tree, Extras::Refuse));
    let hashes = Mutex::new(Vec::new());
    let done = |index: usize, hashed| hashes.lock().unwrap_or_else(PoisonError::into_inner).push((index, hashed));
    let mut entries = Vec::new();
    let mut refused = None;
    hash::beside(opener, progress, &done, |feeder| {
        let (entries, snapshot, refused) = (&mut entries, &mut snapshot, &mut refused);
        let mut collecting = Collecting { attributes: tree.attributes, feeder, entries, snapshot, refused };
        walk(opener, root, ignore, progress, &mut collecting)
    })
    .map_err(|stop| ReadError::whole(&stop))?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    fill_in(&mut entries, hashes.into_inner().unwrap_or_else(PoisonError::into_inner))?;
    let mut contents = Contents { entries, ..Contents::default() };
    // Before the second walk, so that a change of what is read twice does not escape it.
    if let Some(budget) = budget {
        texts::keep(&mut contents, &globs.secret, &mut Reader::new(opener, root), budget)?;
    }
    let templates = if has_templates { templates::entries(tree, globs, opener, root)? } else { Vec::new() };
    let entries = &mut contents.entries;
    let moved = snapshot.moved(entries, opener, root, ignore, progress).map_err(|stop| ReadError::whole(&stop))?;
    match moved.listed.first() {
        Some(&index) => Err(failed(&entries[index].path, &Trouble::Unstable)),
        None if moved.elsewhere => Err(failed(b"", &Trouble::Unstable)),
        None => templates::place(entries, templates, globs, ignore).map(|()| contents),
    }
}

fn fill_in(entries: &mut [Entry], mut hashes: Vec<(usize, Result<Digest, Trouble>)>) -> Result<(), ReadError> {
    // So that of several the first by path is told, whichever thread was first.
    hashes.sort_unstable_by_key(|(index, _)| *index);
    for (index, hashed) in hashes {
        let entry = &mut entries[index];
        match hashed {
            Ok(digest) => {
                if let EntryKind::File { sha256, .. } = &mut entry.kind {
                    *sha256 = digest;
                }
            }
            Err(trouble) => return Err(failed(&entry.path, &trouble)),
        }
    }
    Ok(())
}

struct Collecting<'a> {
    attributes: Attributes,
    feeder: &'a mut Feeder,
    entries: &'a mut Vec<Entry>,
    snapshot: &'a mut Snapshot,
    /// The first thing that no manifest can have; nothing is looked into after it.
    refused: &'a mut Option<ReadError>,
}

impl Collecting<'_> {
    fn entry(&mut self, found: &Found<'_>) -> Result<Entry, ReadError> {
        let is_link = FileType::from_raw_mode(found.stat.st_mode) == FileType::Symlink;
        let (mode, owner) = attributes::recorded(self.attributes, is_link, &found.stat);
        refuse(found)?;
        Ok(Entry { path: found.path.to_vec(), kind: self.kind(found)?, mode, owner })
    }

    fn kind(&mut self, found: &Found<'_>) -> Result<EntryKind, ReadError> {
        match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::Directory => Ok(EntryKind::Directory),
            FileType::Symlink => rustix::fs::readlinkat(found.directory, found.name, Vec::new())
                .map(|target| EntryKind::Link { target: target.into_bytes() })
                .map_err(|error| failed(found.path, &error.into())),
            FileType::RegularFile => {
                let was = Identity::of(&found.stat);
                self.feeder.feed(self.entries.len(), found, was);
                Ok(EntryKind::File { size: was.size, sha256: NOT_YET, text: None })
            }
            _ => Err(refused(found, format!("is a {}", kind(&found.stat)), Some("ignore it"))),
        }
    }
}

impl Visitor for Collecting<'_> {
    fn found(&mut self, found: &Found<'_>) -> bool {
        if self.refused.is_some() {
            return false;
        }
        match self.entry(found) {
            Ok(entry) => {
                let is_dir = entry.kind == EntryKind::Directory;
                self.entries.push(entry);
                self.snapshot.saw(self.entries.len() - 1, found);
                is_dir
            }
            Err(error) => {
                *self.refused = Some(error);
                false
            }
        }
    }

    fn trouble(&mut self, path: &[u8], trouble: Trouble) {
        self.refused.get_or_insert_with(|| failed(path, &trouble));
    }

    fn listed(&mut self) {
        self.feeder.flush();
    }
}

fn refuse(found: &Found<'_>) -> Result<(), ReadError> {
    if found.path.len() > PATH_BYTES_MAX {
        return Err(refused(found, format!("has a path longer than {PATH_BYTES_MAX} bytes"), Some("ignore it")));
    }
    Ok(())
}

fn refused(found: &Found<'_>, problem: String, hint: Option<&'static str>) -> ReadError {
    ReadError { path: text::escape(found.path), problem, hint }
}

/// The error for something that could not be told.
pub(super) fn failed(path: &[u8], trouble: &Trouble) -> ReadError {
    let (problem, hint) = match trouble {
        Trouble::Unreadable(_) => (format!("cannot be read: {}", trouble.text()), None),
        Trouble::Unstable => (trouble.text(), Some("build from a tree that nothing writes to")),
        Trouble::Mount => ("is a mount".into(), Some("make it a tree of its own, and ignore it in this one")),
        Trouble::TooDeep => (format!("is {}", trouble.text()), Some("ignore it")),
    };
    let path = if path.is_empty() { ".".into() } else { text::escape(path) };
    ReadError { path, problem, hint }
}

/// Until the workers come back.
const NOT_YET: Digest = Digest::from_bytes([0; 32]);
