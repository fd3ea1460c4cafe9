//! Real trees: walked, read, hashed, compared with a manifest (PROTOCOL.md §2). The only IO of this package besides the
//! command line.
//!
//! ```text
//!  walk ──▶ merge with what is listed ──▶ differences ──▶ Outcome
//!   │ files of the right size                 ▲   ▲
//!   └──▶ hash: several at a time ─────────────┘   │
//!  walk again ──▶ did it stand still? ────────────┘
//! ```
//!
//! A tree with templates is [rendered](Tree::rendered) before it is compared. What passed once and looks the same need not be
//! read again: [`Passed`]. Who knows where something happened need not look everywhere to see that it differs: [`Within`].
//!
//! What this cannot see: a write through a shared mapping that reaches a file's times only after the second walk; before
//! Linux 6.13, two writes within one tick of the clock (up to 10 ms), one before a file is read and one after it; what a
//! process holds open of files that are deleted.

use alloc::{format, string::String, vec::Vec};
use std::path::Path;

use collect::Wanted;
use open::{Opener, Place};
use passed::Unsettled;
use templates::Globs;
pub use texts::{Contents, Withheld};
use trouble::Trouble;

pub use passed::{Care, FRESH_MS, Passed, times_are_kept};
pub use within::Within;

use crate::{
    glob::Ignore,
    manifest::{Entry, Tree},
    outcome::Outcome,
    spec::Texts,
    text,
};

mod attributes;
mod collect;
mod compare;
mod differences;
mod diffs;
mod hash;
mod identity;
mod open;
mod passed;
mod root;
mod small;
mod still;
mod sum;
mod templates;
mod texts;
mod trouble;
mod walk;
mod within;

/// Told how far a walk has come, from several threads at once; and asked whether to go on.
pub trait Progress: Sync {
    /// This many entries more were walked. All are walked twice.
    fn walked(&self, entries: u64) {
        let _ = entries;
    }

    /// This many files more were read to their end, and this many bytes more were read.
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct ReadError {
    /// Relative to the root, escaped for people; `.` for the root itself.
    pub path: String,
    /// What is wrong with it, as a fragment that follows the path.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl ReadError {
    fn whole(problem: &dyn core::fmt::Display) -> Self {
        Self { path: ".".into(), problem: format!("cannot be read: {problem}"), hint: None }
    }
}

/// The entries of the real directory `root`, ascending by path bytes, for `tree` (whose own entries are not looked at):
/// its ignores applied, modes and owners as its attributes ask.
///
/// # Errors
/// The first thing that no manifest can have (a FIFO, a socket, a device, a mount), that
/// cannot be read, or that changed meanwhile.
pub fn read(tree: &Tree, root: &Path, progress: &dyn Progress) -> Result<Vec<Entry>, ReadError> {
    read_with(tree, &Texts::default(), root, &mut 0, progress).map(|contents| contents.entries)
}

/// The same, with the texts and templates that are wanted of it. `budget` is how many bytes of texts may still be kept, in this
/// tree and those that follow.
///
/// # Errors
/// As [`read`]; and for a template that is none, is secret, or stands for something that the tree cannot list.
pub fn read_with(
    tree: &Tree,
    texts: &Texts,
    root: &Path,
    budget: &mut usize,
    progress: &dyn Progress,
) -> Result<Contents, ReadError> {
    let globs = |patterns| Ignore::new(patterns).map_err(|error| ReadError::whole(&error));
    let ignore = globs(&tree.ignore)?;
    let wanted = Wanted {
        tree,
        ignore: &ignore,
        globs: &Globs { secret: globs(&texts.secret)?, templates: globs(&texts.templates)? },
        budget: texts.keep.then_some(budget),
        has_templates: !texts.templates.is_empty(),
    };
    let (opener, root) = Opener::root(Place::Here(root), tree.root_link)
        .map_err(|error| collect::failed(b"", &Trouble::Unreadable(error)))?;
    collect::collect(wanted, &opener, &root, progress)
}

/// Compares the real directory `root` with `tree`. `took_ms` is left 0: nothing here reads a clock.
///
/// A difference that is certain makes it `fail`; else one that shows that something could not be told (unreadable, or not
/// standing still) makes it `unknown`. An entry that differs in two ways is two differences, and one entry in the reason.
pub fn check(tree: &Tree, root: &Path, progress: &dyn Progress) -> Outcome {
    check_at(tree, Place::Here(root), progress, None, Unsettled::NONE, None).0
}

/// The same, at `began_ms` of the wall clock; what looks as it did when the tree passed `last` is not read again, with due care.
/// And how it looks now, if it passes.
pub fn check_again(
    tree: &Tree,
    root: &Path,
    progress: &dyn Progress,
    last: Option<(&Passed, Care)>,
    began_ms: u64,
) -> (Outcome, Option<Passed>) {
    check_at(tree, Place::Here(root), progress, last, Unsettled::of(began_ms), None)
}

/// Compares only what is in some directories of it. What differs there differs; what does not proves nothing, and so is no
/// [`Passed`] to be remembered.
pub fn check_within(
    tree: &Tree,
    root: &Path,
    within: &Within,
    progress: &dyn Progress,
    last: Option<(&Passed, Care)>,
) -> Outcome {
    check_at(tree, Place::Here(root), progress, last, Unsettled::NONE, Some(within)).0
}

/// Compares the tree's root as it is in an image that is mounted at `image`. A link on the way there means what it will mean
/// once that image runs; it never leads out of the image.
pub fn check_image(tree: &Tree, image: &Path, progress: &dyn Progress) -> Outcome {
    check_at(tree, Place::Inside { image, path: Path::new(&tree.root) }, progress, None, Unsettled::NONE, None).0
}

fn check_at(
    tree: &Tree,
    place: Place<'_>,
    progress: &dyn Progress,
    last: Option<(&Passed, Care)>,
    unsettled: Unsettled,
    within: Option<&Within>,
) -> (Outcome, Option<Passed>) {
    let ignore = match Ignore::new(&tree.ignore) {
        Ok(ignore) => ignore,
        Err(error) => return (root::unknown(tree, &text::visible(&format!("its ignores: {error}"))), None),
    };
    let opened =
        Opener::root(place, tree.root_link).and_then(|(opener, root)| Ok((opener, rustix::fs::fstat(&root)?, root)));
    match opened {
        Ok((opener, stat, root)) => {
            let (ignore, opener, root) = (&ignore, &opener, &root);
            compare::Comparison { tree, ignore, opener, root, progress, last, unsettled, within }.outcome(&stat)
        }
        Err(error) => (root::unopened(tree, place, error), None),
    }
}

/// More entries than this are not walked, listed or not: an outcome is `unknown` then. Twice what a manifest may list.
pub const ENTRIES_WALKED_MAX: u64 = 2_000_000;

/// Directories are not looked into deeper than this: each level holds a descriptor, of which a process has 1,024 by default.
pub const DEPTH_MAX: usize = 256;

#[cfg(test)]
mod tests;
