//! All that the controller knows, folded from observations.
//!
//! Folding is total (nothing is refused), idempotent (twice is once) and tolerant of order (what is older never overrules what
//! is newer). It is bounded by the fleet: what is gone from a complete description is forgotten, and its attempts with it.

use alloc::collections::BTreeMap;

use crate::{
    action::AttemptKey,
    attempt::Attempts,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{GroupFacts, Observation, OwnCertificate},
    pressure::Pressure,
    record::{Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};

mod attempted;
mod described;
mod reported;
mod stored;
mod touched;

pub(crate) use touched::Touched;

/// All that the controller knows. A fresh one knows nothing, and decides nothing rash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Groups as last described.
    pub groups: BTreeMap<GroupName, Group>,
    /// Instances as last described, with what their agents said.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Reports of instances that were not described yet: after a restart an agent may be quicker than the cloud.
    pub early: BTreeMap<InstanceId, Evidence>,
    /// The store's records, with their revisions.
    pub records: BTreeMap<Key, (u64, Record)>,
    /// Revisions at which records went: an older write that comes late does not bring them back.
    pub removed: BTreeMap<Key, u64>,
    /// Records that cannot be read, with their revisions.
    pub unreadable: BTreeMap<Key, u64>,
    /// What was tried.
    pub attempts: BTreeMap<AttemptKey, Attempts>,
    /// How much of the budget of calls the cloud lets us have.
    pub pressure: Pressure,
    /// What this controller's listeners show, by their names.
    pub certificates: BTreeMap<alloc::string::String, OwnCertificate>,
    /// The lease, if one was ever held: epoch and end.
    pub lease: Option<(u64, Timestamp)>,
    /// Since when this controller leads without a gap, and agents are listened to.
    pub listening_since: Option<Timestamp>,
}

/// A group as last described.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// When the last complete description was asked for.
    pub asked_at: Option<Timestamp>,
    /// What it said; none when there is no such group.
    pub facts: Option<GroupFacts>,
    /// When somebody last noticed something.
    pub noticed_at: Option<Timestamp>,
    /// Since when fewer instances serve than are wanted, by whole descriptions without a break.
    pub short_since: Option<Timestamp>,
    /// Since when a part of it cannot be seen, likewise.
    pub unseen_since: Option<Timestamp>,
    /// When it was first seen to launch from what it launches from now.
    pub template_since: Option<Timestamp>,
}

/// An instance as last described, with what its agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The group it is in.
    pub group: GroupName,
    /// Where it is in its life.
    pub state: LifecycleState,
    /// Whether it is protected from scale-in, by whomever.
    pub protected: bool,
    /// When that was asked for.
    pub described_at: Timestamp,
    /// Whether its load balancers find it healthy, when they were last asked.
    pub healthy: Option<bool>,
    /// Since when it serves, by descriptions without a break.
    pub serving_since: Option<Timestamp>,
    /// The newest report.
    pub evidence: Option<Evidence>,
    /// When the first of the present, unbroken run of passing reports came: of one boot, one wait, one manifest.
    pub passing_since: Option<Timestamp>,
    /// The same, of reports in which all passed that counts at launch or while it serves.
    pub well_since: Option<Timestamp>,
    /// The same, of reports in which something failed that counts while it serves.
    pub drifting_since: Option<Timestamp>,
}

impl Instance {
    /// Whether it gets traffic, as far as is known.
    pub fn serves(&self) -> bool {
        self.state == LifecycleState::InService && self.healthy != Some(false)
    }
}

impl Observed {
    /// Takes in one observation, at `now`. Total: nothing is refused. Idempotent: twice is once.
    pub fn fold(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Described(description) => self.described(description),
            Observation::Noticed(group) => self.noticed(group, now),
            Observation::Reported(evidence) => self.reported(evidence),
            Observation::Unproven(instance) => self.unproven(&instance),
            Observation::Stored { key, revision, record } => self.stored(key, revision, record),
            Observation::Unreadable { key, revision } => self.unreadable(key, revision),
            Observation::Sent { attempt, at } => self.sent(attempt, at),
            Observation::Answered { attempt, answer, at } => self.answered(attempt, answer, at),
            Observation::Lease { epoch, until } => self.leased(epoch, until, now),
            Observation::Throttled { at } => self.pressure.throttled(at),
            Observation::Certificate(seen) => drop(self.certificates.insert(seen.listener.clone(), seen)),
            Observation::Tick => {}
        }
    }

    fn noticed(&mut self, group: GroupName, now: Timestamp) {
        let group = self.groups.entry(group).or_default();
        group.noticed_at = group.noticed_at.max(Some(now));
    }

    /// A controller that comes (back) to lead after a gap has missed reports: it listens anew before it gives anybody up.
    fn leased(&mut self, epoch: u64, until: Timestamp, now: Timestamp) {
        let gap = self.lease.is_none_or(|(_, before)| before <= now);
        if self.lease < Some((epoch, until)) {
            self.lease = Some((epoch, until));
            if gap && until > now {
                self.listening_since = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(epoch: u64, until: u64) -> Observation {
        Observation::Lease { epoch, until: Timestamp(until) }
    }

    #[test]
    fn listening_begins_with_a_lease_and_anew_after_a_gap() {
        let mut observed = Observed::default();
        for (observation, now, lease, listening_since) in [
            (Observation::Tick, 0, None, None),
            (lease(1, 100), 10, Some((1, 100)), Some(10)),
            (lease(1, 100), 20, Some((1, 100)), Some(10)),
            (lease(1, 200), 90, Some((1, 200)), Some(10)),
            (lease(1, 150), 91, Some((1, 200)), Some(10)),  // older
            (lease(2, 300), 199, Some((2, 300)), Some(10)), // no gap
            (lease(3, 400), 300, Some((3, 400)), Some(300)),
            (lease(2, 900), 401, Some((3, 400)), Some(300)), // an earlier holder's
            (lease(4, 410), 410, Some((4, 410)), Some(300)), // came too late to be of use
        ] {
            observed.fold(observation, Timestamp(now));
            assert_eq!(observed.lease, lease.map(|(epoch, until)| (epoch, Timestamp(until))), "at {now}");
            assert_eq!(observed.listening_since, listening_since.map(Timestamp), "at {now}");
        }
    }

    #[test]
    fn the_latest_notice_counts() {
        let mut observed = Observed::default();
        for (now, noticed_at) in [(5, 5), (9, 9), (7, 9)] {
            observed.fold(Observation::Noticed("web".into()), Timestamp(now));
            assert_eq!(observed.groups[&"web".into()].noticed_at, Some(Timestamp(noticed_at)));
        }
    }
}
