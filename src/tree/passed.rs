//! What a tree looked like when it passed, so that it need not be read again while it looks the same.
//!
//! A file whose bytes change gets another change time, and nobody can set that back. So what has the same `stat` as when it was
//! read has the same bytes, but for these, each of which has its guard:
//!
//! - The clock moves on in steps (up to 10 ms, 2 s on old file systems): a file may change after it was read and within the
//!   step that its times already name. A mapping that is written to sets the times when its page is first made dirty, and
//!   not again before that is written back (35 s unless somebody has tuned it). So files that changed within [`FRESH_MS`] before
//!   they were read are *fresh*: read again each time, until they have settled. Who only looks for a difference, between checks
//!   that read them ([`Care::Look`]), reads those alone that the clock's steps may hide: the *racy* ones.
//! - The clock is set back: then times may come again. Whoever keeps a `Passed` compares clocks, and believes nothing that was
//!   kept before one went backwards, nor in another boot.
//! - An image is mounted in the place of another: its times are those that its builder gave it, and may be the same. So what is
//!   remembered is of one mount, and on kernels that cannot tell one from the next nothing that is mounted read-only is.
//! - The file system has no change times worth the name, or others change what is below it: see [`times_are_kept`].
//!
//! One walk is enough then, where a check takes two: what has not changed between then and each look was as it should be at the
//! moment when the walk began.

use alloc::vec::Vec;
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use super::{
    Progress,
    hash::digest_of,
    identity::{Names, Secret, Stamp, Stamps},
    open::{Opener, Place, mount_of},
    still::Snapshot,
    sum::{Sum, Summing},
};
use crate::{
    digest::Digest,
    glob::Ignore,
    manifest::{Entry, EntryKind, Tree},
};

/// How a tree looked when it passed. Its memory is 8 bytes an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    secret: Secret,
    sum: Sum,
    /// Of each listed entry; 0 for those that are racy. The lowest bit is not of the stamp: it is set for those that are fresh.
    stamps: Vec<Stamp>,
    fresh_total: u64,
    racy_total: u64,
    /// All that are fresh, or those that are racy, or none if they too are more than [`FRESH_MAX`].
    fresh: Vec<Fresh>,
}

/// How much of what looks as it did is believed without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// What nobody can have changed without a trace.
    Check,
    /// All but what the clock's steps may hide: for a look between two checks, which proves nothing.
    Look,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fresh {
    path: Vec<u8>,
    size: u64,
    sha256: Digest,
    racy: bool,
}

impl Passed {
    pub(super) fn new(entries: &[Entry], snapshot: Snapshot) -> Self {
        let sum = snapshot.sum();
        let (mut stamps, secret) = (snapshot.seen, snapshot.stamps.secret());
        stamps.iter_mut().for_each(|stamp| *stamp &= !FRESH);
        for &(index, racy) in &snapshot.fresh {
            stamps[index] = if racy { 0 } else { stamps[index] | FRESH };
        }
        let file = |&(index, racy): &(usize, bool)| match &entries[index] {
            Entry { path, kind: EntryKind::File { size, sha256, .. }, .. } => {
                Some(Fresh { path: path.clone(), size: *size, sha256: *sha256, racy })
            }
            _ => None,
        };
        let racy_total = snapshot.fresh.iter().filter(|(_, racy)| *racy).count();
        let all = snapshot.fresh.len() <= FRESH_MAX;
        let listed = snapshot.fresh.iter().filter(|(_, racy)| all || (*racy && racy_total <= FRESH_MAX));
        let fresh = listed.filter_map(file).collect();
        Self { secret, sum, stamps, fresh_total: snapshot.fresh.len() as u64, racy_total: racy_total as u64, fresh }
    }

    pub(super) fn stamps(&self) -> Stamps {
        Stamps::of(self.secret)
    }

    /// Whether the listed entry `index` need not be read.
    pub(super) fn holds(&self, index: usize, stamp: Stamp, care: Care) -> bool {
        let Some(&kept) = self.stamps.get(index) else { return false };
        kept != 0 && kept & !FRESH == stamp & !FRESH && (kept & FRESH == 0 || care == Care::Look)
    }

    /// Whether it was fresh when it was last read.
    pub(super) fn is_fresh(&self, index: usize) -> bool {
        self.stamps.get(index).is_some_and(|kept| kept & FRESH != 0)
    }

