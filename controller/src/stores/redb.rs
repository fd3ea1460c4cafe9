//! The embedded store: one file, one process, on disk before it answers.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use portcullis::api::Event;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use tokio::sync::{broadcast, watch};

use super::{Batch, Change, EVENTS_KEPT, Feed, Store, StoreError, Versioned};

/// A redb file.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    feed: Feed,
    /// Keeps changes in the order of their commits.
    order: Mutex<()>,
}

/// The store's file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store `{}` is in use by another process: only one controller may run on it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot open the store `{}`: {because}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        because: String,
    },
}

impl RedbStore {
    /// Opens the file, or makes it. It holds secrets: only its owner may read it.
    ///
    /// # Errors
    /// When another process has it open, or it is not a store, or the disk says no.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |because: String| OpenError::Failed { path: path.into(), because };
        make_private(path).map_err(|error| failed(error.to_string()))?;
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.into() },
            other => failed(other.to_string()),
        })?;
        let sequence = prepare(&database).map_err(|error| failed(error.to_string()))?;
        Ok(Self { database, feed: Feed::new(sequence), order: Mutex::new(()) })
    }

    fn apply(&self, batch: Batch) -> Result<(Vec<String>, u64, u64), StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let applied = apply(&transaction, batch)?;
        transaction.commit().map_err(failed)?;
        Ok(applied)
    }
}

impl Store for RedbStore {
    fn get(&self, path: &str) -> Result<Option<Versioned>, StoreError> {
        let keys = self.database.begin_read().map_err(failed)?.open_table(KEYS).map_err(failed)?;
        Ok(keys.get(path).map_err(failed)?.map(|found| versioned(found.value())))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        let keys = self.database.begin_read().map_err(failed)?.open_table(KEYS).map_err(failed)?;
        let mut all = Vec::new();
        for item in keys.range(prefix..).map_err(failed)? {
            let (path, value) = item.map_err(failed)?;
            if !path.value().starts_with(prefix) {
                break;
            }
            all.push((path.value().to_string(), versioned(value.value())));
        }
        Ok(all)
    }

    fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let (paths, revision, sequence) = self.apply(batch)?;
        self.feed.tell(paths, revision, sequence);
        Ok(revision)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let audit = self.database.begin_read().map_err(failed)?.open_table(AUDIT).map_err(failed)?;
        let range = audit.range(after.saturating_add(1)..).map_err(failed)?;
        range.take(limit).map(|item| serde_json::from_slice(item.map_err(failed)?.1.value()).map_err(failed)).collect()
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.feed.watch()
    }

    fn audited(&self) -> watch::Receiver<u64> {
        self.feed.audited()
    }
}

/// Makes the file with 0600 before redb would make it with the umask's bits.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Makes the tables, so that reading never meets a missing one; gives the newest audit line's sequence.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let sequence = {
        transaction.open_table(KEYS)?;
        transaction.open_table(META)?;
        newest(&transaction)?
    };
    transaction.commit()?;
    Ok(sequence)
}

fn newest(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let audit = transaction.open_table(AUDIT)?;
    let last = audit.last()?.map_or(0, |(sequence, _)| sequence.value());
    Ok(last)
}

fn apply(transaction: &WriteTransaction, batch: Batch) -> Result<(Vec<String>, u64, u64), StoreError> {
    let revision = next_revision(transaction)?;
    let mut keys = transaction.open_table(KEYS).map_err(failed)?;
    let mut paths = Vec::new();
    for write in batch.writes {
        let found = keys.get(write.path.as_str()).map_err(failed)?.map(|found| found.value().0);
        if found != write.expected {
            return Err(StoreError::Conflict { path: write.path });
        }
        match &write.value {
            Some(value) => drop(keys.insert(write.path.as_str(), (revision, value.as_slice())).map_err(failed)?),
            None => drop(keys.remove(write.path.as_str()).map_err(failed)?),
        }
        paths.push(write.path);
    }
    let mut sequence = newest(transaction).map_err(failed)?;
    let mut audit = transaction.open_table(AUDIT).map_err(failed)?;
    for entry in batch.events {
        sequence += 1;
        let line = serde_json::to_vec(&entry.numbered(sequence)).map_err(failed)?;
        audit.insert(sequence, line.as_slice()).map_err(failed)?;
        if let Some(old) = sequence.checked_sub(EVENTS_KEPT) {
            audit.remove(old).map_err(failed)?;
        }
    }
    Ok((paths, revision, sequence))
}

fn next_revision(transaction: &WriteTransaction) -> Result<u64, StoreError> {
    let mut meta = transaction.open_table(META).map_err(failed)?;
    let revision = meta.get("revision").map_err(failed)?.map_or(0, |found| found.value()) + 1;
    meta.insert("revision", revision).map_err(failed)?;
    Ok(revision)
}

fn versioned((revision, value): (u64, &[u8])) -> Versioned {
    Versioned { revision, value: value.to_vec() }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

const KEYS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("keys");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
