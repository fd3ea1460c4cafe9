//! The clock: the only place of the controller that asks for the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use portcullis::timestamp::Timestamp;

/// Where the time comes from. Clones share a shift.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
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
        Timestamp(0) + since_epoch + Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
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
