//! How long to wait: with backoff while things fail, never in step with the rest of the fleet.

use std::time::{Duration, Instant};

/// Grows from one second to half a minute, and starts anew after a success.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: BACKOFF_MIN }
    }

    pub(crate) const fn reset(&mut self) {
        *self = Self::new();
    }

    /// The next pause, from half of what is due to all of it: a fleet that lost its controller comes back spread out.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let due = self.next;
        self.next = (due * 2).min(BACKOFF_MAX);
        spread(due, 50, random)
    }
}

/// Shortened by up to `percent`.
pub(crate) fn spread(due: Duration, percent: u32, random: u32) -> Duration {
    let parts = percent.min(100) * 10;
    due - due * (random % (parts + 1)) / 1_000
}

/// A share of the time for what nobody knows the number of in advance: [`SHARE`] in the long run, and some at once.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// Until when all that was spent is paid for.
    paid: Option<Instant>,
}

impl Budget {
    /// How long to wait before the next.
    pub(crate) fn due(&self, now: Instant) -> Duration {
        self.paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now + BURST))
    }

    /// Something took so long.
    pub(crate) fn spend(&mut self, now: Instant, took: Duration) {
        let from = self.paid.map_or(now, |paid| paid.max(now));
        self.paid = Some(from + took.max(SPENT_MIN) * SHARE);
    }
}

/// Something to spread by. Without randomness everything still works, only in step.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}

/// What the controller may ask for: not to be asked all the time, and not to be forgotten.
pub(crate) fn within_bounds(poll_after_s: u64) -> Duration {
    Duration::from_secs(poll_after_s.clamp(1, POLL_AFTER_S_MAX))
}

/// One part in five: a server has better things to do.
const SHARE: u32 = 5;
/// Two seconds' worth may be spent at once: some looks at a large tree.
const BURST: Duration = Duration::from_secs(10);
/// A process is started for it, and a request or two is made: not more often than once a second in the long run.
const SPENT_MIN: Duration = Duration::from_millis(200);

const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// A waiting instance has at least 20 minutes: it loses half of one at most after its controller is back.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Silence for five minutes is what the controller alerts about.
const POLL_AFTER_S_MAX: u64 = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_to_half_a_minute_and_stays_there() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next(0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(500), Duration::from_millis(500), "jitter takes at most half");
    }

    #[test]
    fn a_budget_allows_a_few_at_once_and_a_share_of_the_time() {
        let (start, look) = (crate::clock::monotonic(), Duration::from_millis(300));
        let mut budget = Budget::default();
        let (mut now, mut looks_at_once) = (start, 0);
        while budget.due(now) == Duration::ZERO {
            budget.spend(now, look);
            looks_at_once += 1;
        }
        assert_eq!(looks_at_once, 7);
        for _ in 0..100 {
            now += budget.due(now);
            budget.spend(now, look);
        }
        assert_eq!((now - start).as_millis(), 149_000, "300 ms every 1.5 s, but for what was saved up");
        assert_eq!(budget.due(now + BURST), Duration::ZERO);
        budget.spend(now + BURST * 9, Duration::ZERO);
        assert_eq!(budget.due(now + BURST * 9), Duration::ZERO, "what was saved up is no more than it was");
    }

    #[test]
    fn spreads_downwards_only() {
        let due = Duration::from_secs(60);
        for random in [0, 1, 99, 100, 101, u32::MAX] {
            let pause = spread(due, 10, random);
            assert!(pause <= due && pause >= due * 9 / 10, "{random}: {pause:?}");
        }
    }

    #[test]
    fn the_controller_is_believed_within_bounds() {
        let seconds = [0, 7, u64::MAX].map(|asked| within_bounds(asked).as_secs());
        assert_eq!(seconds, [1, 7, 240]);
    }
}
