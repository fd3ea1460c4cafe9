//! How trees looked when they passed, on disk from one round to the next ([`portcullis::tree::Passed`] says what that is good
//! for). What is kept is believed only while it is plainly ours, of this boot, of this very tree, and not older than it may be.
//!
//! Whoever can write to these files can make a changed tree pass: that is whoever can be the agent's user, who could say so
//! without them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis::{
    digest::Digest,
    facts::Facts,
    manifest::{ENTRIES_MAX, Tree},
    tree::{Passed, times_are_kept},
};
use serde::{Deserialize, Serialize};

use crate::clock;

/// Where it is kept, and for how long it is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// A directory of the agent's own; made when it is needed.
    pub dir: PathBuf,
    /// Of this boot: times of another one mean nothing.
    pub boot_id: String,
    /// After this long everything is read again, whatever it looks like.
    pub rehash_after: Duration,
}

/// One tree's place in the cache.
pub(super) struct Remembered {
    file: PathBuf,
    key: Digest,
    began: Moment,
    /// When all of it was last read, if `passed` is there.
    read_at_ms: Option<u64>,
    /// How it looked, where that can be believed.
    pub(super) passed: Option<Passed>,
}

/// What both clocks said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    wall_ms: u64,
    /// Since the machine was started, sleep included.
    boot_ms: u64,
}

impl Moment {
    fn now() -> Self {
        Self { wall_ms: clock::now().0, boot_ms: clock::boot_ms() }
    }

    /// Stays the same while nobody sets the clock.
    fn offset_ms(self) -> i128 {
        i128::from(self.wall_ms) - i128::from(self.boot_ms)
    }
}

/// What is kept with how a tree looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamped {
    /// Before the first look.
    began: Moment,
    /// When all was last read, by the clock that never jumps.
    read_at_ms: u64,
}

/// Whether what was kept can be believed now. The order does not matter: one doubt is enough.
fn is_believed(kept: Stamped, now: Moment, rehash_after: Duration) -> bool {
    let clock_set_back = now.offset_ms() < kept.began.offset_ms() - CLOCK_SLACK_MS;
    let from_the_future = now.boot_ms < kept.began.boot_ms || now.boot_ms < kept.read_at_ms;
    let age = Duration::from_millis(now.boot_ms.saturating_sub(kept.read_at_ms));
    !clock_set_back && !from_the_future && age < rehash_after
}

impl Remembered {
    /// `None` where nothing can be remembered: the file system keeps no times to believe.
    pub(super) fn open(cache: &Cache, manifest: Digest, tree: &Tree, facts: &Facts) -> Option<Self> {
        if !times_are_kept(Path::new(&tree.root)) {
            return None;
        }
        // Not before anything is looked at below.
        let began = Moment::now();
        let key = key(cache, manifest, tree, facts)?;
        // One a tree, so that a new release takes the place of the old.
        let file = cache.dir.join(&Digest::of(tree.root.as_bytes()).to_hex()[..NAME_CHARS]);
        let kept = read(&file).ok().and_then(|bytes| opened(&bytes, key));
        let kept = kept.filter(|(kept, _)| is_believed(*kept, began, cache.rehash_after));
        let (read_at_ms, passed) = kept.map(|(kept, passed)| (kept.read_at_ms, passed)).unzip();
        Some(Self { file, key, began, read_at_ms, passed })
    }

    /// What cannot be kept is only read again.
    pub(super) fn keep(&self, passed: &Passed) {
        let stamped = Stamped { began: self.began, read_at_ms: self.read_at_ms.unwrap_or(self.began.boot_ms) };
        // The clock was set while the tree was looked at.
        if Moment::now().offset_ms().abs_diff(self.began.offset_ms()) > CLOCK_SLACK_MS.unsigned_abs() {
            return;
        }
        if let Err(error) = write(&self.file, &sealed(stamped, self.key, passed)) {
            tracing::debug!("`{}`: {error}", self.file.display());
        }
    }
}

