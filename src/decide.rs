//! The decision: from all that is known, what to do now, and why.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    action::Action, instance::InstanceId, observed::Observed, policy::Policy, timestamp::Timestamp, verdict::Ruling,
};

/// What to do now, and what to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// One for each instance that waits or serves in a gated group.
    pub rulings: BTreeMap<InstanceId, Ruling>,
    /// To be attempted once each, most urgent first. Empty without the lease.
    pub actions: Vec<Action>,
    /// The earliest moment at which this decision could change by itself.
    pub wake_at: Option<Timestamp>,
}

/// Decides from scratch. Pure: the same knowledge, policy and moment give the same decision.
pub fn decide(_observed: &Observed, _policy: &Policy, _now: Timestamp) -> Decision {
    Decision::default()
}
