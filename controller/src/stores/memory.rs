//! A store that forgets everything: for tests.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portcullis::api::Event;
use tokio::sync::{broadcast, watch};

use super::{Batch, Change, EVENTS_KEPT, Feed, Store, StoreError, Tenure, Versioned, lease::Tenancy, strangers_kept};

/// Keys and audit in memory.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    feed: Feed,
    tenancy: Tenancy,
    audit_kept: u64,
}

#[derive(Debug, Default)]
struct Inner {
    revision: u64,
    keys: BTreeMap<String, Versioned>,
    sequence: u64,
    events: VecDeque<Event>,
    strangers: VecDeque<Event>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::keeping(EVENTS_KEPT)
    }

    /// One that keeps so many audit lines.
    pub fn keeping(audit_kept: u64) -> Self {
        Self { inner: Mutex::default(), feed: Feed::new(0), tenancy: Tenancy::default(), audit_kept }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn get(&self, path: &str) -> Result<Option<Versioned>, StoreError> {
        Ok(self.lock().keys.get(path).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        let inner = self.lock();
        let range = inner.keys.range(prefix.to_string()..).take_while(|(path, _)| path.starts_with(prefix));
        Ok(range.map(|(path, value)| (path.clone(), value.clone())).collect())
    }

    fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        batch.names_each_once()?;
        let mut inner = self.lock();
        for write in &batch.writes {
            if inner.keys.get(&write.path).map(|old| old.revision) != write.expected {
                return Err(StoreError::Conflict { path: write.path.clone() });
            }
        }
        inner.revision += 1;
        let revision = inner.revision;
        let mut paths = Vec::new();
        for write in batch.writes {
            match write.value {
                Some(value) => drop(inner.keys.insert(write.path.clone(), Versioned { revision, value })),
                None => drop(inner.keys.remove(&write.path)),
            }
            paths.push(write.path);
        }
        for entry in batch.events {
            inner.sequence += 1;
            let (is_of_strangers, line) = (entry.is_of_strangers(), entry.numbered(inner.sequence));
            if is_of_strangers { inner.strangers.push_back(line) } else { inner.events.push_back(line) }
        }
        make_room(&mut inner.events, self.audit_kept);
        make_room(&mut inner.strangers, strangers_kept(self.audit_kept));
        self.feed.tell(paths, revision, inner.sequence);
        Ok(revision)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let inner = self.lock();
        let all = inner.events.iter().chain(&inner.strangers).filter(|event| event.sequence > after);
        let mut all: Vec<_> = all.cloned().collect();
        all.sort_by_key(|event| event.sequence);
        all.truncate(limit);
        Ok(all)
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.feed.watch()
    }

    fn audited(&self) -> watch::Receiver<u64> {
        self.feed.audited()
    }

    fn audit_lines(&self) -> Result<u64, StoreError> {
        let inner = self.lock();
        Ok((inner.events.len() + inner.strangers.len()) as u64)
    }

    fn lease(&self, holder: &str, length: Duration) -> Result<Tenure, StoreError> {
        self.tenancy.claim(self, holder, length)
    }

    fn release(&self, holder: &str) -> Result<(), StoreError> {
        self.tenancy.release(holder);
        Ok(())
    }
}

fn make_room(events: &mut VecDeque<Event>, kept: u64) {
    while events.len() as u64 > kept {
        events.pop_front();
    }
}
