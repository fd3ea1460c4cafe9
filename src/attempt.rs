//! Attempts at actions: how often each was tried, and when it may be tried again. Retry and backoff are part of the decision.

use core::time::Duration;

use crate::{observation::Answer, timestamp::Timestamp};

/// All that is remembered of the attempts at one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// How many were sent.
    pub sent: u32,
    /// When the last was sent.
    pub last_sent: Timestamp,
    /// How the last was answered, and when; none while it is under way (or its answer was lost).
    pub answered: Option<(Answer, Timestamp)>,
}
impl Attempts {
    /// The earliest moment at which the next may be sent.
    pub fn next_at(&self, _policy: &crate::policy::Policy) -> Timestamp {
        self.last_sent + Duration::ZERO
    }
}
