//! The only place that reads the clock of the machine.
//!
//! The model is told the time; who tells it is chosen here: the real clock (optionally faster, so that an hour of
//! heartbeats passes in a minute), or nobody, so that time moves only when `POST /_cloud/advance` says so.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What moves the simulated cloud's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock. `speed` simulated seconds pass in each real one; 1 is real time, 0 is treated as 1.
    Real {
        /// Simulated seconds per real second.
        speed: u32,
    },
    /// Time stands still except when it is advanced by hand; it starts at `start_ms`.
    Virtual {
        /// Milliseconds since the Unix epoch at which time starts.
        start_ms: u64,
    },
}

/// A clock that has been started.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    clock: Clock,
    started_ms: u64,
    started_at: Instant,
}

impl Clock {
    /// Starts the clock now.
    pub fn start(self) -> Started {
        let started_ms = match self {
            Self::Real { .. } => wall_ms(),
            Self::Virtual { start_ms } => start_ms,
        };
        Started { clock: self, started_ms, started_at: instant() }
    }
}

impl Started {
    /// The time at which this clock was started, in milliseconds since the Unix epoch.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// The present time, or `None` when only hands move it.
    pub fn now_ms(&self) -> Option<u64> {
        match self.clock {
            Clock::Real { speed } => Some(self.started_ms + elapsed_ms(self.started_at) * u64::from(speed.max(1))),
            Clock::Virtual { .. } => None,
        }
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(instant().saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
}

fn wall_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this file is the one that reads the clock")]
    let now = SystemTime::now();
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn instant() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this file is the one that reads the clock")]
    let now = Instant::now();
    now
}
