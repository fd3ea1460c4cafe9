//! The embedded store: one file, one process, on disk before it answers.
//!
//! | what may happen | what comes of it |
//! |---|---|
//! | the process is killed in the middle of a commit | all of the commit or nothing; redb mends the file when it is opened |
//! | the file is cut off, garbled, empty, no store | refused by its name, and not written to (`look`) |
//! | another process has it | refused |
//! | the disk is full, or fails | the commit fails; redb then takes nothing more, so that the file is opened anew at once, and again until that works |
//!
//! Commits of one moment share a transaction (`group`): the disk is asked once for all of them, each is still made whole or not
//! at all, with a revision of its own, and nobody is answered before the disk has it.
//!
//! After a commit that failed in the middle nobody knows whether it happened: the caller is told that it failed, and once the file
//! is open again whoever watches is told of what it came to.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use portcullis::api::Event;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use tokio::sync::{broadcast, watch};

use super::{Batch, Change, EVENTS_KEPT, Feed, Store, StoreError, Tenure, Versioned, lease::Tenancy, strangers_kept};
use crate::clock::Clock;
use group::{Waiter, Waiting};

mod group;
mod look;

/// A redb file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    audit_kept: u64,
    opened: RwLock<Opened>,
    feed: Feed,
    tenancy: Tenancy,
    /// Batches whose transaction has not begun.
    waiting: Waiting,
    /// Keeps changes in the order of their commits. Whoever has it commits, for all that wait.
    order: Mutex<Order>,
}

/// The file, as long as it can be worked with.
#[derive(Debug)]
struct Opened {
    database: Option<Database>,
    /// Tells one opening from the next: of several that fail together only the first opens it anew.
    generation: u64,
    tried_at: Instant,
}

/// What was told of commits.
#[derive(Debug, Default)]
struct Order {
    /// The newest revision that was told of.
    revision: u64,
    /// The keys of a commit that failed and may have happened.
    in_doubt: Option<Vec<String>>,
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
    /// It is no store, or not a whole one.
    #[error(
        "the store `{}` cannot be used: {because}. It was not changed. Put back a copy of it; or move it away, and the \
         controller begins with an empty one: publish and promote again, and every agent enrols again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        because: String,
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

/// Why something was not done.
enum Trouble {
    Failed(redb::Error),
    Unreadable(serde_json::Error),
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl RedbStore {
    /// Opens the file, or makes it. It holds secrets: only its owner may read it.
    ///
    /// # Errors
    /// When another process has it open, it is not a whole store, or the disk says no. It is then as it was.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_keeping(path, EVENTS_KEPT)
    }

    /// The same, with so many audit lines that are kept.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_keeping(path: &Path, audit_kept: u64) -> Result<Self, OpenError> {
        let failed = |error: std::io::Error| OpenError::Failed { path: path.into(), because: error.to_string() };
        if !path.try_exists().map_err(failed)? {
            make(path)?;
        }
        look::look(path)?;
        let (database, revision, sequence) = open(path)?;
        let opened = Opened { database: Some(database), generation: 0, tried_at: Clock::monotonic() };
        Ok(Self {
            path: path.into(),
            audit_kept,
            opened: RwLock::new(opened),
            feed: Feed::new(sequence),
            tenancy: Tenancy::default(),
            waiting: Waiting::default(),
            order: Mutex::new(Order { revision, in_doubt: None }),
        })
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with the file; if that fails, it is opened anew for whoever comes next.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let generation = opened.generation;
        let Some(database) = &opened.database else {
            drop(opened);
            return self.open_anew(generation).and_then(|()| self.with(work));
        };
        match work(database) {
            Ok(done) => Ok(done),
            Err(Trouble::Unreadable(error)) => Err(self.failed(&error)),
            Err(Trouble::Failed(error)) => {
                drop(opened);
                // Whether it can be is for whoever comes next.
                let _ = self.open_anew(generation);
                Err(self.failed(&error))
            }
        }
    }

