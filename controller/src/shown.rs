//! What is known, once more, for everybody else to read while the loop folds on.
//!
//! To copy a large fleet in every turn would take longer than to decide for it. So there are two copies besides the loop's own: one
//! is shown, the other was shown before and is handed back, and catches up by folding what came since. Folding is pure: what
//! was folded twice is the same twice. Whoever still reads the old one keeps it; then a new copy is made.

use portcullis::{observation::Observation, observed::Observed, timestamp::Timestamp};

#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The copy that was shown before the present one.
    spare: Option<Observed>,
    /// What it lacks of the present one.
    before: Vec<(Observation, Timestamp)>,
    /// What both lack.
    since: Vec<(Observation, Timestamp)>,
}

impl Shown {
    /// Notes what the loop folds.
    pub(crate) fn fold(&mut self, observation: Observation, now: Timestamp) {
        self.since.push((observation, now));
    }

    /// A copy of what the loop knows.
    pub(crate) fn copy(&mut self, observed: &Observed) -> Observed {
        let before = std::mem::take(&mut self.before);
        self.before = std::mem::take(&mut self.since);
        let Some(mut copy) = self.spare.take() else { return observed.clone() };
        for (observation, now) in before.into_iter().chain(self.before.iter().cloned()) {
            copy.fold(observation, now);
        }
        copy
    }

    /// Takes back the copy before the last.
    pub(crate) fn hand_back(&mut self, copy: Observed) {
        self.spare = Some(copy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_is_as_what_the_loop_knows() {
        let (mut shown, mut observed) = (Shown::default(), Observed::default());
        let mut on_show: Option<Observed> = None;
        for turn in 0..9_u64 {
            for nth in 0..turn % 3 {
                let now = Timestamp(turn * 10 + nth);
                let noticed = Observation::Noticed(format!("group {nth}").as_str().into());
                observed.fold(noticed.clone(), now);
                shown.fold(noticed, now);
            }
            let copy = shown.copy(&observed);
            assert_eq!(copy, observed, "turn {turn}");
            let before = on_show.replace(copy);
            // Somebody reads the one before, and keeps it.
            before.into_iter().filter(|_| turn != 5).for_each(|before| shown.hand_back(before));
            assert_eq!(shown.spare.is_some(), turn != 0 && turn != 5);
        }
    }
}
