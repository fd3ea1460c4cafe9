//! The only clock of the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis::{duration::duration_ms, timestamp::Timestamp};

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A moment, or how long ago it was.
pub(crate) fn since(text: &str) -> Result<Timestamp, String> {
    if let Some(moment) = Timestamp::parse_rfc3339(text) {
        return Ok(moment);
    }
    let ago =
        duration_ms(text).ok_or("neither a time such as 2026-11-20T00:00:00Z nor a length of time such as 24h")?;
    Ok(Timestamp((unix_seconds() * 1_000).saturating_sub(ago)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_when() {
        assert_eq!(since("2025-11-20T12:00:00.5Z"), Ok(Timestamp(1_763_640_000_500)));
        let now = unix_seconds() * 1_000;
        let ago = now - since("24h").unwrap().0;
        assert!((86_390_000..=86_400_000).contains(&ago), "{ago}");
        for text in ["", "yesterday", "24", "-1h", "2025-11-20"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
