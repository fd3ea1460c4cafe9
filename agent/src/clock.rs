//! The only clock of the agent: everything else is given the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis::timestamp::Timestamp;

/// The wall clock. It may jump: for what is compared with other machines' times, never for waiting.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// The monotonic clock: for deadlines and for how long something took.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Whole milliseconds since `start`.
pub fn ms_since(start: Instant) -> u64 {
    u64::try_from(monotonic().saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX)
}
