//! Permissions and owners: compared where the manifest has them, set-id bits always.

use alloc::{format, string::String};

use rustix::fs::Stat;

use crate::{
    manifest::{Attributes, Entry, EntryKind, Owner},
    outcome::Problem,
};

/// What differs, with what is expected and what is there.
pub(super) fn problems(
    compared: Attributes,
    entry: &Entry,
    stat: &Stat,
) -> impl Iterator<Item = (Problem, (String, String))> {
    let has_mode = !matches!(entry.kind, EntryKind::Link { .. });
    let mode = has_mode.then(|| wrong_mode(compared.mode, entry.mode, mode_of(stat))).flatten();
    let owner = entry.owner.filter(|owner| compared.owner && *owner != owner_of(stat));
    let mode = mode.map(|(expected, actual)| (Problem::Mode, (format!("{expected:04o}"), format!("{actual:04o}"))));
    let owner = owner.map(|owner| (Problem::Owner, (shown(owner), shown(owner_of(stat)))));
    mode.into_iter().chain(owner)
}

/// Set-id bits that the manifest does not have turn a file into a program with another's rights: they count even where modes
/// are not compared. The expected mode is then the actual one without them.
fn wrong_mode(compared: bool, listed: Option<u32>, actual: u32) -> Option<(u32, u32)> {
    let expected = match listed {
        Some(listed) if compared => listed,
        _ => actual & !(SET_ID & !listed.unwrap_or(0)),
    };
    (expected != actual).then_some((expected, actual))
}

fn shown(Owner { uid, gid }: Owner) -> String {
    format!("{uid}:{gid}")
}

/// What a manifest records of it where `attributes` ask; of a link no mode, since Linux has none. Set-id bits are recorded
/// always: a directory that hands its group down must pass as it was signed.
pub(super) fn recorded(attributes: Attributes, is_link: bool, stat: &Stat) -> (Option<u32>, Option<Owner>) {
    let mode = mode_of(stat);
    let has_mode = !is_link && (attributes.mode || mode & SET_ID != 0);
    (has_mode.then_some(mode), attributes.owner.then(|| owner_of(stat)))
}

fn mode_of(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

fn owner_of(stat: &Stat) -> Owner {
    Owner { uid: stat.st_uid, gid: stat.st_gid }
}

const SET_ID: u32 = 0o6000;

#[cfg(test)]
mod tests {
    use super::wrong_mode;

    #[test]
    fn set_id_bits_count_unless_listed() {
        for (compared, listed, actual, wrong) in [
            (false, None, 0o755, None),
            (false, None, 0o4755, Some((0o755, 0o4755))),
            (false, None, 0o2775, Some((0o775, 0o2775))),
            (false, Some(0o2755), 0o2775, None),
            (false, Some(0o2755), 0o755, None),
            (false, Some(0o2755), 0o6755, Some((0o2755, 0o6755))),
            (true, Some(0o644), 0o644, None),
            (true, Some(0o644), 0o600, Some((0o644, 0o600))),
            (true, Some(0o2755), 0o755, Some((0o2755, 0o755))),
            (true, None, 0o4755, Some((0o755, 0o4755))),
        ] {
            assert_eq!(wrong_mode(compared, listed, actual), wrong, "{compared} {listed:?} {actual:o}");
        }
    }
}
