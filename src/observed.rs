//! All that the controller knows, folded from observations.

use alloc::collections::BTreeMap;

use crate::{
    action::AttemptKey,
    attempt::Attempts,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{GroupFacts, Observation},
    record::{Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};

/// All that the controller knows. A fresh one knows nothing, and decides nothing rash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Groups as last described.
    pub groups: BTreeMap<GroupName, Group>,
    /// Instances as last described, with what their agents said.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The store's records, with their revisions.
    pub records: BTreeMap<Key, (u64, Record)>,
    /// What was tried.
    pub attempts: BTreeMap<AttemptKey, Attempts>,
    /// The lease, if one was ever held: epoch and end.
    pub lease: Option<(u64, Timestamp)>,
    /// Since when reports are taken: the first lease.
    pub listening_since: Option<Timestamp>,
}

/// A group as last described.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// When the last description was asked for.
    pub asked_at: Option<Timestamp>,
    /// What it said; none when there is no such group.
    pub facts: Option<GroupFacts>,
    /// Whether somebody noticed something since.
    pub noticed: bool,
}

/// An instance as last described, with what its agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The group it is in.
    pub group: GroupName,
    /// Where it is in its life.
    pub state: LifecycleState,
    /// When that was asked for.
    pub described_at: Timestamp,
    /// The newest report.
    pub evidence: Option<Evidence>,
}

impl Observed {
    /// Takes in one observation, at `now`. Total: nothing is refused. Idempotent: twice is once.
    pub fn fold(&mut self, _observation: Observation, _now: Timestamp) {}
}
