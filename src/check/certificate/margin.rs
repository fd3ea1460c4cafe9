//! How much of its time a certificate must have left.

use alloc::{format, string::String};

use crate::duration::Span;

/// How much time must be left; what is not given follows from the certificate's own lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Margins {
    /// With less it fails.
    pub fail: Option<Span>,
    /// With less it warns.
    pub warn: Option<Span>,
}

/// From when to when, both inclusive (RFC 5280 §4.1.2.5), in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not valid before.
    pub from_s: i64,
    /// Not valid after.
    pub until_s: i64,
}

/// What a certificate's dates come to at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It never was valid and never will be.
    Never,
    /// Its time is still to come.
    NotYet,
    /// Its time is over.
    Expired,
    /// Less is left than must be.
    Short {
        /// What is left.
        left: Span,
        /// What must be.
        wanted: Span,
    },
    /// Enough is left, but not much.
    Soon {
        /// What is left.
        left: Span,
    },
    /// All is well.
    Good,
}

impl Validity {
    /// How it stands.
    pub fn standing(self, margins: Margins, now_s: i64) -> Standing {
        if self.until_s < self.from_s {
            return Standing::Never;
        }
        if now_s < self.from_s {
            return Standing::NotYet;
        }
        if now_s > self.until_s {
            return Standing::Expired;
        }
        let (left, fail, warn) = (seconds(self.until_s, now_s), self.fail(margins), self.warn(margins));
        match left {
            left if left < fail => Standing::Short { left, wanted: fail },
            left if left < warn => Standing::Soon { left },
            _ => Standing::Good,
        }
    }

    /// The moments at which [`standing`](Self::standing) changes by time alone, in Unix seconds.
    pub fn turns_s(self, margins: Margins) -> [i64; 4] {
        let before_end = |left: Span| self.until_s.saturating_sub(i64::try_from(left.ms / 1_000).unwrap_or(i64::MAX));
        let just_after = |second: i64| second.saturating_add(1);
        let (warn, fail) = (before_end(self.warn(margins)), before_end(self.fail(margins)));
        [self.from_s, just_after(warn), just_after(fail), just_after(self.until_s)]
    }

    fn fail(self, margins: Margins) -> Span {
        margins.fail.unwrap_or_else(|| self.share(10).unwrap_or(FAIL))
    }

    fn warn(self, margins: Margins) -> Span {
        margins.warn.unwrap_or_else(|| self.share(3).unwrap_or(WARN))
    }

    /// Of a short life.
    fn share(self, part: u64) -> Option<Span> {
        let life = seconds(self.until_s, self.from_s);
        (life < SHORT_LIFE).then(|| Span::from_ms(life.ms / part))
    }
}

fn seconds(later_s: i64, earlier_s: i64) -> Span {
    let seconds = u64::try_from(later_s.saturating_sub(earlier_s)).unwrap_or(0);
    Span::from_ms(seconds.saturating_mul(1_000))
}

/// A span as people tell it: days and hours when there are days.
pub fn about(span: Span) -> Span {
    let unit_ms = if span >= Span::from_days(1) { 3_600_000 } else { 1_000 };
    Span::from_ms(span.ms - span.ms % unit_ms)
}

/// A moment in RFC 3339; what RFC 5280 calls “no well-defined expiration date” is beyond what the calendar here knows.
pub fn date(second: i64) -> String {
    match jiff::Timestamp::from_second(second) {
        Ok(moment) => format!("{moment}"),
        Err(_) if second > 0 => "9999-12-31T23:59:59Z".into(),
        Err(_) => format!("{second} s after 1970"),
    }
}

/// Every authority's renewal has been tried several times by then (DESIGN.md §6).
const WARN: Span = Span::from_days(30);
/// Time to renew by hand, weekend included (DESIGN.md §6).
const FAIL: Span = Span::from_days(7);
/// Below this the margins are shares of the lifetime, or a fresh certificate would already warn (DESIGN.md §6).
const SHORT_LIFE: Span = Span::from_days(30);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// Lifetime and time left in days, margins in days.
    fn stands(life: i64, left: i64, fail: Option<u64>, warn: Option<u64>) -> Standing {
        let validity = Validity { from_s: 0, until_s: life * DAY };
        let margins = Margins { fail: fail.map(Span::from_days), warn: warn.map(Span::from_days) };
        validity.standing(margins, (life - left) * DAY)
    }

    fn short(left: u64, wanted: u64) -> Standing {
        Standing::Short { left: Span::from_days(left), wanted: Span::from_days(wanted) }
    }

    fn soon(left: u64) -> Standing {
        Standing::Soon { left: Span::from_days(left) }
    }

    #[test]
    fn table() {
        for (life, left, fail, warn, standing) in [
            (90, 91, None, None, Standing::NotYet),
            (90, 90, None, None, Standing::Good),
            (90, 30, None, None, Standing::Good),
            (90, 29, None, None, soon(29)),
            (90, 7, None, None, soon(7)),
            (90, 6, None, None, short(6, 7)),
            (90, 0, None, None, short(0, 7)),
            (90, -1, None, None, Standing::Expired),
            (-1, 0, None, None, Standing::Never),
            // Thirty days are not below thirty days.
            (30, 30, None, None, Standing::Good),
            (30, 6, None, None, short(6, 7)),
            // A short life: a third and a tenth.
            (20, 7, None, None, Standing::Good),
            (20, 6, None, None, soon(6)),
            (20, 2, None, None, soon(2)),
            (20, 1, None, None, short(1, 2)),
            // As one says.
            (90, 6, Some(5), None, soon(6)),
            (90, 40, None, Some(60), soon(40)),
            (90, 50, Some(60), Some(60), short(50, 60)),
            (90, 0, Some(0), Some(0), Standing::Good),
            (90, -1, Some(0), Some(0), Standing::Expired),
        ] {
            assert_eq!(stands(life, left, fail, warn), standing, "{life} {left} {fail:?} {warn:?}");
        }
    }

    #[test]
    fn the_last_second_counts() {
        let validity = Validity { from_s: 10, until_s: 20 };
        let margins = Margins { fail: Some(Span::from_ms(0)), warn: Some(Span::from_ms(0)) };
        let at = |second| validity.standing(margins, second);
        assert_eq!([at(9), at(10), at(20), at(21)], [Standing::NotYet, Standing::Good, Standing::Good, Standing::Expired]);
        let moment = Validity { from_s: 10, until_s: 10 };
        assert_eq!(moment.standing(margins, 10), Standing::Good);
        let ever = Validity { from_s: i64::MIN, until_s: i64::MAX };
        assert_eq!(ever.standing(Margins::default(), 0), Standing::Good);
    }

    #[test]
    fn dates() {
        assert_eq!(date(1_793_491_200), "2026-11-01T00:00:00Z");
        assert_eq!(date(-62_167_219_200), "0000-01-01T00:00:00Z");
        assert_eq!(date(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(date(i64::MIN), "-9223372036854775808 s after 1970");
        use alloc::string::ToString as _;
        assert_eq!(about(Span::from_ms(2 * 86_400_000 + 3_599_999)).to_string(), "2d");
        assert_eq!(about(Span::from_ms(3_599_999)).to_string(), "59m59s");
    }
}
