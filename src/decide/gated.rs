//! One gated group, with all that is known of it: what the rules for a whole group look at.
//!
//! Nothing that is decided of a group depends on another one: so a group is decided at once, and a fleet group by group. What
//! all groups have in common (the lease, the budget, the sinks) comes after.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::case::Case;
use crate::{
    digest::Digest,
    instance::{GroupName, InstanceId},
    observed::{Group, Instance, Observed},
    policy::{GroupPolicy, Limits},
    record::{AdmissionRecord, DetachRecord, Key, PauseRecord, Record, RejectionRecord, WithdrawalRecord},
    timestamp::Timestamp,
};

pub(super) struct Gated<'a> {
    pub(super) name: &'a GroupName,
    /// As described; `None` if it never was, nor noticed.
    pub(super) group: Option<&'a Group>,
    pub(super) policy: &'a GroupPolicy,
    pub(super) limits: &'a Limits,
    pub(super) observed: &'a Observed,
    pub(super) members: &'a Members<'a>,
    pub(super) now: Timestamp,
    /// Manifests that it accepts, the wanted one first.
    pub(super) accepted: &'a [Digest],
    /// The last pause on record, in effect or not.
    pub(super) pause: Option<&'a PauseRecord>,
    /// The word that it does without the gate, while it is in effect.
    pub(super) detached: Option<&'a DetachRecord>,
}

impl<'a> Gated<'a> {
    pub(super) fn of(
        (name, policy): (&'a GroupName, &'a GroupPolicy),
        limits: &'a Limits,
        members: &'a Members<'a>,
        observed: &'a Observed,
        now: Timestamp,
    ) -> Self {
        let record = |key: Key| observed.records.get(&key).map(|(_, record)| record);
        let accepted = match record(Key::Group(name.clone())) {
            Some(Record::Group(record)) => &record.accepted[..],
            _ => &[],
        };
        let pause = match record(Key::Pause(name.clone())) {
            Some(Record::Pause(pause)) => Some(pause),
            _ => None,
        };
        let detached = match record(Key::Detach(name.clone())) {
            Some(Record::Detach(detached)) if detached.ended_at.is_none() => Some(detached),
            _ => None,
        };
        let group = observed.groups.get(name);
        Self { name, group, policy, limits, observed, members, now, accepted, pause, detached }
    }

    pub(super) fn cases(&'a self) -> Vec<Case<'a>> {
        self.members.instances.iter().filter_map(|(id, instance)| Case::of(id, instance, self)).collect()
    }
}

/// Who is in a group, and whose records name it, whether they are still there or not; by their names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Members<'a> {
    pub(super) instances: Vec<(&'a InstanceId, &'a Instance)>,
    pub(super) admissions: Vec<(&'a InstanceId, &'a AdmissionRecord)>,
    pub(super) rejections: Vec<(&'a InstanceId, &'a RejectionRecord)>,
    pub(super) withdrawals: Vec<(&'a InstanceId, &'a WithdrawalRecord)>,
}

impl<'a> Members<'a> {
    /// Of all groups, in one pass: to look for them group by group would take time by the square of the fleet.
    pub(super) fn of_each(observed: &'a Observed) -> BTreeMap<&'a GroupName, Self> {
        let mut groups: BTreeMap<&GroupName, Self> = BTreeMap::new();
        for (id, instance) in &observed.instances {
            groups.entry(&instance.group).or_default().instances.push((id, instance));
        }
        for (key, (_, record)) in &observed.records {
            if let Some(group) = named(key, record) {
                groups.entry(group).or_default().take(key, record);
            }
        }
        groups
    }

    /// Those of one group, of whom it is known who may be one.
    pub(super) fn among(known: &BTreeSet<InstanceId>, group: &GroupName, observed: &'a Observed) -> Self {
        let mut members = Self::default();
        for id in known {
            let instance = observed.instances.get_key_value(id);
            members.instances.extend(instance.filter(|(_, instance)| instance.group == *group));
            for (key, record) in records(id, observed).filter(|(key, record)| named(key, record) == Some(group)) {
                members.take(key, record);
            }
        }
        members
    }

    /// All of them.
    pub(super) fn names(&self) -> BTreeSet<InstanceId> {
        let Self { instances, admissions, rejections, withdrawals } = self;
        let instances = instances.iter().map(|(id, _)| *id).chain(admissions.iter().map(|(id, _)| *id));
        let gone = rejections.iter().map(|(id, _)| *id).chain(withdrawals.iter().map(|(id, _)| *id));
        instances.chain(gone).cloned().collect()
    }

    fn take(&mut self, key: &'a Key, record: &'a Record) {
        match (key, record) {
            (Key::Admission(id), Record::Admission(record)) => self.admissions.push((id, record)),
            (Key::Rejection(id), Record::Rejection(record)) => self.rejections.push((id, record)),
            (Key::Withdrawal(id), Record::Withdrawal(record)) => self.withdrawals.push((id, record)),
            _ => {}
        }
    }
}

/// The groups that look at an instance: the one that it is in, and those that its records name.
pub(super) fn groups_of(id: &InstanceId, observed: &Observed) -> BTreeSet<GroupName> {
    let is_in = observed.instances.get(id).map(|instance| &instance.group);
    let named = records(id, observed).filter_map(|(key, record)| named(key, record));
    is_in.into_iter().chain(named).cloned().collect()
}

/// The records of an instance that count in the group that they name, wherever the instance is by now.
fn records<'a>(id: &InstanceId, observed: &'a Observed) -> impl Iterator<Item = (&'a Key, &'a Record)> {
    let keys = [Key::Admission(id.clone()), Key::Rejection(id.clone()), Key::Withdrawal(id.clone())];
    keys.into_iter().filter_map(|key| observed.records.get_key_value(&key).map(|(key, (_, record))| (key, record)))
}

fn named<'a>(key: &Key, record: &'a Record) -> Option<&'a GroupName> {
    match (key, record) {
        (Key::Admission(_), Record::Admission(record)) => Some(&record.group),
        (Key::Rejection(_), Record::Rejection(record)) => Some(&record.group),
        (Key::Withdrawal(_), Record::Withdrawal(record)) => Some(&record.group),
        _ => None,
    }
}
