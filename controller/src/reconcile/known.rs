//! All that is known, in two copies: one takes in what comes, the other is shown to whoever asks. With each turn they change
//! places, and what the one has taken in since is made up for in the other. So a turn costs what came since the last one, and
//! not a copy of the whole fleet; and nobody who reads waits for the loop, nor the loop for them.

use std::{mem, sync::Arc};

use portcullis::{observation::Observation, observed::Observed, timestamp::Timestamp};

/// Both copies.
#[derive(Debug, Default)]
pub(super) struct Known {
    present: Observed,
    shown: Arc<Observed>,
    /// What `present` has taken in and `shown` has not.
    since: Vec<(Observation, Timestamp)>,
}

impl Known {
    /// All of it.
    pub(super) fn present(&self) -> &Observed {
        &self.present
    }

    /// Takes in one observation.
    pub(super) fn fold(&mut self, observation: Observation, now: Timestamp) {
        self.since.push((observation.clone(), now));
        self.present.fold(observation, now);
    }

    /// Gives all of it to `show`, which lets go of what it was given before. If somebody still reads that, a copy is made.
    pub(super) fn show(&mut self, show: impl FnOnce(Arc<Observed>)) {
        let present = Arc::new(mem::take(&mut self.present));
        let before = mem::replace(&mut self.shown, Arc::clone(&present));
        show(Arc::clone(&present));
        self.present = match Arc::try_unwrap(before) {
            Ok(mut before) => {
                self.since.drain(..).for_each(|(observation, at)| before.fold(observation, at));
                before
            }
            Err(_) => {
                self.since.clear();
                Observed::clone(&present)
            }
        };
        debug_assert_eq!(self.present, *present, "folding is a function");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noticed(group: &str) -> Observation {
        Observation::Noticed(group.into())
    }

    /// Whoever keeps what was shown sees it as it was; whoever lets go of it in time has it brought up to date, not copied.
    #[test]
    fn what_is_shown_stays_as_it_is_and_what_is_known_is_the_sum() {
        let (mut known, mut single) = (Known::default(), Observed::default());
        let (mut kept, mut seen, mut places) = (Vec::new(), Arc::default(), Vec::new());
        for turn in 0..12_u64 {
            for n in 0..turn % 3 {
                let at = Timestamp(100 * turn + n);
                known.fold(noticed(&format!("group-{turn}-{n}")), at);
                single.fold(noticed(&format!("group-{turn}-{n}")), at);
            }
            known.show(|shown| seen = shown);
            assert_eq!((&single, known.present()), (&*seen, &single), "turn {turn}");
            places.push(Arc::as_ptr(&seen));
            if turn % 4 == 3 {
                kept.push((single.clone(), Arc::clone(&seen)));
            }
        }
        assert!(kept.iter().all(|(then, kept)| then == &**kept));
        assert!(kept.len() == 3 && places.len() == 12);
    }
}
