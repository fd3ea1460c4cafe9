//! Commit-confirm: a change to managed trees stays only when the instance proves itself again in time.
//!
//! ```text
//!  apply ── remembers the trees ── starts __undo ── runs COMMAND ── demands: exit 0, guards, controller or a person ── Confirmed
//!                                      │                                    └─ no, or nobody there any more
//!                                      └─ waits, nobody's child ── deadline ──▶ puts every file back, runs the undo commands,
//!                                                                               asks the guards again, says so: Undone
//! ```
//!
//! | where | what |
//! |---|---|
//! | `change` | `apply`: from the question to the answer |
//! | `demand` | what a change must show to stay |
//! | `undo` | the one who waits to undo, and does |
//! | `pending` | changes that nobody waits for any more: after a crash, after a reboot |
//! | `confirm` | a person's word |
//! | `journal` | what is known of a change, on the disk |
//! | `remember`, `listing` | what trees were like |
//! | `put_back`, `root`, `keep`, `attributes`, `beneath` | making them so again, and keeping what was there |
//! | `commands`, `launch`, `process` | undo commands; a process that is nobody's child; who is alive |
//!
//! Decisions, where others are thinkable: the time counts from the start of the command, so that the one who waits needs to hear
//! nothing more to be right. After a lost session (SIGHUP) or the death of `apply` only a person confirms; after an interrupt
//! it is undone at once. Without a controller a person confirms, unless the caller says that the guards are enough.

use std::{os::unix::fs::MetadataExt as _, path::Path};

pub use change::{Ended, Request, apply, person};
pub use confirm::{confirm, undo_now};
pub use journal::{Journal, Stage, Undone};
pub use launch::detach;
pub use pending::{at_start, undo_pending, watch};
pub use remember::Limits;
pub(crate) use undo::boot_id;
pub use undo::wait_and_undo;

mod attributes;
pub(crate) mod beneath;
mod change;
pub(crate) mod commands;
mod confirm;
mod demand;
pub(crate) mod guards;
pub(crate) mod journal;
pub(crate) mod keep;
pub(crate) mod launch;
pub(crate) mod listing;
mod pending;
mod process;
pub(crate) mod put_back;
mod remember;
mod root;
mod undo;

/// A change that cannot be begun, confirmed or told of. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ApplyError {
    /// What failed, on what.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ApplyError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<std::io::Error> for ApplyError {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the state directory: {error}"))
    }
}

impl From<crate::state::StateError> for ApplyError {
    fn from(error: crate::state::StateError) -> Self {
        Self::new(format!("the state directory: {error}"))
    }
}

/// Whether nobody but root and the caller could have written a file.
///
/// # Errors
/// When somebody else could have.
pub fn only_ours(path: &Path) -> Result<(), ApplyError> {
    let metadata =
        std::fs::metadata(path).map_err(|error| ApplyError::new(format!("`{}`: {error}", path.display())))?;
    let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
    if is_ours && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let text = format!("`{}` can be written by others, and its commands would be run", path.display());
    Err(ApplyError::new(text).hint("make it root's, mode 0644"))
}

/// Every change that is still known of, oldest first.
///
/// # Errors
/// When the state directory cannot be read.
pub fn list(state_dir: &Path) -> Result<Vec<Journal>, ApplyError> {
    Ok(journal::all(&state_dir.join(journal::HOME))?.into_iter().map(|(_, journal)| journal).collect())
}

/// Whether a change is being tried right now, or being undone.
pub(crate) fn is_open(state_dir: &Path) -> bool {
    let changes = journal::unsettled(&state_dir.join(journal::HOME));
    changes.is_ok_and(|changes| changes.iter().any(|(_, change)| !change.stage.is_final()))
}

impl Journal {
    /// What `--list` and `status` say of it, a few lines.
    pub fn lines(&self) -> Vec<String> {
        let command: String = self.command.join(" ").replace('\n', " ").chars().take(COMMAND_CHARS_SHOWN).collect();
        let command = portcullis::text::visible(command.trim());
        let mut lines = vec![format!("change {} by {}: {command}", self.id, portcullis::text::visible(&self.user))];
        match &self.stage {
            Stage::Remembering => lines.push("remembering the trees; nothing was changed yet".into()),
            Stage::Open => lines.push(format!("open: undone in {} unless it is confirmed", self.left())),
            Stage::Confirmed { by } => lines.push(format!("confirmed by {by}")),
            Stage::Undoing { because, troubles } => {
                lines.push(format!("being undone: {because}"));
                lines.extend(troubles.iter().map(|trouble| format!("cannot be put back yet: {trouble}")));
            }
            Stage::Undone(undone) => lines.extend(undone.lines()),
        }
        lines
    }

    fn left(&self) -> portcullis::duration::Span {
        let ms = self.deadline_boot_ms.saturating_sub(crate::clock::boot_ms());
        portcullis::duration::Span::from_s(ms.div_ceil(1_000))
    }
}

impl Undone {
    /// What was done, and how all stands now.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("undone at {}: {}", self.at, self.because)];
        let listed = self.changes.len() as u64;
        lines.extend(self.changes.iter().cloned());
        if self.changes_total > listed {
            lines.push(format!("and {} more", self.changes_total - listed));
        }
        if self.changes_total == 0 {
            lines.push("no file had to be put back".into());
        }
        lines.extend(self.notes.iter().chain(&self.commands).chain(&self.guards).cloned());
        lines
    }
}

/// Of a command, in a line for people.
const COMMAND_CHARS_SHOWN: usize = 200;