/// All that must be the same for it to mean the same.
fn key(cache: &Cache, manifest: Digest, tree: &Tree, facts: &Facts) -> Option<Digest> {
    let mut text = format!("{} {} {}", env!("CARGO_PKG_VERSION"), cache.boot_id, manifest).into_bytes();
    for part in [&tree.name, &tree.root] {
        text.extend_from_slice(&part.len().to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(&serde_json::to_vec(facts).ok()?);
    Some(Digest::of(&text))
}

fn sealed(stamped: Stamped, key: Digest, passed: &Passed) -> Vec<u8> {
    let mut bytes = key.as_bytes().to_vec();
    for number in [stamped.began.wall_ms, stamped.began.boot_ms, stamped.read_at_ms] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&passed.to_bytes());
    let seal = Digest::of(&bytes);
    bytes.extend_from_slice(seal.as_bytes());
    bytes
}

fn opened(bytes: &[u8], key: Digest) -> Option<(Stamped, Passed)> {
    let (bytes, seal) = bytes.split_last_chunk::<32>()?;
    if Digest::of(bytes).as_bytes() != seal {
        return None;
    }
    let mut rest = bytes.strip_prefix(key.as_bytes())?;
    let mut number = || {
        let (number, after) = rest.split_first_chunk()?;
        rest = after;
        Some(u64::from_le_bytes(*number))
    };
    let began = Moment { wall_ms: number()?, boot_ms: number()? };
    let stamped = Stamped { began, read_at_ms: number()? };
    Some((stamped, Passed::from_bytes(rest)?))
}

/// Only a regular file of our own that nobody else may write to or read, in a directory of which the same is true.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let own = rustix::process::geteuid().as_raw();
    let refuse = |metadata: &fs::Metadata| metadata.uid() != own || metadata.mode() & 0o077 != 0;
    let opened = OpenOptions::new().read(true).custom_flags(NOFOLLOW).open(file)?;
    let metadata = opened.metadata()?;
    let dir = fs::symlink_metadata(file.parent().unwrap_or(Path::new(".")))?;
    if !metadata.is_file() || refuse(&metadata) || !dir.is_dir() || refuse(&dir) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut bytes = Vec::new();
    opened.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The old or the new, whole. It need not survive a crash of the machine: that is another boot.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let draft = file.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut opened: File = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    opened.write_all(bytes)?;
    fs::rename(&draft, file)
}

/// How far both clocks may drift apart by slewing and rounding. Far less than [`FRESH_MS`](portcullis::tree::FRESH_MS): times that
/// come again within it are of files that were fresh.
const CLOCK_SLACK_MS: i128 = 1_000;

/// All entries that a manifest may have, what is fresh of them, and the rest.
const BYTES_MAX: u64 = (ENTRIES_MAX as u64 + 1) * 8 + (16 << 20);

/// 128 bits: no two roots will meet.
const NAME_CHARS: usize = 32;