    /// Whether the tree of `outline` (whose entries are not looked at) at `root` is as it was. `false` means that it has to be
    /// [checked](super::check_again), and nothing else.
    pub fn is_unchanged(&self, outline: &Tree, root: &Path, progress: &dyn Progress, care: Care) -> bool {
        self.looked_at(outline, root, progress, care).unwrap_or(false)
    }

    fn looked_at(&self, outline: &Tree, root: &Path, progress: &dyn Progress, care: Care) -> Option<bool> {
        let ignore = Ignore::new(&outline.ignore).ok()?;
        let (opener, root) = Opener::root(Place::Here(root), outline.root_link).ok()?;
        // Read first: the walk then shows that they stood still.
        if !self.fresh_are_the_same(&opener, &root, progress, care) {
            return Some(false);
        }
        let names = Names::of(outline, outline.extras);
        let mut known = Vec::new();
        if names == Names::Listed {
            if self.unsettled(care) > 0 {
                return None;
            }
            known.extend(self.stamps.iter().map(|stamp| stamp & !FRESH));
            known.sort_unstable();
        }
        let counts = |_: &[u8], stamp: Stamp| known.binary_search(&(stamp & !FRESH)).is_ok();
        let stamps = &self.stamps().in_mount(mount_of(root.as_fd()));
        let (opener, root, ignore) = (&opener, &root, &ignore);
        let sum = Summing { opener, root, ignore, progress, stamps, names, counts: &counts }.sum()?;
        Some(sum == self.sum)
    }

    /// How many files are to be read, whatever they look like.
    const fn unsettled(&self, care: Care) -> u64 {
        match care {
            Care::Check => self.fresh_total,
            Care::Look => self.racy_total,
        }
    }

    fn fresh_are_the_same(&self, opener: &Opener, root: &OwnedFd, progress: &dyn Progress, care: Care) -> bool {
        let is_same = |fresh: &Fresh| {
            let digest = digest_of(opener, root, &fresh.path, fresh.size, progress);
            digest.is_some_and(|digest| digest == fresh.sha256)
        };
        let unsettled = || self.fresh.iter().filter(|fresh| fresh.racy || care == Care::Check);
        unsettled().count() as u64 == self.unsettled(care) && unsettled().all(is_same)
    }

    /// For a file that nobody else can write to.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.stamps.len() * 8);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.secret);
        let (fresh, stamps) = (self.fresh.len() as u64, self.stamps.len() as u64);
        let numbers = [self.sum.stamps, self.sum.entries, self.fresh_total, self.racy_total, fresh, stamps];
        numbers.iter().chain(&self.stamps).for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        for Fresh { path, size, sha256, racy } in &self.fresh {
            bytes.push(u8::from(*racy));
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(sha256.as_bytes());
            bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
            bytes.extend_from_slice(path);
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made; `None` for anything else that can be told from it. Damage is for the keeper to
    /// notice.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let secret = *take(&mut rest)?;
        let sum = Sum { stamps: number(&mut rest)?, entries: number(&mut rest)? };
        let (fresh_total, racy_total) = (number(&mut rest)?, number(&mut rest)?);
        let (fresh, stamps) = (number(&mut rest)?, number(&mut rest)?);
        // Each takes more room than its count says.
        if stamps.checked_mul(8)? > rest.len() as u64 || fresh > FRESH_MAX as u64 {
            return None;
        }
        let stamps = (0..stamps).map(|_| number(&mut rest)).collect::<Option<_>>()?;
        let fresh = (0..fresh).map(|_| Fresh::read(&mut rest)).collect::<Option<_>>()?;
        rest.is_empty().then_some(Self { secret, sum, stamps, fresh_total, racy_total, fresh })
    }
}

impl Fresh {
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let [racy] = *take(rest)?;
        let (size, sha256, length) = (number(rest)?, Digest::from_bytes(*take(rest)?), number(rest)?);
        let (path, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        *rest = after;
        Some(Self { path: path.into(), size, sha256, racy: racy != 0 })
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(|bytes| u64::from_le_bytes(*bytes))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

/// From which moments on, in nanoseconds of the wall clock, a change is fresh, and racy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsettled {
    pub(super) fresh_from_ns: i64,
    pub(super) racy_from_ns: i64,
}

impl Unsettled {
    /// Where nothing is remembered.
    pub(super) const NONE: Self = Self { fresh_from_ns: i64::MAX, racy_from_ns: i64::MAX };

