//! Attempts: what was sent, and how it was answered.

use alloc::collections::btree_map::Entry;

use super::Observed;
use crate::{action::AttemptKey, attempt::Attempts, instance::InstanceId, observation::Answer, timestamp::Timestamp};

impl Observed {
    pub(super) fn sent(&mut self, attempt: AttemptKey, at: Timestamp) {
        match self.attempts.entry(attempt) {
            Entry::Vacant(entry) => drop(entry.insert(Attempts::first(at))),
            Entry::Occupied(mut entry) => entry.get_mut().sent(at),
        }
    }

    /// An answer to an attempt that nothing is known of: its instance is gone, or the record it wrote was seen already. Only
    /// that a wait was ended is a fact worth keeping.
    pub(super) fn answered(&mut self, attempt: AttemptKey, answer: Answer, at: Timestamp) {
        if answer == Answer::Throttled && attempt.is_call() {
            self.pressure.throttled(at);
        }
        let ends_a_wait = matches!(attempt, AttemptKey::Admit(..) | AttemptKey::GiveUp(..));
        match self.attempts.entry(attempt) {
            Entry::Occupied(mut entry) => entry.get_mut().answered(answer, at),
            Entry::Vacant(entry) if ends_a_wait && answer == Answer::Accepted => {
                entry.insert(Attempts::first(at)).answered(answer, at);
            }
            Entry::Vacant(_) => {}
        }
    }

    /// All but one: when ABANDON was taken paces the group for as long as the rejection is on record.
    pub(super) fn forget_attempts(&mut self, gone: &InstanceId) {
        self.attempts.retain(|attempt, attempts| {
            let paces = matches!(attempt, AttemptKey::GiveUp(..)) && attempts.was_accepted();
            attempt.instance() != Some(gone) || paces
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{instance::WaitId, observation::Observation, record::Key};

    fn answered(attempt: AttemptKey, answer: Answer) -> Observed {
        let mut observed = Observed::default();
        observed.fold(Observation::Answered { attempt, answer, at: Timestamp(7) }, Timestamp(8));
        observed
    }

    #[test]
    fn an_answer_without_its_attempt_is_a_fact_only_when_it_ended_a_wait() {
        let admit = || AttemptKey::Admit("a".into(), WaitId(1));
        for (attempt, answer, kept) in [
            (admit(), Answer::Accepted, true),
            (AttemptKey::GiveUp("a".into(), WaitId(1)), Answer::Accepted, true),
            (admit(), Answer::NoActiveAction, false),
            (AttemptKey::KeepWaiting("a".into(), WaitId(1)), Answer::Accepted, false),
            (AttemptKey::Describe("web".into()), Answer::Accepted, false),
            (AttemptKey::Record(Key::Wait("a".into())), Answer::Accepted, false),
        ] {
            assert_eq!(answered(attempt, answer).attempts.len(), usize::from(kept));
        }
        let late = Observation::Sent { attempt: admit(), at: Timestamp(6) };
        let mut observed = answered(admit(), Answer::Accepted);
        observed.fold(late, Timestamp(9));
        assert_eq!(observed.attempts[&admit()].accepted_at, Some(Timestamp(7)));
        assert!(observed.attempts[&admit()].was_accepted());
    }

    #[test]
    fn only_what_the_cloud_throttles_presses() {
        let pressed = |attempt| {
            let allowed = answered(attempt, Answer::Throttled).pressure.allows(50, Timestamp(7));
            (allowed, answered(AttemptKey::Describe("web".into()), Answer::Accepted).pressure.allows(50, Timestamp(7)))
        };
        assert_eq!(pressed(AttemptKey::Describe("web".into())), (Some(25), None));
        assert_eq!(pressed(AttemptKey::Record(Key::Wait("a".into()))), (None, None));
        let mut observed = Observed::default();
        observed.fold(Observation::Throttled { at: Timestamp(7) }, Timestamp(8));
        assert_eq!(observed.pressure.allows(50, Timestamp(7)), Some(25));
    }

    #[test]
    fn sending_twice_is_two_attempts_and_folding_twice_is_one() {
        let attempt = || AttemptKey::Admit("a".into(), WaitId(1));
        let mut observed = Observed::default();
        for (at, sent) in [(5, 1), (5, 1), (6, 2), (4, 2)] {
            observed.fold(Observation::Sent { attempt: attempt(), at: Timestamp(at) }, Timestamp(9));
            assert_eq!(observed.attempts[&attempt()].sent, sent);
        }
    }
}