    /// Lets go of the file, and opens it again; not too often, since that reads all of it.
    fn open_anew(&self, generation: u64) -> Result<(), StoreError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.generation != generation {
            return Ok(());
        }
        let now = Clock::monotonic();
        if opened.database.take().is_none() && now.saturating_duration_since(opened.tried_at) < OPEN_AGAIN_AFTER {
            return Err(self.failed(&"it could not be opened again, and will be tried again in a second"));
        }
        opened.tried_at = now;
        let (database, ..) = open(&self.path).map_err(|error| self.failed(&error))?;
        opened.database = Some(database);
        opened.generation += 1;
        tracing::warn!(path = %self.path.display(), "the store's disk failed; its file was opened anew");
        Ok(())
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Failed(format!("`{}`: {error}", self.path.display()))
    }

    /// One transaction for all of a group; each learns what became of its batch, and whoever watches of each in its order.
    fn commit_all(&self, order: &mut Order, group: Vec<Waiter>) {
        let (batches, slots): (Vec<_>, Vec<_>) = group.into_iter().map(|waiter| (waiter.batch, waiter.slot)).unzip();
        let mut paths: Vec<Vec<String>> = batches.iter().map(Batch::paths).collect();
        let committed = self.settle(order).and_then(|()| {
            let committed = self.with(|database| commit(database, batches, self.audit_kept));
            if committed.is_err() {
                order.in_doubt = Some(paths.concat());
                // If it cannot be told now, then before the next commit.
                let _ = self.settle(order);
            }
            committed
        });
        match committed {
            Ok((done, sequence)) => {
                for ((slot, done), paths) in slots.iter().zip(done).zip(&mut paths) {
                    if let Ok(revision) = done {
                        order.revision = revision;
                        self.feed.tell(std::mem::take(paths), revision, sequence);
                    }
                    slot.fill(done.map_err(|path| StoreError::Conflict { path }));
                }
            }
            Err(error) => slots.iter().for_each(|slot| slot.fill(Err(error.clone()))),
        }
    }

    /// Tells of a commit that was taken for failed, if it happened.
    fn settle(&self, order: &mut Order) -> Result<(), StoreError> {
        let Some(paths) = &order.in_doubt else { return Ok(()) };
        let (revision, sequence) = self.with(|database| Ok(newest(&database.begin_write()?)?))?;
        if revision > order.revision {
            self.feed.tell(paths.clone(), revision, sequence);
        }
        *order = Order { revision: order.revision.max(revision), in_doubt: None };
        Ok(())
    }
}

impl Store for RedbStore {
    fn get(&self, path: &str) -> Result<Option<Versioned>, StoreError> {
        self.with(|database| {
            let keys = database.begin_read()?.open_table(KEYS)?;
            Ok(keys.get(path)?.map(|found| versioned(found.value())))
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.with(|database| {
            let keys = database.begin_read()?.open_table(KEYS)?;
            let mut all = Vec::new();
            for item in keys.range(prefix..)? {
                let (path, value) = item?;
                if !path.value().starts_with(prefix) {
                    break;
                }
                all.push((path.value().to_string(), versioned(value.value())));
            }
            Ok(all)
        })
    }

    fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        batch.names_each_once()?;
        let slot = self.waiting.join(batch);
        let mut order = self.order();
        // Whoever had the order may have committed it with its own.
        if let Some(done) = slot.take() {
            return done;
        }
        self.commit_all(&mut order, self.waiting.all());
        slot.take().expect("a group has all that wait, this one too")
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.with(|database| {
            let (transaction, mut all) = (database.begin_read()?, Vec::new());
            for table in [AUDIT, STRANGERS] {
                for item in transaction.open_table(table)?.range(after.saturating_add(1)..)?.take(limit) {
                    all.push(serde_json::from_slice(item?.1.value()).map_err(Trouble::Unreadable)?);
                }
            }
            all.sort_by_key(|event: &Event| event.sequence);
            all.truncate(limit);
            Ok(all)
        })
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.feed.watch()
    }

    fn audited(&self) -> watch::Receiver<u64> {
        self.feed.audited()
    }

    fn audit_lines(&self) -> Result<u64, StoreError> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            Ok(transaction.open_table(AUDIT)?.len()? + transaction.open_table(STRANGERS)?.len()?)
        })
    }

    fn lease(&self, holder: &str, length: Duration) -> Result<Tenure, StoreError> {
        self.tenancy.claim(self, holder, length)
    }

    fn release(&self, holder: &str) -> Result<(), StoreError> {
        self.tenancy.release(holder);
        Ok(())
    }
}

/// Makes an empty store beside its place, whole, and then puts it there: whatever is found in that place later was a store
/// once, so that an empty file is damage.
fn make(path: &Path) -> Result<(), OpenError> {
    let failed = |error: std::io::Error| OpenError::Failed { path: path.into(), because: error.to_string() };
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new.{}", std::process::id()));
    let new = PathBuf::from(new);
    let _ = fs::remove_file(&new);
    make_private(&new).map_err(failed)?;
    let made = Builder::new().create(&new).map_err(redb::Error::from).and_then(|database| prepare(&database));
    // A link, for it replaces nothing: another process may have made one meanwhile, which counts.
    let placed = made.map_err(|error| error.to_string()).and_then(|_| match fs::hard_link(&new, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.to_string()),
        _ => Ok(()),
    });
    let _ = fs::remove_file(&new);
    placed.map_err(|because| OpenError::Failed { path: path.into(), because })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Makes the file with 0600 before redb would make it with the umask's bits.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Opens a file that is there; gives the newest revision and the newest audit line's sequence.
