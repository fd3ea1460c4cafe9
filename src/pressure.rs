//! How much of our budget of calls the cloud lets us have. AWS has one token bucket for an account and Region, of unpublished
//! rates, and others drink from it too: all it says is `Throttling`. So the share is halved when it says so, and grows slowly
//! while it does not (additive increase, multiplicative decrease, as TCP does): those who share the bucket come to share it fairly.

use crate::timestamp::Timestamp;

/// The share, as of the last time that it was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    cut: Option<Cut>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    at: Timestamp,
    permille: u64,
}

impl Pressure {
    /// A call was answered with `Throttling`. Many such answers of one moment are one; an older one changes nothing.
    pub(crate) fn throttled(&mut self, at: Timestamp) {
        if self.cut.is_none_or(|cut| at.0 >= cut.at.0 + CUT_EVERY_MS) {
            self.cut = Some(Cut { at, permille: self.permille(at) / 2 });
        }
    }

    /// Of `calls_max` calls, how many may be made now; at least one, or nobody would ever know that more may. `None` when the
    /// cloud does not press us.
    pub(crate) fn allows(&self, calls_max: usize, now: Timestamp) -> Option<usize> {
        let permille = usize::try_from(self.permille(now)).unwrap_or(WHOLE_PERMILLE as usize);
        (self.permille(now) < WHOLE_PERMILLE).then(|| (calls_max.saturating_mul(permille) / 1_000).max(1))
    }

    fn permille(&self, now: Timestamp) -> u64 {
        let Some(cut) = self.cut else { return WHOLE_PERMILLE };
        let grown = now.0.saturating_sub(cut.at.0) / 1_000 * GROWS_PERMILLE_PER_S;
        (cut.permille + grown).min(WHOLE_PERMILLE)
    }
}

const WHOLE_PERMILLE: u64 = 1_000;
/// Answers within a second are to calls of one budget: they tell the same.
const CUT_EVERY_MS: u64 = 1_000;
/// By default one call a second more with every second: from nothing to all in less than a minute.
const GROWS_PERMILLE_PER_S: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Throttled at these seconds; what is allowed of 50 then.
    #[test]
    fn halved_at_once_and_grows_slowly() {
        for (throttled_ms, now_ms, allowed) in [
            (&[][..], 0, None),
            (&[1_000], 1_000, Some(25)),
            (&[1_000], 1_999, Some(25)),
            (&[1_000], 2_000, Some(26)),
            (&[1_000], 25_999, Some(49)),
            (&[1_000], 26_000, None),
            (&[1_000, 1_999], 1_999, Some(25)),
            (&[1_000, 2_000], 2_000, Some(13)),
            (&[1_000, 2_000, 1_000, 1_500, 2_000], 2_000, Some(13)),
            (&[1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000], 8_000, Some(1)),
        ] {
            let mut pressure = Pressure::default();
            throttled_ms.iter().for_each(|at| pressure.throttled(Timestamp(*at)));
            assert_eq!(pressure.allows(50, Timestamp(now_ms)), allowed, "{throttled_ms:?} at {now_ms}");
        }
    }
}
