//! Changes that nobody waits for any more: whoever did was killed, or the machine was started anew.

use std::{
    convert::Infallible,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{
    ApplyError,
    journal::{self, HOME, Journal, Stage, Transaction},
    launch,
    undo::{self, After},
};
use crate::{clock, restore};

/// What is to be done about a change that is not settled.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// It is undone.
    Undo,
    /// Nothing was changed yet, and nobody is there to go on.
    Forget,
    /// Somebody waits to undo, or will be started to.
    Wait,
}

fn due(journal: &Journal) -> Due {
    match &journal.stage {
        Stage::Undoing { .. } => Due::Undo,
        Stage::Open if undo::due(journal).is_some() => Due::Undo,
        Stage::Remembering if !journal.asked_by.is_alive() => Due::Forget,
        Stage::Open | Stage::Remembering | Stage::Confirmed { .. } | Stage::Undone(_) => Due::Wait,
    }
}

/// Undoes, here and now, what is due and nobody else undoes; how much could not be put back. At boot no commands are run:
/// services will read what is there when they start.
///
/// # Errors
/// When the state directory cannot be read.
pub fn undo_pending(state_dir: &Path, at_boot: bool) -> Result<Vec<Journal>, ApplyError> {
    let after = if at_boot { After::Nothing } else { After::Services };
    let mut settled = Vec::new();
    for (transaction, journal) in journal::all(&state_dir.join(HOME))? {
        match due(&journal) {
            Due::Wait => continue,
            Due::Forget => {
                forget(&transaction, &journal);
                continue;
            }
            Due::Undo => {}
        }
        let Some(_lock) = transaction.undoer()? else { continue };
        if let Some(because) = undo::due(&journal).filter(|_| journal.stage == Stage::Open) {
            transaction.step(Stage::Undoing { because, troubles: Vec::new() })?;
        }
        undo::undo(&transaction, after);
        settled.push(transaction.read()?);
    }
    Ok(settled)
}

/// When the agent starts, before anything else: what a reboot left half-way is undone first. Waits for it, not for ever.
pub fn at_start(state_dir: &Path) {
    let started = clock::monotonic();
    let mut woken = started;
    wake(state_dir);
    let home = state_dir.join(HOME);
    let is_due = |changes: Vec<(Transaction, Journal)>| changes.iter().any(|(_, journal)| due(journal) == Due::Undo);
    while journal::unsettled(&home).is_ok_and(is_due) && started.elapsed() < START_PATIENCE {
        thread::sleep(POLL);
        // Who seemed to wait may have been about to end.
        if woken.elapsed() >= LOOK_EVERY {
            wake(state_dir);
            woken = clock::monotonic();
        }
    }
}

/// For as long as the agent runs, sees to it that for each open change somebody waits to undo it, and tells the log what came of
/// each. On a thread for each look, which ends with it: a process with one thread answers probes for less.
pub async fn watch(state_dir: PathBuf) -> Infallible {
    let mut known = Known::default();
    loop {
        let state_dir = state_dir.clone();
        known = spawn_blocking(move || known.look(&state_dir)).await.unwrap_or_else(|error| {
            tracing::error!("open changes were not looked at: {error}");
            Known::default()
        });
        sleep(LOOK_EVERY).await;
    }
}

/// What the log was told.
#[derive(Default)]
struct Known {
    /// `None`: nothing was looked at yet.
    open: Option<Vec<String>>,
    restored: usize,
}

impl Known {
    fn look(mut self, state_dir: &Path) -> Self {
        let Some(before) = self.open else {
            restore::news(state_dir, &mut self.restored);
            return Self { open: Some(open(state_dir)), ..self };
        };
        wake(state_dir);
        let open = tell(state_dir, &before);
        for line in restore::news(state_dir, &mut self.restored) {
            tracing::warn!("restore: {line}");
        }
        Self { open: Some(open), ..self }
    }
}

fn open(state_dir: &Path) -> Vec<String> {
    let changes = journal::unsettled(&state_dir.join(HOME)).unwrap_or_default();
    changes.into_iter().filter(|(_, change)| !change.stage.is_final()).map(|(_, change)| change.id).collect()
}

/// Of those that were open: what came of them.
fn tell(state_dir: &Path, before: &[String]) -> Vec<String> {
    let now = open(state_dir);
    for id in now.iter().filter(|id| !before.contains(id)) {
        tracing::warn!("change {id} is open");
    }
    if before.iter().any(|id| !now.contains(id)) {
        for change in super::list(state_dir).unwrap_or_default().iter().filter(|change| before.contains(&change.id)) {
            tracing::warn!("{}", change.lines().join("; "));
        }
    }
    now
}

/// Starts whoever is missing.
fn wake(state_dir: &Path) {
    let changes = journal::unsettled(&state_dir.join(HOME)).unwrap_or_default();
    for (transaction, journal) in &changes {
        match journal.stage {
            Stage::Remembering => {
                forget(transaction, journal);
                continue;
            }
            Stage::Open | Stage::Undoing { .. } => {}
            // Whoever waited was killed before he could.
            Stage::Confirmed { .. } | Stage::Undone(_) => {
                transaction.drop_copies();
                continue;
            }
        }
        let slow = matches!(&journal.stage, Stage::Undoing { troubles, .. } if !troubles.is_empty());
        if slow && !is_old(&transaction.dir) {
            continue;
        }
        if matches!(transaction.has_undoer(), Ok(false)) {
            launch_undoer(transaction, &journal.id);
        }
    }
}

/// Nothing was changed, and whoever was about to is gone.
pub(super) fn forget(transaction: &Transaction, journal: &Journal) {
    if due(journal) == Due::Forget {
        // Tried again at the next look.
        let _ = fs::remove_dir_all(&transaction.dir);
    }
}

/// What could not be put back a moment ago is not tried again at once.
fn is_old(dir: &Path) -> bool {
    let changed = fs::metadata(dir.join("journal.json")).and_then(|journal| journal.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age >= RETRY_EVERY))
}

/// Starts the one who waits for a change.
pub(super) fn launch_undoer(transaction: &Transaction, id: &str) {
    let name = format!("portcullis-apply-{id}");
    let arguments = [OsStr::new("__undo"), transaction.dir.as_os_str()];
    if let Err(because) = launch::start(&name, &arguments) {
        tracing::error!("nobody waits to undo change {id}: {because}");
    }
}

/// Keeps the last changes and removes the rest.
pub(super) fn prune(home: &Path) {
    let Ok(changes) = journal::all(home) else { return };
    let settled: Vec<_> = changes.into_iter().filter(|(_, journal)| journal.stage.is_final()).collect();
    for (transaction, _) in settled.iter().rev().skip(KEPT_MAX) {
        // Tried again with the next change.
        let _ = fs::remove_dir_all(&transaction.dir);
    }
}

const POLL: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_secs(30);
/// Putting back a thousand files and reloading a service takes less; the agent is needed whatever comes of it.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Settled changes that are kept, with what they replaced.
const KEPT_MAX: usize = 20;
