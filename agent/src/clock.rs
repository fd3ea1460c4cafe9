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

/// Milliseconds since the machine was started, sleep included: the same for every process of a boot, and it never jumps.
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000).saturating_add(nanoseconds.unwrap_or(0) / 1_000_000)
}

/// Microseconds since the machine was started, sleep left out: the clock that systemd counts by.
pub fn uptime_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanoseconds.unwrap_or(0) / 1_000)
}

/// Whole milliseconds since `start`.
pub fn ms_since(start: Instant) -> u64 {
    u64::try_from(monotonic().saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX)
}
