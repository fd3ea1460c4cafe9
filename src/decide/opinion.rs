//! What a rule makes of a case.

use alloc::{vec, vec::Vec};

use super::case::Case;
use crate::{
    action::Action,
    reason::Reason,
    record::WaitRecord,
    timestamp::Timestamp,
    verdict::{Ruling, Verdict},
};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Opinion {
    /// None for what neither waits nor serves.
    pub(super) ruling: Option<Ruling>,
    pub(super) wishes: Vec<Action>,
    /// When it could change by time alone; a moment that has passed means nothing.
    pub(super) wake_at: Option<Timestamp>,
}

impl Opinion {
    pub(super) fn held(case: &Case<'_>, reason: Reason) -> Self {
        Self::new(case, Verdict::Held, reason)
    }

    pub(super) fn admitted(case: &Case<'_>, reason: Reason) -> Self {
        Self::new(case, Verdict::Admitted, reason)
    }

    pub(super) fn rejected(case: &Case<'_>, reason: Reason) -> Self {
        Self::new(case, Verdict::Rejected, reason)
    }

    pub(super) fn withdrawn(case: &Case<'_>, reason: Reason) -> Self {
        Self::new(case, Verdict::Withdrawn, reason)
    }

    fn new(case: &Case<'_>, verdict: Verdict, reason: Reason) -> Self {
        let wait = case.wait();
        let continue_accepted =
            wait.and_then(|wait| case.admits(wait)).is_some_and(|attempts| attempts.accepted_at.is_some());
        let wait = wait.map(|wait| wait.wait);
        let group = case.instance.group.clone();
        let ruling = Ruling { group, verdict, reason, wait, deadline: None, continue_accepted };
        Self { ruling: Some(ruling), wishes: vec![], wake_at: None }
    }

    pub(super) fn by(mut self, case: &Case<'_>, wait: &WaitRecord) -> Self {
        if let Some(ruling) = &mut self.ruling {
            ruling.deadline = Some(case.deadline(wait));
        }
        self
    }

    pub(super) fn past_the_hook(mut self) -> Self {
        if let Some(ruling) = &mut self.ruling {
            ruling.continue_accepted = true;
        }
        self
    }

    pub(super) fn wishing(mut self, action: Action) -> Self {
        self.wishes.push(action);
        self
    }

    /// It holds until then; of several moments the first that is still to come.
    pub(super) fn until(mut self, case: &Case<'_>, at: Timestamp) -> Self {
        if at > case.now {
            self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
        }
        self
    }

    pub(super) fn and(mut self, action: Option<Action>) -> Self {
        self.wishes.extend(action);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, Opinion};

    /// What is due now is done now: as a moment to wake up at, it would hide the next.
    #[test]
    fn only_what_is_to_come_wakes() {
        let scene = waiting();
        let case = scene.case(at(100));
        let until = |moments: &[u64]| {
            moments.iter().fold(Opinion::default(), |opinion, moment| opinion.until(&case, at(*moment))).wake_at
        };
        assert_eq!(until(&[99, 100]), None);
        assert_eq!(until(&[100, 300, 200]), Some(at(200)));
    }
}
