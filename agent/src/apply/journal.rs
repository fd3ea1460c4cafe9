//! What is known of one change, on the disk: written ahead, so that whoever finds it later can only do what is still right.
//!
//! ```text
//!                 ┌──────▶ Confirmed
//!  Remembering ─▶ Open
//!      │          └──────▶ Undoing ──▶ Undone
//!      └─ nothing was changed: forgotten
//! ```
//!
//! A step is taken under a lock and only from the stage that it belongs to: so of one who confirms and one who undoes, one is
//! too late. Every file is replaced whole.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use portcullis::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use super::process::Process;
use crate::state::{self, read_capped};

/// All that is known of one change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Journal {
    /// Its name, by the time it began.
    pub id: String,
    /// As typed; for people.
    pub command: Vec<String>,
    /// Who asked, as far as that can be told.
    pub user: String,
    /// By the wall clock; for people.
    pub began_at: Timestamp,
    /// How long it may take until it is confirmed.
    pub within_ms: u64,
    /// The boot in which the deadline means something.
    pub boot_id: String,
    /// Where the boot's id is read.
    pub boot_id_file: PathBuf,
    /// By the clock of that boot, which does not jump; 0 until it is `Open`.
    pub deadline_boot_ms: u64,
    /// What is remembered.
    pub(crate) trees: Vec<KeptTree>,
    /// Run after files were put back.
    pub(crate) undo: Vec<Vec<String>>,
    /// Each of them may take so long.
    pub(crate) undo_timeout_ms: u64,
    /// As whom the guards that are commands run.
    pub(crate) user_ids: (u32, u32),
    /// Which of them may run as root.
    pub(crate) root_commands: Vec<Vec<String>>,
    /// Who runs the command and waits.
    pub(crate) asked_by: Process,
    /// The command, while it runs.
    pub(crate) running: Option<Process>,
    /// Its exit status, once it ended; -1 for a signal.
    pub exit: Option<i32>,
    /// What it has not shown yet.
    pub wanting: Vec<String>,
    /// How far it is.
    pub stage: Stage,
}

/// A tree that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptTree {
    pub(crate) name: String,
    /// Its root, all symlinks resolved when it was remembered.
    pub(crate) real: PathBuf,
    pub(crate) ignore: Vec<String>,
}

/// How far a change is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Trees are being copied; nothing was changed yet.
    Remembering,
    /// The command may have begun. Undone at the deadline.
    Open,
    /// It stays.
    Confirmed {
        /// The controller's answer, the guards, or a person.
        by: String,
    },
    /// Files are being put back.
    Undoing {
        /// Why.
        because: String,
        /// What could not be put back so far: it is tried again.
        troubles: Vec<String>,
    },
    /// All is as it was.
    Undone(Undone),
}

/// What came of an undoing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Why.
    pub because: String,
    /// When.
    pub at: Timestamp,
    /// What was put back; not more than people read.
    pub changes: Vec<String>,
    /// How much was put back, listed or not.
    pub changes_total: u64,
    /// What stays though it was added, and what went and was not kept; and why.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Each command that was run after it, and what came of it.
    pub commands: Vec<String>,
    /// Each guard, and how it stands now.
    pub guards: Vec<String>,
    /// Whether all commands and guards are well.
    pub well: bool,
}

impl Stage {
    /// Whether nothing is to be done about it any more.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Confirmed { .. } | Self::Undone(_))
    }
}

/// The folder of one change.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) dir: PathBuf,
}

impl Transaction {
    /// Makes one, in `home`.
    pub(crate) fn create(home: &Path, journal: &Journal) -> io::Result<Self> {
        let dir = home.join(&journal.id);
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let transaction = Self { dir };
        transaction.write(journal)?;
        File::open(home)?.sync_all()?;
        Ok(transaction)
    }

    pub(crate) fn read(&self) -> io::Result<Journal> {
        Ok(serde_json::from_slice(&read_capped(&self.dir.join(JOURNAL), JOURNAL_BYTES_MAX)?)?)
    }

