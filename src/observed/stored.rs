//! Records: what the store says. The higher revision counts.

use super::Observed;
use crate::{
    action::AttemptKey,
    instance::InstanceId,
    record::{Key, Record, Stage},
};

impl Observed {
    /// A new revision ends the attempts at writing the record: whoever wrote it, the next write is another one.
    pub(super) fn stored(&mut self, key: Key, revision: u64, record: Option<Record>) {
        if self.known(&key).is_some_and(|known| known >= revision) {
            return;
        }
        self.unreadable.remove(&key);
        self.attempts.remove(&AttemptKey::Record(key.clone()));
        if let (Key::Alert(alert), Some(Record::Alert(record))) = (&key, &record) {
            // Of an earlier time that it fired, nothing matters any more, but what is still on its way and may arrive late.
            self.attempts.retain(|attempt, attempts| {
                let (AttemptKey::Tell(of, _, since, _), false) = (attempt, record.is_over) else {
                    return !matches!(attempt, AttemptKey::Tell(of, ..) if of == alert);
                };
                of != alert || *since == record.since || attempts.answered.is_none()
            });
        }
        if let Key::Withdrawal(id) = &key {
            self.forget_departures(id, record.as_ref());
        }
        if let Some(record) = record {
            self.removed.remove(&key);
            self.records.insert(key, (revision, record));
        } else {
            self.records.remove(&key);
            if let Key::Rejection(id) = &key {
                self.attempts.retain(|attempt, _| !matches!(attempt, AttemptKey::GiveUp(of, _) if of == id));
            }
            self.removed.insert(key, revision);
        }
    }

    /// What was known of it before is not what it says.
    pub(super) fn unreadable(&mut self, key: Key, revision: u64) {
        if self.known(&key).is_none_or(|known| known < revision) {
            self.records.remove(&key);
            self.removed.remove(&key);
            self.unreadable.insert(key, revision);
        }
    }

    fn known(&self, key: &Key) -> Option<u64> {
        let record = self.records.get(key).map(|(revision, _)| *revision);
        record.max(self.removed.get(key).copied()).max(self.unreadable.get(key).copied())
    }

    /// Of a stage of a withdrawal that is over, nothing matters any more.
    fn forget_departures(&mut self, id: &InstanceId, record: Option<&Record>) {
        let present = match record {
            Some(Record::Withdrawal(record)) if record.stage != Stage::Over => Some(record.changed_at),
            _ => None,
        };
        self.attempts.retain(|attempt, _| match attempt {
            AttemptKey::Withdraw(of, at) | AttemptKey::Return(of, at) => of != id || Some(*at) == present,
            _ => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::{attempt::Attempts, observation::Observation, record::GroupRecord, timestamp::Timestamp};

    #[test]
    fn the_higher_revision_counts() {
        let key = || Key::Group("web".into());
        let written = || Some(Record::Group(GroupRecord { accepted: vec![], at: Timestamp(0) }));
        let mut observed = Observed::default();
        for (revision, record, there, news) in [
            (3, written(), Some(3), true),
            (3, None, Some(3), false),
            (2, None, Some(3), false),
            (4, None, None, true),
            (4, written(), None, false),
            (3, written(), None, false), // an older write that came late
            (5, written(), Some(5), true),
        ] {
            observed.attempts.insert(AttemptKey::Record(key()), Attempts::first(Timestamp(1)));
            observed.fold(Observation::Stored { key: key(), revision, record }, Timestamp(9));
            assert_eq!(observed.records.get(&key()).map(|(revision, _)| *revision), there);
            assert_eq!(observed.attempts.is_empty(), news);
        }
        assert!(observed.removed.is_empty());
    }

    /// When ABANDON was taken paces the group as long as the rejection is on record, whatever becomes of the instance.
    #[test]
    fn an_abandon_is_remembered_with_its_rejection() {
        let abandon = |id: &str| AttemptKey::GiveUp(id.into(), crate::instance::WaitId(1));
        let removed = |id: &str| Observation::Stored { key: Key::Rejection(id.into()), revision: 9, record: None };
        let mut observed = Observed::default();
        for id in ["a", "b"] {
            let (attempt, answer) = (abandon(id), crate::observation::Answer::Accepted);
            observed.fold(Observation::Answered { attempt, answer, at: Timestamp(5) }, Timestamp(9));
            observed.forget_attempts(&id.into());
        }
        assert_eq!(observed.attempts.keys().collect::<Vec<_>>(), [&abandon("a"), &abandon("b")]);
        observed.fold(removed("a"), Timestamp(9));
        assert_eq!(observed.attempts.keys().collect::<Vec<_>>(), [&abandon("b")]);
    }
}
