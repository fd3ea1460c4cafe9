//! A person's word on an open change: it stays, or it goes at once.

use std::{path::Path, thread, time::Duration};

use super::{
    ApplyError,
    guards::{self, Guards},
    journal::{self, HOME, Journal, PAYLOAD, Stage, Transaction},
    pending,
    undo::guards_of,
};
use crate::clock;

/// Confirms the open change (of that name), once its guards hold; waits for them no longer than it has.
///
/// # Errors
/// No such change, or it cannot be confirmed.
pub fn confirm(state_dir: &Path, id: Option<&str>, person: &str) -> Result<Journal, ApplyError> {
    let (transaction, journal) = find(state_dir, id)?;
    let refused = |text: String| ApplyError::new(format!("change {} is not confirmed: {text}", journal.id));
    match (&journal.stage, journal.exit) {
        (Stage::Open, Some(0)) => {}
        (Stage::Open, Some(code)) => return Err(refused(format!("its command ended with {code}"))),
        (Stage::Open, None) if journal.running.is_some_and(|running| running.is_alive()) => {
            return Err(refused("its command is still running".into()));
        }
        // Whoever would know how it ended is gone: a person has looked.
        (Stage::Open, None) if !journal.asked_by.is_alive() => {}
        (Stage::Open, None) => return Err(refused("its command is just ending".into())),
        (stage, _) => return Err(refused(word(stage).into())),
    }
    let guards = guards_of(&transaction.dir.join(PAYLOAD), &journal);
    let guards = guards.ok_or_else(|| refused("its guards cannot be read".into()))?;
    let failing = failing(&guards, &journal);
    if !failing.is_empty() {
        return Err(refused(failing.join("; ")));
    }
    if !transaction.step(Stage::Confirmed { by: format!("{person}, by `confirm`") })? {
        return Err(refused("too late".into()));
    }
    Ok(transaction.read()?)
}

fn failing(guards: &Guards, journal: &Journal) -> Vec<String> {
    let outcomes = guards.settle(journal.deadline_boot_ms.saturating_sub(MARGIN_MS));
    if guards::hold(&outcomes) { Vec::new() } else { outcomes.iter().map(guards::line).collect() }
}

const fn word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Remembering => "nothing was changed yet",
        Stage::Open => "it is open",
        Stage::Confirmed { .. } => "it was confirmed before",
        Stage::Undoing { .. } => "too late, it is being undone",
        Stage::Undone(_) => "too late, it was undone",
    }
}

/// Undoes the open change (of that name) at once, and waits for it.
///
/// # Errors
/// No such change, or it was confirmed before, or not all could be put back.
pub fn undo_now(state_dir: &Path, id: Option<&str>, person: &str) -> Result<Journal, ApplyError> {
    let (transaction, journal) = find(state_dir, id)?;
    let stage = Stage::Undoing { because: format!("{person} asked for it"), troubles: Vec::new() };
    if !transaction.step(stage)? && journal.stage.is_final() {
        return Err(ApplyError::new(format!("change {}: {}", journal.id, word(&journal.stage))));
    }
    wait_until_undone(&transaction)
}

/// Waits for whoever undoes; if nobody does, starts one.
pub(super) fn wait_until_undone(transaction: &Transaction) -> Result<Journal, ApplyError> {
    let (started, mut looks) = (clock::monotonic(), 0_u32);
    loop {
        let journal = transaction.read()?;
        match &journal.stage {
            Stage::Undoing { troubles, .. } if !troubles.is_empty() || started.elapsed() > UNDO_PATIENCE => {
                let hint = "it goes on being tried; `portcullis-agent undo --pending` tries it now";
                let text = format!("change {} is not wholly undone: {}", journal.id, troubles.join("; "));
                return Err(ApplyError::new(text).hint(hint));
            }
            Stage::Undoing { .. } => {}
            _ => return Ok(journal),
        }
        looks += 1;
        if looks.is_multiple_of(LOOKS_PER_START) && matches!(transaction.has_undoer(), Ok(false)) {
            pending::launch_undoer(transaction, &journal.id);
        }
        thread::sleep(POLL);
    }
}

/// The change of that name, or the one that is open.
fn find(state_dir: &Path, id: Option<&str>) -> Result<(Transaction, Journal), ApplyError> {
    let changes = journal::all(&state_dir.join(HOME))?;
    let wanted = |journal: &Journal| id.map_or(!journal.stage.is_final(), |id| journal.id == id);
    let found = changes.into_iter().rev().find(|(_, journal)| wanted(journal));
    found.ok_or_else(|| match id {
        Some(id) => ApplyError::new(format!("no change `{}` is known", portcullis::text::visible(id))),
        None => ApplyError::new("no change is open"),
    })
}

const POLL: Duration = Duration::from_millis(50);
/// Once in two seconds.
const LOOKS_PER_START: u32 = 40;
/// Restoring what may be remembered at most takes less.
const UNDO_PATIENCE: Duration = Duration::from_secs(600);
/// Between the last look at the guards and the deadline.
const MARGIN_MS: u64 = 200;
