//! How much is read in a second, at most: by all threads of all trees together.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::clock;

/// A bucket of bytes that fills at a steady rate. Whoever has read pays for it, and waits while the bucket is in debt.
#[derive(Debug)]
pub(super) struct Cap {
    bytes_per_s: u64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Below 0: debt.
    bytes: i64,
    at: Instant,
}

impl Cap {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        let bytes_per_s = bytes_per_s.clamp(1, i64::MAX.unsigned_abs() >> 1);
        Self { bytes_per_s, bucket: Mutex::new(Bucket { bytes: 0, at: clock::monotonic() }) }
    }

    /// How long to wait before reading more, now that so many bytes were read.
    pub(super) fn pay(&self, bytes: u64) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.pay(bytes, self.bytes_per_s, clock::monotonic())
    }
}

impl Bucket {
    fn pay(&mut self, bytes: u64, bytes_per_s: u64, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.at);
        let came = u128::from(bytes_per_s) * since.as_micros() / 1_000_000;
        self.at = now;
        let signed = |bytes: u128| i64::try_from(bytes).unwrap_or(i64::MAX);
        let most = signed(u128::from(bytes_per_s) * FULL.as_micros() / 1_000_000);
        self.bytes = self.bytes.saturating_add(signed(came)).min(most).saturating_sub(signed(bytes.into()));
        let debt = u64::try_from(-self.bytes.min(0)).unwrap_or(0);
        Duration::from_secs(debt / bytes_per_s)
            + Duration::from_nanos((debt % bytes_per_s).saturating_mul(1_000_000_000 / bytes_per_s.min(1_000_000_000)))
    }
}

/// What an idle while saves up: a tenth of a second's worth, so that the disk is never busy for longer on end.
const FULL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_whatever_the_reads() {
        const RATE: u64 = 1 << 20;
        for read in [1 << 10, 100_000, 128 << 10, 5 << 20] {
            let start = clock::monotonic();
            let (mut now, mut total) = (start, 0);
            let mut bucket = Bucket { bytes: 0, at: start };
            while total < 32 << 20 {
                total += read;
                now += bucket.pay(read, RATE, now) + Duration::from_micros(1);
            }
            let took_s = (now - start).as_secs_f64();
            let wanted_s = f64::from(u32::try_from(total).unwrap()) / f64::from(u32::try_from(RATE).unwrap());
            assert!((wanted_s - took_s).abs() < 0.3, "{read}: {took_s} s, {wanted_s} s");
        }
    }

    #[test]
    fn a_pause_saves_up_little() {
        let start = clock::monotonic();
        let mut bucket = Bucket { bytes: 0, at: start };
        assert_eq!(bucket.pay(0, 1_000_000, start + Duration::from_secs(3_600)), Duration::ZERO);
        assert_eq!(bucket.bytes, 100_000);
        assert_eq!(bucket.pay(1_100_000, 1_000_000, start + Duration::from_secs(3_600)), Duration::from_secs(1));
    }
}
