//! Attempts at actions: how often each was tried, and when it may be tried again. Retry and backoff are part of the decision.

use alloc::string::String;
use core::time::Duration;

use crate::{observation::Answer, policy::Limits, timestamp::Timestamp};

/// All that is remembered of the attempts at one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// How many were sent since one was last accepted: backoff counts these.
    pub sent: u32,
    /// When the last was sent.
    pub last_sent: Timestamp,
    /// How the last was answered, and when; none while it is under way (or its answer was lost).
    pub answered: Option<(Answer, Timestamp)>,
    /// When one was last accepted. A later answer does not undo that.
    pub accepted_at: Option<Timestamp>,
    /// The other side's words, when its last answer was a refusal: also while the next attempt is under way.
    pub refused: Option<String>,
}

impl Attempts {
    /// The first attempt, sent just now.
    pub(crate) const fn first(at: Timestamp) -> Self {
        Self { sent: 1, last_sent: at, answered: None, accepted_at: None, refused: None }
    }

    /// Takes in that one was sent. An older or the same one changes nothing.
    pub(crate) fn sent(&mut self, at: Timestamp) {
        if at <= self.last_sent {
            return;
        }
        self.sent = if self.was_accepted() { 1 } else { self.sent.saturating_add(1) };
        self.last_sent = at;
        self.answered = None;
    }

    /// Takes in an answer. One that is older than the last attempt is the answer to an earlier attempt, which was taken for
    /// lost: it says nothing about the last, but that an earlier one was accepted is still a fact.
    pub(crate) fn answered(&mut self, answer: Answer, at: Timestamp) {
        if answer == Answer::Accepted {
            self.accepted_at = self.accepted_at.max(Some(at));
        }
        let newest = self.answered.as_ref().is_none_or(|(_, before)| at > *before);
        if at >= self.last_sent && newest {
            self.refused = refusal(&answer);
            self.answered = Some((answer, at));
        }
    }

    /// Whether the last was sent and may still be answered.
    pub fn under_way(&self, limits: &Limits, now: Timestamp) -> bool {
        self.answered.is_none() && now < self.lost_at(limits)
    }

    /// The earliest moment at which the next may be sent.
    pub fn next_at(&self, limits: &Limits) -> Timestamp {
        match &self.answered {
            None => self.lost_at(limits),
            Some((Answer::Accepted, at)) => *at,
            Some((
                Answer::Throttled | Answer::NoActiveAction | Answer::Refused { .. } | Answer::Unknown { .. },
                at,
            )) => *at + self.backoff(limits),
        }
    }

    /// From when on the last attempt has had all the effect it will ever have: a description asked for later shows it.
    pub fn settled_at(&self, limits: &Limits) -> Timestamp {
        self.answered.as_ref().map_or(self.lost_at(limits), |(_, at)| *at)
    }

    /// Whether the last was accepted.
    pub fn was_accepted(&self) -> bool {
        matches!(self.answered, Some((Answer::Accepted, _)))
    }

    /// When the answer to the last is no longer waited for.
    fn lost_at(&self, limits: &Limits) -> Timestamp {
        self.last_sent + limits.call_timeout
    }

    /// Doubles with every attempt. No jitter: one process decides for all groups, and its budget spreads the calls.
    fn backoff(&self, limits: &Limits) -> Duration {
        let doublings = self.sent.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        limits.backoff_min.saturating_mul(factor).min(limits.backoff_max)
    }
}