    /// For a check that begins at `began_ms` of the wall clock.
    pub(super) fn of(began_ms: u64) -> Self {
        let from = |back| i64::try_from(began_ms.saturating_sub(back)).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Self { fresh_from_ns: from(FRESH_MS), racy_from_ns: from(RACY_MS) }
    }
}

/// Whether the file system at `root` keeps change times that can be believed: the local ones whose code was written for it.
/// Not those of a network (others change what is there, by another clock), not FUSE (whatever its server says), not `tmpfs`
/// (a page of it that is written to by a mapping is never written back, so that times may stay for ever).
pub fn times_are_kept(root: &Path) -> bool {
    let Ok(root) = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return false };
    let kept = rustix::fs::fstatfs(&root).is_ok_and(|stat| is_local(stat.f_type as u64));
    kept && (mount_of(root.as_fd()).is_some() || is_writable(&root))
}

/// Where the kernel's type is a signed one of 32 bits, it was widened with its sign.
fn is_local(f_type: u64) -> bool {
    LOCAL.contains(&(f_type & 0xffff_ffff))
}

/// Images are mounted read-only.
pub(super) fn is_writable(root: &OwnedFd) -> bool {
    rustix::fs::fstatvfs(root).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// By their magic numbers in `linux/magic.h`.
const LOCAL: &[u64] = &[
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0xf2f5_2010, // F2FS
    0x794c_7630, // overlayfs: of its layers
    0x7371_7368, // SquashFS
    0xe0f5_e1e2, // EROFS
    0x2fc1_2fc1, // ZFS
];

/// How long before the first read a file must have been left alone for its times to tell whether it changed since: the 30 s
/// after which the kernel writes back what a mapping made dirty, the 5 s between its looks, and some to spare.
pub const FRESH_MS: u64 = 60_000;

/// The same, if nobody writes through a mapping: two steps of the coarsest clock of those file systems (old ext3: 1 s).
const RACY_MS: u64 = 2_000;

/// In a kept stamp.
const FRESH: Stamp = 1;

/// More fresh files than this are not remembered one by one: the tree has just been written.
const FRESH_MAX: usize = 1_000;

const MAGIC: &[u8; 8] = b"pcpass\x00\x02";

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn times_of_local_file_systems_are_kept() {
        for (f_type, kept) in [(0xef53, true), (0xffff_ffff_9123_683e, true), (0x0102_1994, false), (0x6969, false)] {
            assert_eq!(is_local(f_type), kept, "{f_type:x}");
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mut mounts = mounts.lines().filter_map(|line| line.split_once(" / ")).map(|(_, rest)| rest);
        let root = mounts.next_back().and_then(|rest| rest.split(' ').next()).unwrap();
        let local = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay", "squashfs", "erofs", "zfs"];
        assert_eq!(times_are_kept(Path::new("/")), local.contains(&root), "{root}");
    }

    #[test]
    fn bytes_there_and_back_and_nothing_else() {
        let fresh = vec![Fresh { path: b"a/b".to_vec(), size: 3, sha256: Digest::of(b"abc"), racy: true }];
        let sum = Sum { stamps: 9, entries: 3 };
        let passed = Passed { secret: [7; 16], sum, stamps: vec![1, 0, 3], fresh_total: 1, racy_total: 1, fresh };
        let bytes = passed.to_bytes();
        assert_eq!(Passed::from_bytes(&bytes), Some(passed));
        for length in 0..bytes.len() {
            assert_eq!(Passed::from_bytes(&bytes[..length]), None, "{length}");
        }
        let mut absurd = bytes.clone();
        absurd[24 + 40..24 + 48].fill(0xff);
        assert_eq!(Passed::from_bytes(&absurd), None);
        assert_eq!(Passed::from_bytes(&[bytes, vec![0]].concat()), None);
        let one = Fresh { path: b"a".to_vec(), size: 3, sha256: Digest::of(b"abc"), racy: false };
        let fresh = |count| Passed {
            secret: [7; 16],
            sum: Sum { stamps: 9, entries: 3 },
            stamps: vec![0],
            fresh_total: 1,
            racy_total: 0,
            fresh: vec![one.clone(); count],
        };
        assert_eq!(Passed::from_bytes(&fresh(FRESH_MAX).to_bytes()), Some(fresh(FRESH_MAX)));
        assert_eq!(Passed::from_bytes(&fresh(FRESH_MAX + 1).to_bytes()), None, "more than are kept");
    }
}
