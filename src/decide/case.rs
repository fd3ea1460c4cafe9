//! One instance, with all that is known of it: what a rule looks at.

use core::time::Duration;

use super::gated::Gated;
use crate::{
    action::{AttemptKey, Held},
    attempt::Attempts,
    digest::Digest,
    instance::InstanceId,
    observation::{Custody, GroupFacts, Hook},
    observed::{Instance, Observed},
    policy::{GroupPolicy, Limits, Mode},
    record::{
        AdmissionRecord, DetachRecord, DisputeRecord, Key, OverrideRecord, PauseRecord, Record, RejectionRecord, Stage,
        WaitRecord, WithdrawalRecord,
    },
    timestamp::Timestamp,
};

pub(super) struct Case<'a> {
    pub(super) id: &'a InstanceId,
    pub(super) instance: &'a Instance,
    pub(super) facts: &'a GroupFacts,
    pub(super) policy: &'a GroupPolicy,
    pub(super) limits: &'a Limits,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
    pub(super) gated: &'a Gated<'a>,
    wait: Option<&'a WaitRecord>,
    admission: Option<&'a AdmissionRecord>,
    withdrawal: Option<&'a WithdrawalRecord>,
}

impl<'a> Case<'a> {
    /// `None` when its group was never described whole: its hooks are not known then. What most rules ask for is looked up once.
    pub(super) fn of(id: &'a InstanceId, instance: &'a Instance, gated: &'a Gated<'a>) -> Option<Self> {
        let Gated { policy, limits, observed, now, .. } = *gated;
        let record = |key: Key| observed.records.get(&key).map(|(_, record)| record);
        let wait = match record(Key::Wait(id.clone())) {
            Some(Record::Wait(record)) => Some(record),
            _ => None,
        };
        let admission = match record(Key::Admission(id.clone())) {
            Some(Record::Admission(record)) => Some(record),
            _ => None,
        };
        let withdrawal = match record(Key::Withdrawal(id.clone())) {
            Some(Record::Withdrawal(record)) => Some(record),
            _ => None,
        };
        let facts = gated.group?.facts.as_ref()?;
        Some(Self { id, instance, facts, policy, limits, observed, now, gated, wait, admission, withdrawal })
    }

    /// Whether anything may take it out of traffic. In a group that does without the gate, nothing does.
    pub(super) fn withdraws(&self) -> bool {
        self.policy.withdraws() && self.detached().is_none()
    }

    pub(super) fn enforces(&self) -> bool {
        self.policy.mode == Mode::Enforce
    }

    /// Whether it is held where it is, and can be held again.
    pub(super) fn is_in_place(&self) -> bool {
        self.facts.custody == Custody::InPlace
    }

