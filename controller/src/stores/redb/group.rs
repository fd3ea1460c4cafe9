//! Batches that are committed together. The first that finds nobody committing does it for all that have come by then; the
//! others find it done. So under load one sync of the disk serves many, and without load nobody waits for company.

use std::sync::{Arc, Mutex, PoisonError};

use crate::stores::{Batch, StoreError};

/// Those whose transaction has not begun, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<Waiter>>);

/// A batch, and where its answer goes.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) batch: Batch,
    pub(super) slot: Arc<Slot>,
}

/// What became of a batch, once that is known.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Option<Result<u64, StoreError>>>);

impl Waiting {
    pub(super) fn join(&self, batch: Batch) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        let waiter = Waiter { batch, slot: Arc::clone(&slot) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(waiter);
        slot
    }

    pub(super) fn all(&self) -> Vec<Waiter> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slot {
    pub(super) fn fill(&self, done: Result<u64, StoreError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    }

    pub(super) fn take(&self) -> Option<Result<u64, StoreError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use portcullis::timestamp::Timestamp;

    use super::super::RedbStore;
    use crate::stores::{Entry, Store as _, Write};

    use super::*;

    /// Its own key; the contended one too, for some; and a line.
    fn batch(n: u64, contends: bool) -> Batch {
        let own = Write::put(format!("own/{n}"), None, b"mine".to_vec());
        let contended = contends.then(|| Write::put("contended", None, n.to_string().into_bytes()));
        let (kind, actor, text) = ("test", "test".into(), n.to_string());
        let event = Entry { at: Timestamp(n), kind, group: None, instance: None, actor, text };
        Batch { writes: [own].into_iter().chain(contended).collect(), events: vec![event] }
    }

    fn until(what: &str, mut so: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if so() {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("never: {what}");
    }

    #[test]
    fn many_in_one_transaction_and_each_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&dir.path().join("store.redb")).unwrap();
        let mut changes = store.watch();
        let done = thread::scope(|scope| {
            let mut order = store.order();
            let commits: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let store = &store;
                        move || store.commit(batch(n, n < 3))
                    })
                })
                .collect();
            until("all wait", || store.waiting.0.lock().unwrap().len() == 8);
            // One commits for all of them; none makes a transaction of its own, or it would find its key taken.
            store.commit_all(&mut order, store.waiting.all());
            drop(order);
            commits.into_iter().map(|commit| commit.join().unwrap()).collect::<Vec<_>>()
        });
        let won: Vec<u64> = (0..8).filter(|n| done[*n as usize].is_ok()).collect();
        assert_eq!((won.len(), won.iter().filter(|n| **n < 3).count()), (6, 1), "{done:?}");
        for (n, done) in (0..8).zip(&done) {
            let own = store.get(&format!("own/{n}")).unwrap();
            match done {
                Ok(revision) => assert_eq!(own.unwrap().revision, *revision),
                Err(error) => {
                    assert!(own.is_none() && matches!(error, StoreError::Conflict { path } if path == "contended"));
                }
            }
        }
        let mut lines: Vec<u64> =
            store.events(0, 99).unwrap().iter().map(|event| event.text.parse().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, won, "a line for each that was made, and for no other");
        let told: Vec<_> = std::iter::from_fn(|| changes.try_recv().ok()).map(|change| change.revision).collect();
        assert_eq!((told.len(), told.is_sorted()), (7, true), "{told:?}");
        assert_eq!(store.commit(batch(9, false)).unwrap(), told.last().unwrap() + 1);
    }
}
