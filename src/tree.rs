//! Real trees: walked, read, hashed, compared with a manifest (PROTOCOL.md §2). The only IO of this package besides the
//! command line.

use alloc::{string::String, vec::Vec};
use std::path::Path;

use crate::{
    manifest::{Entry, Tree},
    outcome::Outcome,
};

/// Told how far a walk has come, from several threads at once; and asked whether to go on.
pub trait Progress: Sync {
    /// This many entries more were walked.
    fn walked(&self, entries: u64) {
        let _ = entries;
    }

    /// This many files more were hashed to their end, and this many bytes more were read.
    fn hashed(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }

    /// Whether to give up: asked often, so it must be cheap.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody looks on.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Why a tree cannot be put into a manifest.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct ReadError {
    /// Relative to the root, escaped for people; empty for the root itself.
    pub path: String,
    /// What is wrong with it, as a fragment that follows the path.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// The entries of the real directory `root`, ascending by path bytes, for `tree` (whose own entries are not looked at):
/// its ignores applied, modes and owners as its attributes ask.
pub fn read(tree: &Tree, root: &Path, progress: &dyn Progress) -> Result<Vec<Entry>, ReadError> {
    let _ = (tree, root, progress);
    Err(ReadError { path: String::new(), problem: "cannot be read yet".into(), hint: None })
}

/// Compares the real directory `root` with `tree`. `took_ms` is left 0: nothing here reads a clock.
pub fn check(tree: &Tree, root: &Path, progress: &dyn Progress) -> Outcome {
    let _ = (root, progress);
    Outcome {
        check: tree.name.clone(),
        kind: "tree".into(),
        status: crate::outcome::Status::Unknown,
        reason: Some("cannot be checked yet".into()),
        differences: Vec::new(),
        differences_total: None,
        took_ms: 0,
    }
}
