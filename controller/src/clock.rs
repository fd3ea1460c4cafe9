//! The clock: the only place of the controller that asks for the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use portcullis::timestamp::Timestamp;

/// Where the time comes from. Clones of a manual clock share their hands.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is [advanced](Self::advance): for tests.
    pub fn manual(start: Timestamp) -> Self {
        Self { manual: Some(Arc::new(AtomicU64::new(start.0))) }
    }

    /// Now. A system clock before 1970 reads as 1970: everything is then in the future, and nothing is fresh.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(hands) => Timestamp(hands.load(Ordering::SeqCst)),
            None => {
                let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp(0) + since_epoch
            }
        }
    }

    /// Moves a manual clock; the machine's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        if let Some(hands) = &self.manual {
            hands.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// The monotonic clock: for leases and time-outs, which must not move when somebody sets the wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn monotonic() -> Instant {
        Instant::now()
    }
}
