//! Diffs of texts that are not as they should be: read again, after all has been hashed and before the tree is walked again,
//! so that they cost nothing where nothing differs, and a change meanwhile makes the tree unstable as any other.

use std::os::fd::OwnedFd;

use super::{Progress, Trouble, differences::Differences, open::Opener, small::Reader};
use crate::{
    diff,
    manifest::{Entry, EntryKind, TEXT_BYTES_MAX},
};

/// Adds a diff to each difference that has one, as far as they are bounded.
pub(super) fn add(
    differences: &mut Differences,
    entries: &[Entry],
    opener: &Opener,
    root: &OwnedFd,
    progress: &dyn Progress,
) {
    let mut reader = Reader::new(opener, root);
    let (mut diffs, mut bytes) = (0, 0);
    differences.explain(|path| {
        let index = entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()?;
        let EntryKind::File { text: Some(expected), .. } = &entries[index].kind else { return None };
        if diffs == DIFFS_MAX || bytes >= BYTES_MAX || progress.cancelled() {
            return None;
        }
        let diff = match reader.read(path, TEXT_BYTES_MAX) {
            Ok(Some(actual)) => diff::of(path, expected, &actual),
            Ok(None) => alloc::format!("{}it has more than {TEXT_BYTES_MAX} bytes", diff::NOT_SHOWN),
            // That it differs is certain all the same; whether it stood still the second walk tells.
            Err(Trouble::Unstable | Trouble::Unreadable(_) | Trouble::Mount | Trouble::TooDeep) => return None,
        };
        (diffs, bytes) = (diffs + 1, bytes + diff.len());
        Some(diff)
    });
}

/// Of one tree. Who looks at more looks at none; and the slowest texts that can be made take a tenth of a second each.
const DIFFS_MAX: usize = 50;
/// Of one tree: a report with a hundred such trees is cut, not refused.
const BYTES_MAX: usize = 64 << 10;
