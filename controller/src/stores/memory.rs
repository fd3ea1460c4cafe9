//! A store that forgets everything: for tests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis::api::Event;
use tokio::sync::{broadcast, watch};

use super::{Batch, Change, Feed, Store, StoreError, Versioned};

/// Keys and audit in memory.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Inner {
    revision: u64,
    keys: BTreeMap<String, Versioned>,
    events: Vec<Event>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self { inner: Mutex::default(), feed: Feed::new(0) }
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
            let sequence = inner.events.len() as u64 + 1;
            inner.events.push(entry.numbered(sequence));
        }
        self.feed.tell(paths, revision, inner.events.len() as u64);
        Ok(revision)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.lock().events.iter().filter(|event| event.sequence > after).take(limit).cloned().collect())
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.feed.watch()
    }

    fn audited(&self) -> watch::Receiver<u64> {
        self.feed.audited()
    }
}