    /// Our hook, as the cloud has it.
    pub(super) fn hook(&self) -> Option<&'a Hook> {
        self.facts.launch_hooks.iter().find(|hook| hook.name == self.policy.hook)
    }

    /// The names of all launch hooks that are not ours.
    pub(super) fn other_hooks(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let ours = &self.policy.hook;
        self.facts.launch_hooks.iter().map(|hook| hook.name.as_str()).filter(move |name| name != ours)
    }

    /// Manifests that the group accepts, the wanted one first.
    pub(super) fn accepted(&self) -> &'a [Digest] {
        self.gated.accepted
    }

    /// The last wait on record, whether it is over or not.
    pub(super) const fn wait(&self) -> Option<&'a WaitRecord> {
        self.wait
    }

    /// The last admission on record, if it is of the last wait, and to this group: another one accepts something else.
    pub(super) fn admission(&self) -> Option<&'a AdmissionRecord> {
        self.admission.filter(|record| record.group == self.instance.group && self.is_of_last_wait(record.wait))
    }

    /// The last rejection on record, if it is of the last wait.
    pub(super) fn rejection(&self) -> Option<&'a RejectionRecord> {
        match self.observed.records.get(&Key::Rejection(self.id.clone())) {
            Some((_, Record::Rejection(record))) if self.is_of_last_wait(record.wait) => Some(record),
            _ => None,
        }
    }

    /// Whether somebody else claims to be this instance. For good: a new instance costs less than an unknown one.
    pub(super) fn dispute(&self) -> Option<&'a DisputeRecord> {
        match self.observed.records.get(&Key::Dispute(self.id.clone())) {
            Some((_, Record::Dispute(record))) => Some(record),
            _ => None,
        }
    }

    /// What an operator says of `wait`, while it is in effect.
    pub(super) fn operator(&self, wait: &WaitRecord) -> Option<&'a OverrideRecord> {
        match self.observed.records.get(&Key::Override(self.id.clone())) {
            Some((_, Record::Override(said))) if said.wait == wait.wait && self.now < said.until => Some(said),
            _ => None,
        }
    }

    /// The pause of its group, while it is in effect.
    pub(super) fn pause(&self) -> Option<&'a PauseRecord> {
        self.gated.pause.filter(|pause| self.now < pause.until)
    }

    /// When what an operator says of it, or of its group, is no longer in effect.
    pub(super) fn words_end(&self) -> impl Iterator<Item = Timestamp> + use<'a> {
        let said = self.wait().and_then(|wait| self.operator(wait)).map(|said| said.until);
        said.into_iter().chain(self.pause().map(|pause| pause.until))
    }

    /// Its last withdrawal from this group, over or not.
    pub(super) fn last_withdrawal(&self) -> Option<&'a WithdrawalRecord> {
        self.withdrawal.filter(|record| record.group == self.instance.group)
    }

    /// The word that its group does without the gate, while it is in effect.
    pub(super) fn detached(&self) -> Option<&'a DetachRecord> {
        self.gated.detached
    }

    /// Its withdrawal, while it is ours to bring it back.
    pub(super) fn withdrawal(&self) -> Option<&'a WithdrawalRecord> {
        self.last_withdrawal().filter(|record| record.stage != Stage::Over)
    }

    /// A wait that no record knows cannot be told from any other.
    fn is_of_last_wait(&self, wait: crate::instance::WaitId) -> bool {
        self.wait().is_none_or(|last| last.wait == wait)
    }

    pub(super) fn revision(&self, key: &Key) -> Option<u64> {
        self.observed.records.get(key).map(|(revision, _)| *revision)
    }

    pub(super) fn attempts(&self, key: &AttemptKey) -> Option<&'a Attempts> {
        self.observed.attempts.get(key)
    }

    pub(super) fn admits(&self, wait: &WaitRecord) -> Option<&'a Attempts> {
        self.attempts(&AttemptKey::Admit(self.id.clone(), wait.wait))
    }

    pub(super) fn give_ups(&self, wait: &WaitRecord) -> Option<&'a Attempts> {
        self.attempts(&AttemptKey::GiveUp(self.id.clone(), wait.wait))
    }

    pub(super) fn held(&self, wait: &WaitRecord) -> Held {
        Held {
            group: self.instance.group.clone(),
            instance: self.id.clone(),
            wait: wait.wait,
            hook: self.policy.hook.clone(),
        }
    }

    pub(super) fn deadline(&self, wait: &WaitRecord) -> Timestamp {
        wait.since + self.policy.admission_deadline
    }

    /// The first moment at which something of `at` is older than `age_max`.
    pub(super) fn too_old_at(at: Timestamp, age_max: Duration) -> Timestamp {
        at + age_max + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, Key};

    /// What a write must expect: with any other revision, compare-and-swap protects nothing or never succeeds.
    #[test]
    fn revisions_are_those_of_the_store() {
        let scene = proven();
        let case = scene.case(at(100));
        assert_eq!(case.revision(&Key::Admission(i1())), Some(7));
        assert_eq!(case.revision(&Key::Rejection(i1())), None);
    }
}
