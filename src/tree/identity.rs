//! What tells whether a thing is still the same, and still as it was.

use core::hash::{BuildHasher as _, Hasher as _};
use std::hash::{DefaultHasher, RandomState};

use rustix::fs::{FileType, Stat};

use crate::manifest::{EntryKind, Extras, Tree};

/// All of a thing's `stat` that changes when its bytes, its place or its permissions do. Not its access time, which reading
/// changes, nor its link count, which cannot change without the change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// When its bytes or anything else of it changed last, in nanoseconds of the wall clock.
    pub(super) fn newest_ns(&self) -> i64 {
        let ns = |(s, ns): (i64, u64)| s.saturating_mul(1_000_000_000).saturating_add_unsigned(ns);
        ns(self.modified).max(ns(self.changed))
    }

    /// All of it, in no particular form.
    fn bytes(&self) -> [u8; 72] {
        let words = [
            self.device,
            self.inode,
            u64::from(self.mode),
            u64::from(self.owner.0) << 32 | u64::from(self.owner.1),
            self.size,
            self.modified.0.cast_unsigned(),
            self.modified.1,
            self.changed.0.cast_unsigned(),
            self.changed.1,
        ];
        let mut bytes = [0; 72];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
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
        EntryKind::File { .. } | EntryKind::Template { .. } => "file",
        EntryKind::Link { .. } => "link",
    }
}

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

/// Path and identity in 8 bytes: a tree of a million entries is walked twice, and in between they are all remembered. The hash
/// is keyed by a secret that is new each time, so nobody can make two that collide; by chance one change in 2⁶³ escapes.
#[derive(Debug, Clone)]
pub(super) struct Stamps {
    secret: Secret,
    /// Has taken the secret in.
    begun: DefaultHasher,
}

pub(super) type Secret = [u8; 16];

impl Stamps {
    pub(super) fn of(secret: Secret) -> Self {
        let mut begun = DefaultHasher::new();
        begun.write(&secret);
        Self { secret, begun }
    }

    /// Other stamps in every other mount: there the same times may be those of another content.
    pub(super) fn in_mount(mut self, mount: Option<u64>) -> Self {
        self.begun.write_u64(mount.unwrap_or(0));
        self
    }

    /// With a secret that nobody else has.
    pub(super) fn new() -> Self {
        let random = || RandomState::new().hash_one(0_u8).to_ne_bytes();
        let mut secret = [0; 16];
        if getrandom::fill(&mut secret).is_err() {
            // What the standard library keys its maps with.
            secret[..8].copy_from_slice(&random());
            secret[8..].copy_from_slice(&random());
        }
        Self::of(secret)
    }

    pub(super) fn secret(&self) -> Secret {
        self.secret
    }

    pub(super) fn stamp(&self, path: &[u8], stat: &Stat, names: Names) -> Stamp {
        let identity = Identity::of(stat);
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let identity = if is_dir && names != Names::All { identity.but_for_names() } else { identity };
        let mut hasher = self.begun.clone();
        hasher.write(&identity.bytes());
        hasher.write(path);
        hasher.finish() | 1
    }

    /// Of a set of names, by their sum: in the second walk they come in the same order, but need not.
    pub(super) fn name(&self, path: &[u8]) -> u64 {
        let mut hasher = self.begun.clone();
        hasher.write(path);
        hasher.finish()
    }
}

/// Never 0, so that a missing one takes no more room.
pub(super) type Stamp = u64;
