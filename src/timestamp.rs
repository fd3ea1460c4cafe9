//! Moments, as arguments: nothing in the core asks for the time.

use core::{fmt, ops, time::Duration};

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch. Written in RFC 3339, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Of RFC 3339, in any zone; `None` when it is none, or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(moment.as_millisecond()).ok().map(Self)
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates: a deadline past the end of time is never reached, which is what such a deadline means.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(moment) => write!(f, "{moment:.3}"),
            None => write!(f, "{} ms after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn reads_as_rfc3339() {
        assert_eq!(Timestamp(1_763_640_000_500).to_string(), "2025-11-20T12:00:00.500Z");
        assert_eq!((Timestamp(u64::MAX) + Duration::from_secs(1)).to_string(), "18446744073709551615 ms after 1970");
    }

    #[test]
    fn written_in_rfc3339() {
        for (text, moment) in [
            ("2025-11-20T12:00:00.5Z", Some(Timestamp(1_763_640_000_500))),
            ("2025-11-20T14:00:00.500999999+02:00", Some(Timestamp(1_763_640_000_500))),
            ("0001-01-01T00:00:00Z", None),
            ("2025-11-20", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), moment, "{text}");
        }
    }

    #[test]
    fn the_future_is_not_ago() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
