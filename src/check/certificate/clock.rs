//! Whether the wall clock is to be believed when certificates are judged (DESIGN.md §6).
//!
//! A machine that boots with a dead clock sees every certificate as not yet valid, or an expired one as good. Neither is
//! evidence. The clock is known to be wrong when it shows a time before something that has already happened: this program was
//! written, the release was built.

use alloc::{format, string::String};

use super::margin::date;

/// Why the clock cannot be right, if it cannot. `sequence` is the manifest's: Unix seconds at its build unless given otherwise.
pub fn distrust(now_s: i64, sequence: u64) -> Option<String> {
    let wrong = |than: &str, at_s: i64| format!("clock: it says {}, before {than} ({})", date(now_s), date(at_s));
    if now_s < WRITTEN_S {
        return Some(wrong("this program was written", WRITTEN_S));
    }
    let built_s = unix_seconds(sequence).filter(|built_s| now_s < built_s - SKEW_S)?;
    Some(wrong("this release was built", built_s))
}

/// A sequence that was plainly taken from a clock. `2026112001`, a date and a counter, would be a second of the year 2034.
fn unix_seconds(sequence: u64) -> Option<i64> {
    let (month, day) = (sequence / 10_000 % 100, sequence / 100 % 100);
    let is_date = (1_970_000_000..2_100_000_000).contains(&sequence) && (1..=12).contains(&month) && (1..=31).contains(&day);
    i64::try_from(sequence).ok().filter(|second| !is_date && (WRITTEN_S..LAST_S).contains(second))
}

/// 2026-11-01: when this was written. It never runs earlier than that.
const WRITTEN_S: i64 = 1_793_491_200;

/// 2100-01-01: what lies beyond was no clock.
const LAST_S: i64 = 4_102_444_800;

/// How far clocks of well-kept machines are apart: time is kept to milliseconds, virtual machines resume minutes late.
const SKEW_S: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (now_s, sequence, told) in [
            (1_800_000_000, 0, ""),
            (1_800_000_000, 1, ""),
            (1_800_000_000, 1_799_999_999, ""),
            (1_800_000_000, 1_800_000_300, ""),
            (1_800_000_000, 1_800_000_301, "clock: it says 2027-01-15T08:00:00Z, before this release was built (2027-01-15T08:05:01Z)"),
            (0, 1, "clock: it says 1970-01-01T00:00:00Z, before this program was written (2026-11-01T00:00:00Z)"),
            (1_793_491_199, 0, "clock: it says 2026-10-31T23:59:59Z, before this program was written"),
            // Dates with a counter, build numbers, milliseconds: no clock's seconds.
            (1_800_000_000, 2_026_112_001, ""),
            (1_800_000_000, 20_261_120, ""),
            (1_800_000_000, 1_800_000_301_000, ""),
            // Nearly dates: no such month, no such day, no such year.
            (1_800_000_000, 2_026_131_501, "before this release was built"),
            (1_800_000_000, 2_026_113_201, "before this release was built"),
            (1_800_000_000, 1_811_111_101, "before this release was built"),
            (WRITTEN_S, 0, ""),
        ] {
            let came = distrust(now_s, sequence).unwrap_or_default();
            assert!(came.contains(told) && came.is_empty() == told.is_empty(), "{now_s} {sequence}: {came}");
        }
    }
}
