//! When a file changed, and whether a process was started after that: two clocks, neither of them fine.
//!
//! A file's time of change (`ctime`; unlike `mtime` nobody can set it) is of the wall clock as of the last tick of the kernel's
//! timer. A process's start is counted in hundredths of a second since the machine was started. So each is a span in which it
//! happened. Where the spans touch, it is not proven which came first: then nothing is, and another reload settles it.
//!
//! A directory that is put in the place of another brings files along whose times are old. What tells is its own `ctime`, which
//! a rename sets, and with it nothing else. What comes and goes in a directory sets its `mtime` as well, to the same time: so a
//! `ctime` that is not the `mtime` is that of a rename, or of new rights, and logs that are written beside a configuration are
//! no change of it. A directory that is itself younger than the process counts for nothing: whatever is in it came still later,
//! and tells by itself. (An overlay makes such a directory, with the `mtime` of the one below, when something is first
//! written there.)
//!
//! Limits: if the wall clock was set between the two, the comparison is off by as much. When something came or went in a
//! directory after that was put in its place, the rename no longer shows. An installer that sets the `mtime` of a directory back
//! looks like a rename. There are file systems on which a rename sets no `ctime`.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use portcullis::timestamp::Timestamp;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use super::way::Way;

/// A span of time in which something happened: nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    earliest: i64,
    latest: i64,
}

/// What came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Before,
    After,
    TooClose,
}

impl Moment {
    fn new(earliest: i64, width: i64) -> Self {
        Self { earliest, latest: earliest.saturating_add(width) }
    }

    /// Whether this was before or after the other.
    pub(super) fn compare(self, other: Self) -> Order {
        match () {
            () if self.earliest >= other.latest => Order::After,
            () if self.latest <= other.earliest => Order::Before,
            () => Order::TooClose,
        }
    }

    /// For people.
    pub(super) fn shown(self) -> String {
        Timestamp(u64::try_from(self.earliest / 1_000_000).unwrap_or(0)).to_string()
    }

    pub(super) fn is_in_the_future(self) -> bool {
        self.earliest > ns(clock_gettime(ClockId::Realtime)).saturating_add(NS)
    }

    /// When a process was started that many ticks after the machine.
    pub(super) fn of_ticks(ticks: u64) -> Self {
        let offset = ns(clock_gettime(ClockId::Realtime)).saturating_sub(ns(clock_gettime(ClockId::Boottime)));
        let since_boot = i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(TICK);
        Self::new(offset.saturating_add(since_boot), TICK)
    }

    /// When the file itself, not what it links to, changed: content, name, owner, mode or place.
    pub(super) fn of_change(metadata: &fs::Metadata) -> Self {
        Self::of_file(metadata.ctime(), metadata.ctime_nsec())
    }

    /// When it was made, where the file system knows.
    fn of_birth(metadata: &fs::Metadata) -> Option<Self> {
        let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::of_file(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos().into()))
    }

    fn of_file(seconds: i64, nanoseconds: i64) -> Self {
        let at = seconds.saturating_mul(NS).saturating_add(nanoseconds);
        Self::new(at, granularity(nanoseconds, ns(clock_getres(ClockId::RealtimeCoarse))))
    }

    /// The same as a moment of the same clock, so that what has the later time is later.
    pub(super) fn sharp(self) -> Self {
        // A whole second stays one.
        if self.latest - self.earliest >= NS { self } else { Self::new(self.earliest, 1) }
    }
}

/// What changed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: Moment,
    pub(super) path: PathBuf,
    /// Of a directory on the way: when it was made.
    born: Option<Moment>,
}

impl Change {
    fn new(path: &Path, is_on_the_way: bool) -> io::Result<Option<Self>> {
        let metadata = fs::symlink_metadata(path)?;
        let is_by_entries = (metadata.mtime(), metadata.mtime_nsec()) == (metadata.ctime(), metadata.ctime_nsec());
        if is_on_the_way && is_by_entries {
            return Ok(None);
        }
        let born = if is_on_the_way { Moment::of_birth(&metadata) } else { None };
        Ok(Some(Self { at: Moment::of_change(&metadata), path: path.into(), born }))
    }

    /// Whether what was started then can have seen what was there before.
    fn counts(&self, started: Moment) -> bool {
        self.born.is_none_or(|born| born.compare(started) != Order::After)
    }
}

/// All changes that ways tell of: of what they end in, of links, of directories that were moved.
pub(super) fn changes<'a>(ways: impl Iterator<Item = &'a Way>) -> io::Result<Vec<Change>> {
    let (mut ends, mut directories) = (BTreeSet::new(), BTreeSet::new());
    for way in ways {
        ends.extend(way.ends());
        directories.extend(way.directories.iter().map(PathBuf::as_path));
    }
    let directories = directories.difference(&ends).map(|path| Change::new(path, true));
    let all = ends.iter().map(|path| Change::new(path, false)).chain(directories);
    all.filter_map(Result::transpose).collect()
}

/// The latest change that counts for what was started then.
pub(super) fn latest(changes: &[Change], started: Moment) -> Option<&Change> {
    changes.iter().filter(|change| change.counts(started)).max_by_key(|change| change.at)
}