fn open(path: &Path) -> Result<(Database, u64, u64), OpenError> {
    let failed = |because: String| OpenError::Failed { path: path.into(), because };
    let database = Builder::new().set_cache_size(CACHE_BYTES).open(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.into() },
        other => failed(other.to_string()),
    })?;
    let (revision, sequence) = prepare(&database).map_err(|error| failed(error.to_string()))?;
    Ok((database, revision, sequence))
}

/// Makes the tables, so that reading never meets a missing one.
fn prepare(database: &Database) -> Result<(u64, u64), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(KEYS)?;
    let newest = newest(&transaction)?;
    transaction.commit()?;
    Ok(newest)
}

/// The newest revision, and the newest audit line's sequence.
fn newest(transaction: &WriteTransaction) -> Result<(u64, u64), redb::Error> {
    let revision = transaction.open_table(META)?.get("revision")?.map_or(0, |found| found.value());
    let mut sequence = 0;
    for table in [AUDIT, STRANGERS] {
        sequence = transaction.open_table(table)?.last()?.map_or(0, |(last, _)| last.value()).max(sequence);
    }
    Ok((revision, sequence))
}

/// What became of each batch: its revision, or the key that somebody else has written; and the newest audit line's sequence.
type Done = (Vec<Result<u64, String>>, u64);

fn commit(database: &Database, batches: Vec<Batch>, audit_kept: u64) -> Result<Done, Trouble> {
    let transaction = database.begin_write()?;
    let done = apply(&transaction, batches, audit_kept)?;
    if done.0.iter().any(Result::is_ok) {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(done)
}

fn apply(transaction: &WriteTransaction, batches: Vec<Batch>, audit_kept: u64) -> Result<Done, Trouble> {
    let (mut revision, mut sequence) = newest(transaction)?;
    let mut keys = transaction.open_table(KEYS)?;
    let (mut audit, mut strangers) = (transaction.open_table(AUDIT)?, transaction.open_table(STRANGERS)?);
    let mut done = Vec::new();
    for batch in batches {
        if let Some(path) = in_conflict(&keys, &batch)? {
            done.push(Err(path));
            continue;
        }
        revision += 1;
        for write in batch.writes {
            match &write.value {
                Some(value) => drop(keys.insert(write.path.as_str(), (revision, value.as_slice()))?),
                None => drop(keys.remove(write.path.as_str())?),
            }
        }
        for entry in batch.events {
            sequence += 1;
            let table = if entry.is_of_strangers() { &mut strangers } else { &mut audit };
            let line = serde_json::to_vec(&entry.numbered(sequence)).map_err(Trouble::Unreadable)?;
            table.insert(sequence, line.as_slice())?;
        }
        done.push(Ok(revision));
    }
    transaction.open_table(META)?.insert("revision", revision)?;
    make_room(&mut audit, audit_kept)?;
    make_room(&mut strangers, strangers_kept(audit_kept))?;
    Ok((done, sequence))
}

/// The first key that has not the revision which the batch expects.
fn in_conflict(keys: &Table<'_, &str, (u64, &[u8])>, batch: &Batch) -> Result<Option<String>, Trouble> {
    for write in &batch.writes {
        if keys.get(write.path.as_str())?.map(|found| found.value().0) != write.expected {
            return Ok(Some(write.path.clone()));
        }
    }
    Ok(None)
}

/// Drops the oldest lines; many when the limit was lowered, and not all at once then.
fn make_room(table: &mut Table<'_, u64, &[u8]>, kept: u64) -> Result<(), redb::Error> {
    for _ in 0..table.len()?.saturating_sub(kept).min(EXPIRED_MAX) {
        drop(table.pop_first()?);
    }
    Ok(())
}

fn versioned((revision, value): (u64, &[u8])) -> Versioned {
    Versioned { revision, value: value.to_vec() }
}

const KEYS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("keys");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
/// Lines that strangers cause.
const STRANGERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("strangers");
/// A fleet's records fit in it many times over; by default redb would take a gigabyte.
const CACHE_BYTES: usize = 64 << 20;
/// A file that could not be opened is tried again after this: a disk is not full for less.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// More than any batch has lines, so that a lowered limit is reached in time, and no commit takes long.
const EXPIRED_MAX: u64 = 10_000;
