//! Whom an observation is about: whoever remembers what was made of all that is known has to look at them again.

use alloc::collections::BTreeSet;

use crate::{
    action::AttemptKey,
    instance::{GroupName, InstanceId},
    observation::Observation,
    record::Key,
};

/// The groups and instances that an observation names. What else it changes is theirs: attempts, and records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) groups: BTreeSet<GroupName>,
    pub(crate) instances: BTreeSet<InstanceId>,
    /// Of this group, whoever is not named is gone.
    pub(crate) whole: Option<GroupName>,
}

impl Touched {
    /// What the lease changes is everybody's; own certificates, and time, are nobody's.
    pub(crate) fn by(observation: &Observation) -> Self {
        let mut touched = Self::default();
        match observation {
            Observation::Described(description) => {
                touched.groups.insert(description.group.clone());
                let listed = description.facts.iter().flat_map(|facts| &facts.instances);
                touched.instances.extend(listed.map(|facts| facts.instance.clone()));
                touched.whole = description.complete.then(|| description.group.clone());
            }
            Observation::Unproven(instance) => drop(touched.instances.insert(instance.clone())),
            Observation::Noticed(group) => drop(touched.groups.insert(group.clone())),
            Observation::Reported(evidence) => drop(touched.instances.insert(evidence.instance.clone())),
            Observation::Stored { key, .. } | Observation::Unreadable { key, .. } => touched.key(key),
            Observation::Sent { attempt, .. } | Observation::Answered { attempt, .. } => touched.attempt(attempt),
            Observation::Lease { .. }
            | Observation::Throttled { .. }
            | Observation::Certificate(_)
            | Observation::Tick => {}
        }
        touched
    }

    fn attempt(&mut self, attempt: &AttemptKey) {
        match attempt {
            AttemptKey::Record(key) => self.key(key),
            AttemptKey::Describe(group) | AttemptKey::Protect(group, _) => drop(self.groups.insert(group.clone())),
            AttemptKey::Tell(alert, ..) => drop(self.groups.insert(alert.group.clone())),
            AttemptKey::Admit(id, _)
            | AttemptKey::KeepWaiting(id, _)
            | AttemptKey::GiveUp(id, _)
            | AttemptKey::Withdraw(id, _)
            | AttemptKey::Return(id, _) => drop(self.instances.insert(id.clone())),
        }
    }

    fn key(&mut self, key: &Key) {
        match key {
            Key::Group(group)
            | Key::Pause(group)
            | Key::Breaker(group)
            | Key::Protection(group)
            | Key::Adoption(group)
            | Key::Freeze(group)
            | Key::Detach(group) => drop(self.groups.insert(group.clone())),
            Key::Alert(alert) => drop(self.groups.insert(alert.group.clone())),
            Key::Wait(id)
            | Key::Admission(id)
            | Key::Rejection(id)
            | Key::Dispute(id)
            | Key::Override(id)
            | Key::Withdrawal(id)
            | Key::Trial(id) => drop(self.instances.insert(id.clone())),
        }
    }
}
