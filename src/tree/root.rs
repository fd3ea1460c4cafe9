//! Opening the root of a tree, and what it means when that fails.

use rustix::{fs::Stat, io::Errno};

use super::{
    Trouble,
    differences::{Differences, Of},
    identity::{kind, listed_kind},
    open::Place,
};
use crate::{
    manifest::Tree,
    outcome::{Outcome, Problem, Status},
};

/// The outcome for a root that could not be opened.
pub(super) fn unopened(tree: &Tree, place: Place<'_>, error: Errno) -> Outcome {
    let mut differences = Differences::new(tree.entries.len());
    match (error, place.lstat()) {
        (Errno::NOSYS, _) => {
            return unknown(tree, "this kernel cannot keep a walk inside its mount: Linux 5.8 is needed");
        }
        (Errno::NOENT | Errno::NOTDIR, Err(_)) => missing(tree, &mut differences),
        // A link that may be followed, and leads nowhere.
        (Errno::NOENT, Ok(_)) => missing(tree, &mut differences),
        (Errno::NOTDIR | Errno::LOOP, Ok(stat)) => wrong_kind(&stat, &mut differences),
        _ => differences.add(Of::Unlisted, b"", Problem::Unreadable, None, Some(Trouble::Unreadable(error).text())),
    }
    differences.outcome(tree, None)
}

/// Nothing could be told of the whole tree.
pub(super) fn unknown(tree: &Tree, reason: &str) -> Outcome {
    Outcome::new(&tree.name, "tree", Status::Unknown, Some(reason.into()))
}

fn missing(tree: &Tree, differences: &mut Differences) {
    differences.add(Of::Unlisted, b"", Problem::Missing, Some("dir".into()), None);
    for (index, entry) in tree.entries.iter().enumerate() {
        let expected = listed_kind(&entry.kind);
        differences.add(Of::Listed(index), &entry.path, Problem::Missing, Some(expected.into()), None);
    }
}

fn wrong_kind(stat: &Stat, differences: &mut Differences) {
    // A link to a file, where links are followed: what matters is that there is no directory.
    differences.add(Of::Unlisted, b"", Problem::Type, Some("dir".into()), Some(kind(stat).into()));
}
