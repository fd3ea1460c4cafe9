//! Windows in time: “true within 90 s, and for 10 s on end”.
//!
//! A service that has just been started is not up yet; one that crashes in a loop is up now and then. Neither is told by one
//! look, so a check may say how long it may take to become true, and how long it must stay so. This folds looks into
//! outcomes; it never waits, and whoever looks keeps what it has [`Seen`] from one look to the next.
//!
//! Between two looks that both passed it is taken to have been true: what must not be missed in between is for checks that
//! know since when something holds (`process`, `unit`).

use alloc::format;

use serde::{Deserialize, Serialize};

use crate::{
    duration::Span,
    outcome::{Outcome, Status},
};

/// When a check must become true, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Until so long after the first look, that it is not true is `unknown`; then it is what it is. Spec key `within`.
    pub within: Option<Span>,
    /// Looks must have passed for so long, without another in between. Spec key `for`.
    pub hold: Option<Span>,
}

/// What the looks at one check have shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    first_ms: Option<u64>,
    passing_since_ms: Option<u64>,
    /// It has been true for long enough once: from then on there is nothing to wait for.
    settled: bool,
}

impl Window {
    /// Whether there is no window at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The outcome after one more look, which came to `outcome` at `now_ms` (of any clock that does not jump); and whether
    /// another look may come to another one soon.
    pub fn judge(&self, seen: &mut Seen, outcome: Outcome, now_ms: u64) -> (Outcome, bool) {
        let first_ms = *seen.first_ms.get_or_insert(now_ms);
        if outcome.status == Status::Pass {
            self.passed(seen, outcome, now_ms)
        } else {
            seen.passing_since_ms = None;
            self.not_passed(seen.settled, outcome, now_ms.saturating_sub(first_ms))
        }
    }

    fn passed(&self, seen: &mut Seen, outcome: Outcome, now_ms: u64) -> (Outcome, bool) {
        let since_ms = *seen.passing_since_ms.get_or_insert(now_ms);
        let (held, hold) = (Span::from_ms(now_ms.saturating_sub(since_ms)), self.hold.unwrap_or(Span::from_ms(0)));
        if held >= hold {
            seen.settled = true;
            return (outcome, false);
        }
        (pending(outcome, format!("true for {held} so far, {hold} wanted")), true)
    }

    fn not_passed(&self, settled: bool, outcome: Outcome, waited_ms: u64) -> (Outcome, bool) {
        match self.within.filter(|within| !settled && waited_ms < within.ms) {
            None => (outcome, false),
            Some(within) => {
                let why = outcome.reason.as_deref().unwrap_or("it does not pass");
                let why = format!("not yet, after {} of {within}: {why}", Span::from_ms(waited_ms));
                (pending(outcome, why), true)
            }
        }
    }
}

fn pending(outcome: Outcome, reason: alloc::string::String) -> Outcome {
    Outcome { status: Status::Unknown, reason: Some(reason), ..outcome }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The statuses after looks at those seconds.
    fn after(within_s: u64, hold_s: u64, looks: &[(u64, Status)]) -> Vec<(Status, bool)> {
        let window = Window { within: Some(Span::from_s(within_s)), hold: Some(Span::from_s(hold_s)) };
        let mut seen = Seen::default();
        let look = |&(second, status)| {
            let (outcome, pending) = window.judge(&mut seen, Outcome::new("a", "tcp", status, None), second * 1_000);
            (outcome.status, pending)
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn what_is_pending_says_why() {
        let window = Window { within: Some(Span::from_s(90)), hold: Some(Span::from_s(10)) };
        let mut seen = Seen::default();
        let mut look = |second: u64, status, reason: Option<&str>| {
            let outcome = Outcome::new("a", "tcp", status, reason.map(Into::into));
            window.judge(&mut seen, outcome, second * 1_000).0.reason.unwrap_or_default()
        };
        assert_eq!(look(0, Status::Fail, Some("refused")), "not yet, after 0s of 1m30s: refused");
        assert_eq!(look(5, Status::Fail, None), "not yet, after 5s of 1m30s: it does not pass");
        assert_eq!(look(6, Status::Pass, None), "true for 0s so far, 10s wanted");
        assert_eq!(look(10, Status::Pass, None), "true for 4s so far, 10s wanted");
        assert!(Window::default().is_none() && !window.is_none());
    }

    #[test]
    fn table() {
        use Status::{Fail, Pass, Unknown};
        for (within, hold, looks, statuses) in [
            // No window: what is seen.
            (0, 0, &[(0, Fail), (1, Pass)][..], &[(Fail, false), (Pass, false)][..]),
            // Not yet, not yet, there.
            (90, 0, &[(0, Fail), (89, Fail), (89, Pass)], &[(Unknown, true), (Unknown, true), (Pass, false)]),
            // The time is over.
            (90, 0, &[(0, Fail), (90, Fail)], &[(Unknown, true), (Fail, false)]),
            (90, 0, &[(0, Unknown), (90, Unknown)], &[(Unknown, true), (Unknown, false)]),
            // It must stay so.
            (0, 10, &[(0, Pass), (9, Pass), (10, Pass)], &[(Unknown, true), (Unknown, true), (Pass, false)]),
            // A crash loop never settles.
            (
                20,
                10,
                &[(0, Pass), (9, Fail), (10, Pass), (19, Pass), (20, Fail)],
                &[(Unknown, true), (Unknown, true), (Unknown, true), (Unknown, true), (Fail, false)],
            ),
            // Once settled, there is no more patience.
            (90, 0, &[(0, Pass), (1, Fail)], &[(Pass, false), (Fail, false)]),
            // And after a failure it must hold again.
            (
                0,
                10,
                &[(0, Pass), (10, Pass), (11, Fail), (12, Pass)],
                &[(Unknown, true), (Pass, false), (Fail, false), (Unknown, true)],
            ),
        ] {
            assert_eq!(after(within, hold, looks), statuses, "{within} {hold} {looks:?}");
        }
    }
}
