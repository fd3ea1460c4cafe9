//! The store: what neither the cloud nor the agents know. Versioned keys, compare-and-swap, an audit that only grows.
//!
//! Every commit is one transaction with one revision; revisions ascend across the whole store. Whoever wants to know of
//! changes [watches](Store::watch): a change names key and revision, and the reader reads the key again, so that a lost or
//! swapped change costs nothing but time. Only the holder of the [lease](Store::lease) may act. Calls block for as long as the disk takes (a read: microseconds; a commit: one
//! fsync, shared by all that commit in that moment); handlers make them on blocking threads, the loop only reads.
//!
//! | path | what |
//! |---|---|
//! | `group/…` `wait/…` `admission/…` `rejection/…` `dispute/…` `ended/…` | the core's records ([`portcullis::record`]) |
//! | `evidence/INSTANCE` | the last accepted report's [`Evidence`](portcullis::report::Evidence) |
//! | `binding/ID`, `bound/INSTANCE`, `key/KEYID` | who speaks for an instance, and the ways to find it |
//! | `token/HASH` | join tokens, by the SHA-256 of what the operator was shown |
//! | `release/DIGEST`, `manifest/DIGEST` | a published release, and its envelope exactly as published |
//! | `secret/challenge`, `lease` | the key of challenges; the epoch of the last holder |

use std::{collections::BTreeSet, fmt, time::Duration};

use portcullis::{
    api::Event,
    instance::{GroupName, InstanceId},
    timestamp::Timestamp,
};
use tokio::sync::{broadcast, watch};

mod lease;
pub mod memory;
pub mod redb;

/// A value and the revision of the commit that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// Ascends with every commit of the store.
    pub revision: u64,
    /// Whatever was written.
    pub value: Vec<u8>,
}

/// One compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub path: String,
    /// The revision that must be there; `None`: nothing must be there.
    pub expected: Option<u64>,
    /// What to write; `None` removes.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Writes `value` over the revision that was read, or where nothing was.
    pub fn put(path: impl Into<String>, expected: Option<u64>, value: Vec<u8>) -> Self {
        Self { path: path.into(), expected, value: Some(value) }
    }
}

/// A line for the audit; the store gives it its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What kind of thing happened.
    pub kind: &'static str,
    /// Which group, if any.
    pub group: Option<GroupName>,
    /// Which instance, if any.
    pub instance: Option<InstanceId>,
    /// Who did it.
    pub actor: String,
    /// What happened, for people.
    pub text: String,
}

impl Entry {
    /// Whether somebody without any right can cause such a line, as often as they like.
    pub(crate) fn is_of_strangers(&self) -> bool {
        matches!(self.kind, "refused" | "incident")
    }

    /// The line as it is kept.
    pub(crate) fn numbered(self, sequence: u64) -> Event {
        let Self { at, kind, group, instance, actor, text } = self;
        Event { sequence, at, kind: kind.into(), group, instance, actor, text }
    }
}

/// What happens together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Compare-and-swaps.
    pub writes: Vec<Write>,
    /// Audit lines.
    pub events: Vec<Entry>,
}

impl Batch {
    /// The keys that it writes.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.writes.iter().map(|write| write.path.clone()).collect()
    }

    /// A key may be written once in a batch: the second write could expect nothing that is true.
    pub(crate) fn names_each_once(&self) -> Result<(), StoreError> {
        let mut named = BTreeSet::new();
        match self.writes.iter().find(|write| !named.insert(&write.path)) {
            Some(again) => Err(StoreError::Conflict { path: again.path.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether the lease was had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenure {
    /// From the moment at which it was asked for, for the length that was asked for.
    Held {
        /// Ascends with every holder; renewing keeps it.
        epoch: u64,
    },
    /// Somebody else has it.
    Others {
        /// Who.
        holder: String,
    },
}

/// A key was written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub path: String,
    /// By which commit.
    pub revision: u64,
}

/// Versioned keys with compare-and-swap, an audit, and one lease. What each must hold is a test: `stores::tests::contract`.
pub trait Store: Send + Sync + fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, path: &str) -> Result<Option<Versioned>, StoreError>;

    /// All keys that begin with `prefix`, ascending.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError>;

    /// Makes all writes and audit lines of `batch`, or none; on disk when it returns. Gives the commit's revision.
    /// Many may commit at the same time, each with a revision of its own.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a key has not the revision that was expected; else when the store cannot be written.
    fn commit(&self, batch: Batch) -> Result<u64, StoreError>;

    /// At most `limit` audit lines with a sequence above `after`, ascending.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Every change from now on. A receiver that lags learns so, and lists again.
    fn watch(&self) -> broadcast::Receiver<Change>;

    /// The sequence of the newest audit line, as it grows.
    fn audited(&self) -> watch::Receiver<u64>;

    /// How many audit lines there are. The oldest make room, so that the disk does not fill in years of service; what strangers
    /// cause makes room for what strangers cause only.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn audit_lines(&self) -> Result<u64, StoreError>;

    /// Takes the lease for `holder`, or renews it, for `length`. It ends by the store's own clock, and no earlier than `length`
    /// after this was called; whoever asks counts from before it asked.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    fn lease(&self, holder: &str, length: Duration) -> Result<Tenure, StoreError>;

    /// Gives the lease back, so that another may take it at once.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn release(&self, holder: &str) -> Result<(), StoreError>;
}

/// The store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote first: read again.
    #[error("`{path}` was written by somebody else in the meantime")]
    Conflict {
        /// Which key.
        path: String,
    },
    /// It could not be read or written.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// The two channels that a store tells its changes by.
#[derive(Debug)]
pub(crate) struct Feed {
    changes: broadcast::Sender<Change>,
    audited: watch::Sender<u64>,
}

impl Feed {
    pub(crate) fn new(sequence: u64) -> Self {
        Self { changes: broadcast::channel(CHANGES_MAX).0, audited: watch::channel(sequence).0 }
    }

    /// Tells of a commit. Nobody listening is fine.
    pub(crate) fn tell(&self, paths: Vec<String>, revision: u64, sequence: u64) {
        for path in paths {
            let _ = self.changes.send(Change { path, revision });
        }
        self.audited.send_if_modified(|last| std::mem::replace(last, sequence) != sequence);
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn audited(&self) -> watch::Receiver<u64> {
        self.audited.subscribe()
    }
}

/// Changes are small; a receiver this far behind does better to list again.
pub(crate) const CHANGES_MAX: usize = 4_096;

/// Of strangers' doing a tenth as many lines are kept as of all else, which they cannot push out.
pub(crate) const fn strangers_kept(audit_kept: u64) -> u64 {
    audit_kept.div_ceil(10)
}

/// Audit lines that are kept unless the configuration says otherwise (`audit_lines_max`): some 150 MB.
pub const EVENTS_KEPT: u64 = 500_000;

#[cfg(test)]
mod tests;