/// Of a time with those nanoseconds: there are file systems that keep whole seconds only.
fn granularity(nanoseconds: i64, timer: i64) -> i64 {
    if nanoseconds == 0 { NS } else { timer.clamp(1, NS) }
}

fn ns(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(NS).saturating_add(time.tv_nsec)
}

const NS: i64 = 1_000_000_000;

/// `/proc` counts in `USER_HZ`, which is 100 wherever the agent runs (`proc(5)`).
const TICK: i64 = NS / 100;

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, thread::sleep, time::Duration};

    use super::*;
    use crate::checks::way::way;

    #[test]
    fn table() {
        let ms = |ms: i64| ms * 1_000_000;
        for (started, changed, order) in [
            (100, 90, Order::After),
            // The change may have been up to 4 ms later than its time.
            (100, 96, Order::After),
            (100, 97, Order::TooClose),
            (100, 100, Order::TooClose),
            (100, 109, Order::TooClose),
            (100, 110, Order::Before),
        ] {
            let (started, changed) = (Moment::new(ms(started), TICK), Moment::new(ms(changed), ms(4)));
            assert_eq!(started.compare(changed), order, "{started:?} {changed:?}");
        }
        assert_eq!(granularity(0, ms(4)), NS);
        assert_eq!(granularity(1, ms(4)), ms(4));
        assert_eq!(Moment::new(7, ms(4)).sharp().compare(Moment::new(6, ms(4)).sharp()), Order::After);
        assert_eq!(Moment::new(7, ms(4)).sharp().compare(Moment::new(7, ms(4)).sharp()), Order::TooClose);
    }

    /// A directory with a file, and a link to it, that were there before `now`; what is done then; whose change is the last.
    fn last_changed(then: impl Fn(&dyn Fn(&str) -> PathBuf)) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let at = |name: &str| base.join(name);
        for name in ["old/in", "new/in"] {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join("file"), name).unwrap();
        }
        symlink("old", at("link")).unwrap();
        sleep(Duration::from_millis(20));
        let now = Moment::new(ns(clock_gettime(ClockId::Realtime)), 1);
        sleep(Duration::from_millis(20));
        then(&at);
        let found = changes([way(&at("link/in/file")).unwrap()].iter()).unwrap();
        let last = latest(&found, now).filter(|change| change.at.compare(now) == Order::After)?;
        Some(last.path.strip_prefix(&base).unwrap().to_str().unwrap().to_string())
    }

    #[test]
    fn what_counts_as_a_change() {
        let rename = |at: &dyn Fn(&str) -> PathBuf, from: &str, to: &str| fs::rename(at(from), at(to)).unwrap();
        assert_eq!(last_changed(|_| {}), None);
        assert_eq!(last_changed(|at| fs::write(at("old/in/file"), "").unwrap()).as_deref(), Some("old/in/file"));
        let swapped = last_changed(|at| {
            rename(at, "old", "gone");
            rename(at, "new", "old");
        });
        assert_eq!(swapped.as_deref(), Some("old"));
        let swapped_below = last_changed(|at| {
            rename(at, "old/in", "gone");
            rename(at, "new/in", "old/in");
        });
        assert_eq!(swapped_below.as_deref(), Some("old/in"));
        let turned = last_changed(|at| {
            symlink("new", at("another")).unwrap();
            rename(at, "another", "link");
        });
        assert_eq!(turned.as_deref(), Some("link"));
        // What comes and goes beside it, at each step of the way.
        let beside = last_changed(|at| {
            for name in ["log", "old/log", "old/in/log"] {
                fs::write(at(name), "").unwrap();
            }
            fs::remove_file(at("old/log")).unwrap();
        });
        assert_eq!(beside, None);
    }

    /// As an overlay makes it: the directory is new, the times are those of the one below.
    #[test]
    fn a_younger_directory_tells_by_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let before = Moment::new(ns(clock_gettime(ClockId::Realtime)) - NS, 1);
        let own = fs::File::open(directory.path()).unwrap();
        own.set_modified(UNIX_EPOCH).unwrap();
        let change = Change::new(directory.path(), true).unwrap().unwrap();
        assert!(change.born.is_some() && change.at.compare(before) == Order::After, "{change:?}");
        assert_eq!(latest(core::slice::from_ref(&change), before), None);
        let later = Moment::new(ns(clock_gettime(ClockId::Realtime)) + NS, 1);
        assert_eq!(latest(core::slice::from_ref(&change), later), Some(&change));
    }

    /// Only what is surely younger does not count.
    #[test]
    fn a_birth_at_the_start_counts() {
        let started = Moment::new(100, 10);
        for (born, counts) in [(None, true), (Some(50), true), (Some(105), true), (Some(109), true), (Some(110), false)]
        {
            let born = born.map(|born| Moment::new(born, 4));
            let change = Change { at: Moment::new(200, 4), path: "/c".into(), born };
            assert_eq!(change.counts(started), counts, "{born:?}");
        }
    }

    #[test]
    fn the_clocks_agree() {
        let directory = tempfile::tempdir().unwrap();
        let before = Moment::of_change(&fs::metadata(directory.path()).unwrap());
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
        let own = Moment::of_ticks(ticks);
        assert_eq!(before.compare(own), Order::After);
        // Within the time that a test may have been running.
        assert!(before.earliest - own.earliest < 600 * NS && !before.is_in_the_future());
    }
}
