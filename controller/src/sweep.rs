//! Forgets instances that are long gone: without it every launch would leave its records in the store for ever.
//!
//! An instance is gone when every gated group was described and none has it; long gone when nothing of it was written for
//! `KEPT`. Instance ids never come back. A wrong guess costs one enrolment, and admits nobody.

use std::{collections::BTreeSet, time::Duration};

use portcullis::{
    instance::InstanceId,
    policy::Policy,
    record::{Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};

use crate::{
    reconcile::Snapshot,
    records::{self, Binding, Ended},
    stores::{Batch, Store, StoreError, Write},
};

/// Removes the records of all instances that are long gone; how many there were.
///
/// # Errors
/// When the store cannot be read or written; what was removed until then stays removed.
pub fn sweep(store: &dyn Store, snapshot: &Snapshot, policy: &Policy, now: Timestamp) -> Result<usize, StoreError> {
    if !all_described(snapshot, policy) {
        return Ok(0);
    }
    let gone: Vec<_> = known(store)?.into_iter().filter(|id| !snapshot.observed.instances.contains_key(id)).collect();
    let mut swept = 0;
    for instance in gone {
        if swept == SWEPT_MAX {
            break;
        }
        // What cannot be read is somebody's who may come back.
        let Some((last_written, writes)) = all_of(store, &instance).ok() else { continue };
        if now.since(last_written) < KEPT {
            continue;
        }
        match store.commit(Batch { writes, events: Vec::new() }) {
            Ok(_) => swept += 1,
            // It was written to just now: it is not gone after all.
            Err(StoreError::Conflict { .. }) => {}
            Err(error @ StoreError::Failed(_)) => return Err(error),
        }
    }
    Ok(swept)
}

fn all_described(snapshot: &Snapshot, policy: &Policy) -> bool {
    policy.groups.keys().all(|name| snapshot.observed.groups.get(name).is_some_and(|group| group.asked_at.is_some()))
}

/// Every instance that has a record.
fn known(store: &dyn Store) -> Result<BTreeSet<InstanceId>, StoreError> {
    let mut known = BTreeSet::new();
    for family in records::OF_INSTANCES.into_iter().chain(["bound/"]) {
        for (path, _) in store.list(family)? {
            known.extend(path.strip_prefix(family).map(InstanceId::from));
        }
    }
    Ok(known)
}

/// When something of an instance was last written, and the removal of all that there is.
fn all_of(store: &dyn Store, instance: &InstanceId) -> Result<(Timestamp, Vec<Write>), StoreError> {
    let (mut last, mut writes) = (Timestamp(0), Vec::new());
    let mut remove = |path: String, revision: u64| writes.push(Write { path, expected: Some(revision), value: None });
    let paths = records::OF_INSTANCES.map(|family| format!("{family}{}", instance.as_str()));
    for path in paths.into_iter().filter(|path| Key::parse(path).is_some()) {
        if let Some((revision, record)) = records::read::<Record>(store, &path)? {
            last = last.max(written_at(&record));
            remove(path, revision);
        }
    }
    let path = records::evidence_path(instance);
    if let Some((revision, evidence)) = records::read::<Evidence>(store, &path)? {
        last = last.max(evidence.received_at);
        remove(path, revision);
    }
    let path = records::ended_path(instance);
    if let Some((revision, ended)) = records::read::<Ended>(store, &path)? {
        last = last.max(ended.at);
        remove(path, revision);
    }
    let path = records::bound_path(instance);
    if let Some((revision, id)) = records::read::<String>(store, &path)? {
        remove(path, revision);
        if let Some((revision, binding)) = records::read::<Binding>(store, &records::binding_path(&id))? {
            last = last.max(binding.enrolled_at);
            remove(records::binding_path(&id), revision);
            let key = portcullis::signature::PublicKey::from_pem(&binding.public_key);
            let path = key.ok().map(|key| records::key_path(&key.key_id()));
            if let Some(path) = path
                && let Some(found) = store.get(&path)?
            {
                remove(path, found.revision);
            }
        }
    }
    Ok((last, writes))
}

fn written_at(record: &Record) -> Timestamp {
    match record {
        // A group's record is no instance's: never swept.
        Record::Group(_)
        | Record::Pause(_)
        | Record::Breaker(_)
        | Record::Protection(_)
        | Record::Adoption(_)
        | Record::Alert(_)
        | Record::Detach(_)
        | Record::Freeze(_) => Timestamp(u64::MAX),
        Record::Withdrawal(withdrawal) => withdrawal.changed_at,
        Record::Override(said) => said.until,
        Record::Wait(wait) => wait.since,
        Record::Admission(admission) => admission.at,
        Record::Rejection(rejection) => rejection.at,
        Record::Dispute(dispute) => dispute.at,
        Record::Trial(trial) => trial.at,
    }
}

/// Long enough to look into what happened last week and the week before.
pub(crate) const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// A sweep is short: the rest comes with the next.
const SWEPT_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use portcullis::{instance::WaitId, record::WaitRecord};

    use super::*;
    use crate::stores::memory::MemoryStore;

    /// Those that are gone, but not for long, are not in the way of those behind them.
    #[test]
    fn all_that_are_long_gone_have_their_turn() {
        let (store, now) = (MemoryStore::new(), Timestamp(0) + KEPT + KEPT);
        let wait = |name: String, since: Timestamp| {
            let record =
                Record::Wait(WaitRecord { group: "web".into(), wait: WaitId(1), since, over: true, warm: false });
            records::put(Key::Wait(InstanceId::from(&*name)).path(), None, &record)
        };
        let recent = (0..SWEPT_MAX + 5).map(|n| wait(format!("i-a{n}"), now));
        let writes = recent.chain((0..3).map(|n| wait(format!("i-z{n}"), Timestamp(7)))).collect();
        store.commit(Batch { writes, events: Vec::new() }).unwrap();
        assert_eq!(sweep(&store, &Snapshot::default(), &Policy::default(), now).unwrap(), 3);
        assert_eq!(store.list("wait/").unwrap().len(), SWEPT_MAX + 5);
    }
}