    /// Whether there still is a journal of it.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(fs::symlink_metadata(self.dir.join(JOURNAL)), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    fn write(&self, journal: &Journal) -> io::Result<()> {
        state::replace(&self.dir.join(JOURNAL), &serde_json::to_vec_pretty(journal)?)
    }

    /// Changes the journal if `change` says so, with nobody else between looking and writing; and what it then is.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Journal) -> bool) -> io::Result<Journal> {
        let lock = lock_file(&self.dir.join("journal.lock"))?;
        lock.lock()?;
        let mut journal = self.read()?;
        if change(&mut journal) {
            self.write(&journal)?;
        }
        Ok(journal)
    }

    /// Goes on from `Open`; whether it still was.
    pub(crate) fn step(&self, to: Stage) -> io::Result<bool> {
        let mut stepped = false;
        self.update(|journal| {
            stepped = journal.stage == Stage::Open;
            if stepped {
                journal.stage = to;
            }
            stepped
        })?;
        Ok(stepped)
    }

    /// Taken by the one who undoes, as long as it lives; `None` while another has it.
    pub(crate) fn undoer(&self) -> io::Result<Option<File>> {
        let lock = lock_file(&self.dir.join("undoer.lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether somebody waits to undo.
    pub(crate) fn has_undoer(&self) -> io::Result<bool> {
        Ok(self.undoer()?.is_none())
    }

    /// The copies are of no more use.
    pub(crate) fn drop_copies(&self) {
        for name in [COPIES, LISTINGS] {
            // Tried again when it is pruned.
            let _ = fs::remove_dir_all(self.dir.join(name));
        }
        let _ = fs::remove_file(self.dir.join(PAYLOAD));
    }

    /// A line in its log, with the time.
    pub(crate) fn log(&self, line: &str) {
        use io::Write as _;
        let line = format!("{} {}\n", crate::clock::now(), portcullis::text::visible(line));
        // Nobody may listen any more: that must not end an undoing.
        let _ = io::stderr().write_all(line.as_bytes());
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.dir.join("log"));
        let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Every change that is known, oldest first; what cannot be read is left out, and told.
pub(crate) fn all(home: &Path) -> io::Result<Vec<(Transaction, Journal)>> {
    some(home, |_| true)
}

/// Those that something may still have to be done about: cheap to ask for, as the copies of others are gone.
pub(crate) fn unsettled(home: &Path) -> io::Result<Vec<(Transaction, Journal)>> {
    some(home, |transaction| transaction.dir.join(PAYLOAD).exists())
}

fn some(home: &Path, wanted: impl Fn(&Transaction) -> bool) -> io::Result<Vec<(Transaction, Journal)>> {
    let listing = match fs::read_dir(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut found = Vec::new();
    for item in listing {
        let transaction = Transaction { dir: item?.path() };
        if !transaction.dir.is_dir() || !wanted(&transaction) {
            continue;
        }
        match transaction.read() {
            Ok(journal) => found.push((transaction, journal)),
            // One that is just being made has none for a moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!("the journal in `{}`: {error}", transaction.dir.display()),
        }
    }
    found.sort_by(|(_, one), (_, other)| (one.began_at, &one.id).cmp(&(other.began_at, &other.id)));
    Ok(found)
}

/// Where all changes are kept, in the state directory; made if need be, and ours alone.
pub(crate) fn home(state_dir: &Path) -> Result<PathBuf, state::StateError> {
    state::make_private(state_dir)?;
    let home = state_dir.join(HOME);
    state::make_private(&home)?;
    Ok(home)
}

/// Below the state directory.
pub(crate) const HOME: &str = "apply";
/// Below a change's folder: contents, by number.
pub(crate) const COPIES: &str = "copies";
/// Below a change's folder: listings, by the index of their tree.
pub(crate) const LISTINGS: &str = "trees";
/// Below a change's folder: the manifest that the guards are in, as it was verified.
pub(crate) const PAYLOAD: &str = "payload";
/// Below a change's folder: what was there when it was undone.
pub(crate) const REPLACED: &str = "replaced";
const JOURNAL: &str = "journal.json";
/// A thousand lines of what was put back, each with a long path.
const JOURNAL_BYTES_MAX: usize = 16 << 20;
