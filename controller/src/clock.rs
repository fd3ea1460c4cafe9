//! The clock: the only place of the controller that asks for the time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use portcullis::timestamp::Timestamp;

/// Where the time comes from. Clones share a shift.
///
/// It never goes back: decisions take what has the later time for the newer, and an attempt that is sent "before" the last one
/// would not be noted, and be sent again at once. When somebody sets the machine's clock back, this one goes on from where it
/// was, ahead of it, until that has caught up or the process is started anew.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
    /// When the machine's clock was last ahead of all that was told before.
    anchor: Arc<Mutex<Option<(Timestamp, Instant)>>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Now. A system clock before 1970 reads as 1970: everything is then in the future, and nothing is fresh.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(0) + since_epoch + Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst));
        self.told(wall, Self::monotonic())
    }

    /// The later of what the wall clock says and what must have come since the anchor.
    fn told(&self, wall: Timestamp, monotonic: Instant) -> Timestamp {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = anchor.map(|(at, then)| at + monotonic.saturating_duration_since(then));
        match passed {
            Some(passed) if passed > wall => passed,
            _ => {
                *anchor = Some((wall, monotonic));
                wall
            }
        }
    }

    /// Runs ahead of the machine's clock from now on: for tests of what takes long.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// The monotonic clock: for leases and time-outs, which must not move when somebody sets the wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn monotonic() -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_and_never_stands_still() {
        let (clock, began) = (Clock::system(), Clock::monotonic());
        let at =
            |wall_ms: u64, passed_ms: u64| clock.told(Timestamp(wall_ms), began + Duration::from_millis(passed_ms)).0;
        // The wall clock, the time that has passed, and what is told.
        for (wall, passed, told) in [
            (1_000, 0, 1_000),
            (1_010, 10, 1_010),
            (9_000, 20, 9_000), // set ahead
            (2_000, 30, 9_010), // set back
            (2_001, 31, 9_011),
            (3_000, 1_030, 10_010),
            (20_000, 1_040, 20_000), // ahead again
        ] {
            assert_eq!(at(wall, passed), told, "the wall clock says {wall} after {passed} ms");
        }
    }
}
