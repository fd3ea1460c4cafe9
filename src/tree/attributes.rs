//! Permissions and owners: compared where the manifest has them, set-id bits always.

use alloc::{format, string::String};

use rustix::fs::Stat;

use crate::{
    manifest::{Attributes, Entry, EntryKind, Owner},
    outcome::Problem,
};

/// What differs, with what is expected and what is there.
pub(super) fn problems(entry: &Entry, stat: &Stat) -> impl Iterator<Item = (Problem, (String, String))> {
    let has_mode = !matches!(entry.kind, EntryKind::Link { .. });
    let mode = has_mode.then(|| wrong_mode(entry.mode, mode_of(stat))).flatten();
    let owner = entry.owner.filter(|owner| *owner != owner_of(stat));
    let mode = mode.map(|(expected, actual)| (Problem::Mode, (format!("{expected:04o}"), format!("{actual:04o}"))));
    let owner = owner.map(|owner| (Problem::Owner, (shown(owner), shown(owner_of(stat)))));
    mode.into_iter().chain(owner)
}

/// Set-id bits that the manifest does not have turn a file into a program with another's rights: they count even where modes
/// are not compared. The expected mode is then the actual one without them.
fn wrong_mode(listed: Option<u32>, actual: u32) -> Option<(u32, u32)> {
    let expected = listed.unwrap_or(actual & !SET_ID);
    (expected != actual).then_some((expected, actual))
}

fn shown(Owner { uid, gid }: Owner) -> String {
    format!("{uid}:{gid}")
}

/// What a manifest records of it where `attributes` ask; of a link no mode, since Linux has none.
pub(super) fn recorded(attributes: Attributes, is_link: bool, stat: &Stat) -> (Option<u32>, Option<Owner>) {
    ((attributes.mode && !is_link).then(|| mode_of(stat)), attributes.owner.then(|| owner_of(stat)))
}

/// Whether it has set-id bits, which are never to be there unless listed.
pub(super) fn is_set_id(stat: &Stat) -> bool {
    mode_of(stat) & SET_ID != 0
}

fn mode_of(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

fn owner_of(stat: &Stat) -> Owner {
    Owner { uid: stat.st_uid, gid: stat.st_gid }
}

const SET_ID: u32 = 0o6000;
