//! Lengths of time as people write them: `500ms`, `15s`, `20m`, `48h`.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A length of time in the configuration: an integer and one of `ms`, `s`, `m`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub Duration);

impl FromStr for Length {
    type Err = NotALength;

    fn from_str(text: &str) -> Result<Self, NotALength> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotALength)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| NotALength)?;
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(NotALength),
        };
        number.checked_mul(unit_ms).map(|ms| Self(Duration::from_millis(ms))).ok_or(NotALength)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The text is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time such as `500ms`, `15s`, `20m`, `48h`")]
pub struct NotALength;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, ms) in
            [("500ms", 500), ("15s", 15_000), ("20m", 1_200_000), ("48h", 172_800_000), ("1d", 86_400_000)]
        {
            assert_eq!(text.parse(), Ok(Length(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "15", "s", "-1s", "1.5s", "15 s", "99999999999999999999s", "18446744073709551615h", "1w"] {
            assert_eq!(text.parse::<Length>(), Err(NotALength), "{text}");
        }
    }
}
