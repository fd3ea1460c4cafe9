//! When a file changed, and whether a process was started after that: two clocks, neither of them fine.
//!
//! A file's time of change (`ctime`; unlike `mtime` nobody can set it) is of the wall clock as of the last tick of the kernel's
//! timer. A process's start is counted in hundredths of a second since the machine was started. So each is a span in which it
//! happened. Where the spans touch, it is not proven which came first: then nothing is, and another reload settles it.
//!
//! Limit: if the wall clock was set between the two, the comparison is off by as much.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use portcullis::timestamp::Timestamp;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

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
    pub(super) fn of_change(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let at = metadata.ctime().saturating_mul(NS).saturating_add(metadata.ctime_nsec());
        Ok(Self::new(at, granularity(metadata.ctime_nsec(), ns(clock_getres(ClockId::RealtimeCoarse)))))
    }

    /// The same as a moment of the same clock, so that what has the later time is later.
    pub(super) fn sharp(self) -> Self {
        // A whole second stays one.
        if self.latest - self.earliest >= NS { self } else { Self::new(self.earliest, 1) }
    }
}

/// The latest change of all, and whose it was.
pub(super) fn latest<'a>(paths: impl Iterator<Item = &'a Path>) -> io::Result<Option<(Moment, PathBuf)>> {
    let mut latest = None;
    for path in paths {
        let moment = Moment::of_change(path)?;
        if latest.as_ref().is_none_or(|(other, _)| moment > *other) {
            latest = Some((moment, path.to_path_buf()));
        }
    }
    Ok(latest)
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
    use super::*;

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

    #[test]
    fn the_clocks_agree() {
        let directory = tempfile::tempdir().unwrap();
        let before = Moment::of_change(directory.path()).unwrap();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
        let own = Moment::of_ticks(ticks);
        assert_eq!(before.compare(own), Order::After);
        // Within the time that a test may have been running.
        assert!(before.earliest - own.earliest < 600 * NS && !before.is_in_the_future());
    }
}
