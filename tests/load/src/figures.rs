//! What was measured.

use std::{collections::BTreeMap, time::Duration};

/// How long each of many took.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    micros: Vec<u32>,
    is_sorted: bool,
}

impl Latencies {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.is_sorted = false;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// In milliseconds: so many in a thousand took no longer; NaN of none.
    pub fn permille(&mut self, permille: usize) -> f64 {
        if !self.is_sorted {
            self.micros.sort_unstable();
            self.is_sorted = true;
        }
        let rank = (self.micros.len() * permille).div_ceil(1_000).max(1) - 1;
        self.micros.get(rank).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    }

    /// `p50 / p99 / most`, in milliseconds.
    pub fn told(&mut self) -> String {
        let [half, most, all] = [500, 990, 1_000].map(|permille| self.permille(permille));
        format!("{half:.1} / {most:.1} / {all:.1}")
    }
}

/// What the agents saw in one stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// From sending a report to its answer.
    pub reports: Latencies,
    /// A whole round: connecting where that is needed, challenge, report.
    pub rounds: Latencies,
    /// Rounds that came to nothing, by what was said.
    pub failures: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let mut latencies = Latencies::default();
        assert!(latencies.permille(500).is_nan());
        (1..=200).rev().for_each(|ms| latencies.add(Duration::from_millis(ms)));
        assert_eq!([10, 500, 990, 1_000].map(|permille| latencies.permille(permille)), [2.0, 100.0, 198.0, 200.0]);
        assert_eq!(latencies.told(), "100.0 / 198.0 / 200.0");
    }
}
