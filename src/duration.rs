//! Durations as people write them: `500ms`, `10s`, `1m30s`, `2h`, `30d`.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString as _},
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A length of time, in whole milliseconds. In specs and manifests it is written as people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Span {
    /// How long.
    pub ms: u64,
}

impl Span {
    /// Of so many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self { ms }
    }

    /// Of so many seconds.
    pub const fn from_s(seconds: u64) -> Self {
        Self { ms: seconds * 1_000 }
    }

    /// Of so many days.
    pub const fn from_days(days: u64) -> Self {
        Self { ms: days * 86_400_000 }
    }
}

impl fmt::Display for Span {
    /// The shortest way to write it: `90s` is `1m30s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        for (unit, unit_ms) in UNITS {
            if rest >= unit_ms {
                write!(f, "{}{unit}", rest / unit_ms)?;
                rest %= unit_ms;
            }
        }
        Ok(())
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl TryFrom<Cow<'_, str>> for Span {
    type Error = String;

    fn try_from(text: Cow<'_, str>) -> Result<Self, String> {
        let not_one =
            || format!("`{}` is not a duration such as \"500ms\", \"1m30s\" or \"30d\"", crate::text::visible(&text));
        duration_ms(&text).map(Self::from_ms).ok_or_else(not_one)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(Cow::from(text))
    }
}

/// Milliseconds of a duration: whole numbers with `d`, `h`, `m`, `s` or `ms`, each unit at most once, large before small. A
/// number without a unit is none: seconds and milliseconds are too easily confused.
pub fn duration_ms(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, after) = after.split_at(letters);
        // Goes on where it stopped, so that no unit comes twice or too late.
        let (_, unit_ms) = units.find(|known| known.0 == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*unit_ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("10 s", None),
            ("1s1s", None),
            ("1s1m", None),
            ("1d", Some(86_400_000)),
            ("1w", None),
            ("18446744073709551615h", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn written_in_the_shortest_way() {
        for (ms, text) in
            [(0, "0s"), (500, "500ms"), (90_000, "1m30s"), (2_592_000_000, "30d"), (90_061_001, "1d1h1m1s1ms")]
        {
            assert_eq!(Span::from_ms(ms).to_string(), text);
            assert_eq!(duration_ms(text), Some(ms));
        }
    }
}