/// `O_NOFOLLOW` and `O_NONBLOCK`.
const NOFOLLOW: i32 = (rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits()).cast_signed();

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use portcullis::tree::{NoProgress, check_again};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn doubts() {
        let at = |wall_ms, boot_ms| Moment { wall_ms, boot_ms };
        let kept = Stamped { began: at(1_000_000, 50_000), read_at_ms: 40_000 };
        for (now, believed, why) in [
            (at(1_000_010, 50_010), true, "a moment later"),
            (at(1_060_000, 110_000), true, "a minute later"),
            (at(999_500, 50_010), true, "slewed"),
            (at(990_000, 50_010), false, "the clock was set back"),
            (at(1_500_000, 50_010), true, "the clock was set forward: no time comes again"),
            (at(1_000_010, 49_999), false, "before it was kept"),
            (at(4_589_999, 3_639_999), true, "just not an hour after all was read"),
            (at(4_590_000, 3_640_000), false, "an hour after all was read"),
        ] {
            assert_eq!(is_believed(kept, now, HOUR), believed, "{why}");
        }
    }

    struct Place {
        dir: tempfile::TempDir,
        tree: Tree,
        cache: Cache,
    }

    const MANIFEST: Digest = Digest::from_bytes([7; 32]);

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("site");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("index.html"), "page").unwrap();
        let mut tree = Tree::new("site", root.to_str().unwrap());
        tree.entries = portcullis::tree::read(&tree, &root, &NoProgress).unwrap();
        let cache = Cache { dir: dir.path().join("state/cache"), boot_id: "boot-1".into(), rehash_after: HOUR };
        let place = Place { dir, tree, cache };
        let passed = check_again(&place.tree, &root, &NoProgress, None, clock::now().0).1.unwrap();
        place.open(&place.cache).unwrap().keep(&passed);
        place
    }

    impl Place {
        fn open(&self, cache: &Cache) -> Option<Remembered> {
            Remembered::open(cache, MANIFEST, &self.tree, &Facts::default())
        }

        fn remembers(&self) -> bool {
            self.open(&self.cache).unwrap().passed.is_some()
        }

        fn file(&self) -> PathBuf {
            fs::read_dir(&self.cache.dir).unwrap().next().unwrap().unwrap().path()
        }
    }

    #[test]
    fn of_another_boot_manifest_or_tree_nothing_is_remembered() {
        let place = place();
        assert!(place.remembers());
        assert!(place.open(&Cache { boot_id: "boot-2".into(), ..place.cache.clone() }).unwrap().passed.is_none());
        assert!(place.open(&Cache { rehash_after: Duration::ZERO, ..place.cache.clone() }).unwrap().passed.is_none());
        let other =
            Remembered::open(&place.cache, Digest::from_bytes([8; 32]), &place.tree, &Facts::default()).unwrap();
        assert!(other.passed.is_none());
        let renamed = Tree { name: "other".into(), ..place.tree.clone() };
        assert!(Remembered::open(&place.cache, MANIFEST, &renamed, &Facts::default()).unwrap().passed.is_none());
        let mut facts = Facts::default();
        facts.insert("instance", &"i-1").unwrap();
        assert!(Remembered::open(&place.cache, MANIFEST, &place.tree, &facts).unwrap().passed.is_none());
        let elsewhere = Tree { root: "/proc".into(), ..place.tree.clone() };
        assert!(
            Remembered::open(&place.cache, MANIFEST, &elsewhere, &Facts::default()).is_none(),
            "no times to believe there"
        );
    }

    #[test]
    fn what_is_damaged_or_not_plainly_ours_is_not_believed() {
        type Damage = fn(&Place);
        let rows: &[(&str, Damage)] = &[
            ("a bit", |place| {
                let mut bytes = fs::read(place.file()).unwrap();
                bytes[70] ^= 1;
                fs::write(place.file(), bytes).unwrap();
            }),
            ("cut", |place| {
                let bytes = fs::read(place.file()).unwrap();
                fs::write(place.file(), &bytes[..bytes.len() - 1]).unwrap();
            }),
            ("empty", |place| fs::write(place.file(), "").unwrap()),
            ("others may write", |place| mode(&place.file(), 0o622)),
            ("others may read", |place| mode(&place.file(), 0o644)),
            ("others may put files there", |place| mode(&place.cache.dir, 0o777)),
            ("a link", |place| {
                let elsewhere = place.dir.path().join("elsewhere");
                fs::rename(place.file(), &elsewhere).unwrap();
                symlink(&elsewhere, place.cache.dir.join(elsewhere_name(place))).unwrap();
            }),
        ];
        for (name, damage) in rows {
            let place = place();
            assert!(place.remembers(), "{name}");
            damage(&place);
            assert!(!place.remembers(), "{name}");
        }
    }

    fn elsewhere_name(place: &Place) -> String {
        Digest::of(place.tree.root.as_bytes()).to_hex()[..NAME_CHARS].into()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Otherwise a tree that always changes a little would never be read whole again.
    #[test]
    fn what_is_read_in_part_does_not_become_younger() {
        let place = place();
        let first = place.open(&place.cache).unwrap();
        let read_at_ms = first.read_at_ms.unwrap();
        first.keep(first.passed.as_ref().unwrap());
        assert_eq!(place.open(&place.cache).unwrap().read_at_ms, Some(read_at_ms));
    }
}
