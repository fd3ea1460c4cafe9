//! What tells whether a thing is still the same, and still as it was.

use core::hash::BuildHasher;
use std::hash::RandomState;

use rustix::fs::{FileType, Stat};

use crate::manifest::EntryKind;

/// All of a thing's `stat` that changes when its bytes, its place or its permissions do. Not its access time, which reading
/// changes, nor its link count, which cannot change without the change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    /// In bytes.
    pub(super) size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Without what changes when a name comes or goes in a directory: for a tree in which some names are nobody's business.
    pub(super) fn but_for_names(self) -> Self {
        Self { size: 0, modified: (0, 0), changed: (0, 0), ..self }
    }
}

/// Whether it is a regular file, a directory, …, in the words of the outside contract.
pub(super) fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        _ => "device",
    }
}

/// The same words for what is listed.
pub(super) fn listed_kind(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "dir",
        EntryKind::File { .. } => "file",
        EntryKind::Link { .. } => "link",
    }
}

/// Identities in 8 bytes each: a tree of a million entries is walked twice, and in between they are all remembered. The hash
/// is keyed anew each time, so nobody can make two that collide; by chance one change in 2⁶³ escapes.
#[derive(Debug, Default)]
pub(super) struct Stamps(RandomState);

impl Stamps {
    pub(super) fn stamp(&self, identity: &Identity) -> Stamp {
        self.0.hash_one(identity) | 1
    }

    /// Of a set of names, by their sum: in the second walk they come in the same order, but need not.
    pub(super) fn name(&self, path: &[u8]) -> u64 {
        self.0.hash_one(path)
    }
}

/// Never 0, so that a missing one takes no more room.
pub(super) type Stamp = u64;