fn refusal(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Refused { because } => Some(because.clone()),
        Answer::Accepted | Answer::Throttled | Answer::NoActiveAction | Answer::Unknown { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: fn() -> Limits = Limits::default;

    fn unknown() -> Answer {
        Answer::Unknown { because: "timeout".into() }
    }

    #[test]
    fn the_newest_answer_counts() {
        let mut attempts = Attempts::first(Timestamp(1));
        attempts.answered(unknown(), Timestamp(5));
        attempts.answered(Answer::NoActiveAction, Timestamp(3));
        assert_eq!(attempts.answered, Some((unknown(), Timestamp(5))), "an older one comes late");
        attempts.answered(Answer::Throttled, Timestamp(5));
        assert_eq!(attempts.answered, Some((unknown(), Timestamp(5))), "twice is once");
        attempts.answered(Answer::Throttled, Timestamp(6));
        assert_eq!(attempts.answered, Some((Answer::Throttled, Timestamp(6))));
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        for (sent, after_ms) in [
            (1, 1_000),
            (2, 2_000),
            (3, 4_000),
            (5, 16_000),
            (6, 30_000),
            (32, 30_000),
            (33, 30_000),
            (u32::MAX, 30_000),
        ] {
            let attempts =
                Attempts { sent, answered: Some((unknown(), Timestamp(7))), ..Attempts::first(Timestamp(0)) };
            assert_eq!(attempts.next_at(&LIMITS()), Timestamp(7 + after_ms), "{sent}");
        }
    }

    #[test]
    fn a_lost_answer_is_waited_for_no_longer_than_the_timeout() {
        let attempts = Attempts::first(Timestamp(5));
        assert!(attempts.under_way(&LIMITS(), Timestamp(30_004)));
        assert!(!attempts.under_way(&LIMITS(), Timestamp(30_005)));
        assert_eq!(attempts.next_at(&LIMITS()), Timestamp(30_005));
        assert_eq!(attempts.settled_at(&LIMITS()), Timestamp(30_005));
    }

    #[test]
    fn twice_is_once_and_late_is_never_too_late() {
        let mut attempts = Attempts::first(Timestamp(10));
        attempts.sent(Timestamp(10));
        attempts.sent(Timestamp(9));
        assert_eq!(attempts, Attempts::first(Timestamp(10)));
        attempts.sent(Timestamp(20));
        assert_eq!((attempts.sent, attempts.last_sent), (2, Timestamp(20)));
        attempts.answered(Answer::Accepted, Timestamp(19));
        assert_eq!((attempts.accepted_at, attempts.answered.clone()), (Some(Timestamp(19)), None));
        attempts.answered(unknown(), Timestamp(20));
        attempts.answered(Answer::Throttled, Timestamp(20));
        assert_eq!(attempts.answered, Some((unknown(), Timestamp(20))));
        assert_eq!(attempts.accepted_at, Some(Timestamp(19)));
    }

    #[test]
    fn acceptance_ends_the_backoff() {
        let mut attempts = Attempts { sent: 9, ..Attempts::first(Timestamp(10)) };
        attempts.answered(Answer::Accepted, Timestamp(11));
        assert_eq!(attempts.next_at(&LIMITS()), Timestamp(11));
        attempts.sent(Timestamp(12));
        assert_eq!((attempts.sent, attempts.accepted_at), (1, Some(Timestamp(11))));
    }

    #[test]
    fn each_answer_says_what_it_says() {
        let refused = || Answer::Refused { because: "no".into() };
        for (answer, refusal) in [
            (None, None),
            (Some(Answer::Accepted), None),
            (Some(Answer::Throttled), None),
            (Some(Answer::NoActiveAction), None),
            (Some(refused()), Some("no")),
            (Some(unknown()), None),
        ] {
            let accepted = answer == Some(Answer::Accepted);
            let mut attempts = Attempts { sent: 2, ..Attempts::first(Timestamp(0)) };
            answer.into_iter().for_each(|answer| attempts.answered(answer, Timestamp(50)));
            assert_eq!(attempts.was_accepted(), accepted);
            assert_eq!(attempts.refused.as_deref(), refusal);
            attempts.sent(Timestamp(60));
            assert_eq!(attempts.refused.as_deref(), refusal);
            attempts.answered(Answer::Throttled, Timestamp(61));
            assert_eq!(attempts.refused, None);
        }
    }
}
