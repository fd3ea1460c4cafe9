//! Which things of a release are broken, and how: some of every class, each in every way there is for it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{Breakage, How, breakage::ways};
use crate::{
    glob::Ignore,
    manifest::{Entry, EntryKind, Manifest, Tree},
    text,
};

/// More are not tried in one rehearsal: each costs a change to the copy, and all of them some hundred checks.
pub const BREAKAGES_MAX: usize = 200_000;

/// More classes of one tree are not told apart: what has a rarer ending is of the class “other”.
const CLASSES_MAX: usize = 100;

/// How much is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// So many of each class; all when `None`.
    pub per_class: Option<usize>,
    /// Which of them.
    pub seed: u64,
}

/// There is more to break than [`BREAKAGES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {BREAKAGES_MAX} ways to break it")]
pub struct TooMany;

/// What to break of `manifest`: the same for the same seed.
///
/// # Errors
/// When there is too much.
pub fn plan(manifest: &Manifest, sampling: Sampling) -> Result<Vec<Breakage>, TooMany> {
    let mut breakages = Vec::new();
    for (index, tree) in manifest.trees.iter().enumerate() {
        for (entry, class) in chosen(tree, sampling) {
            let entry = &tree.entries[entry];
            let new = |how| Breakage { tree: index, path: entry.path.clone(), class: class.clone(), how };
            breakages.extend(ways(entry).into_iter().map(new));
            breakages.extend(extra_in(tree, entry).map(|path| Breakage { path, ..new(How::Extra) }));
            breakages.extend(swap(tree, entry).map(new));
            if breakages.len() > BREAKAGES_MAX {
                return Err(TooMany);
            }
        }
        let elsewhere =
            core::iter::once(EXTRA_NAME.to_vec()).filter(|path| is_new(tree, path)).chain(blind_spots(tree));
        let new = |path| Breakage { tree: index, path, class: "not listed".into(), how: How::Extra };
        breakages.extend(elsewhere.map(new));
    }
    Ok(breakages)
}

/// Indices of entries, with the class each was chosen for.
fn chosen(tree: &Tree, sampling: Sampling) -> BTreeMap<usize, String> {
    let mut chosen = BTreeMap::new();
    let largest = tree.entries.iter().enumerate().filter_map(|(index, entry)| Some((size(entry)?, index)));
    let biggest = largest.clone().max_by_key(|&(size, index)| (size, core::cmp::Reverse(index)));
    let smallest = largest.filter(|&(size, _)| size > 0).min();
    for (found, class) in [(biggest, "biggest"), (smallest, "smallest")] {
        chosen.extend(found.map(|(_, index)| (index, class.to_string())));
    }
    for (class, mut members) in classes(tree) {
        members.sort_by_cached_key(|&index| (rank(sampling.seed, &tree.entries[index].path), index));
        members.truncate(sampling.per_class.unwrap_or(usize::MAX));
        for index in members {
            chosen.entry(index).or_insert_with(|| class.clone());
        }
    }
    chosen
}

/// The entries of each class; the rarest endings together.
fn classes(tree: &Tree) -> BTreeMap<String, Vec<usize>> {
    let mut classes = BTreeMap::<String, Vec<usize>>::new();
    for (index, entry) in tree.entries.iter().enumerate() {
        classes.entry(class(entry)).or_default().push(index);
    }
    let mut by_size: Vec<_> = classes.iter().map(|(class, members)| (members.len(), class.clone())).collect();
    by_size.sort_by(|a, b| b.cmp(a));
    for (_, rare) in by_size.into_iter().skip(CLASSES_MAX) {
        let members = classes.remove(&rare).unwrap_or_default();
        classes.entry("other".into()).or_default().extend(members);
    }
    classes
}

fn class(entry: &Entry) -> String {
    match &entry.kind {
        EntryKind::Directory => "directory".into(),
        EntryKind::Link { .. } => "link".into(),
        EntryKind::Template { .. } => "template".into(),
        EntryKind::File { size: 0, .. } => "empty".into(),
        EntryKind::File { .. } if entry.mode.is_some_and(|mode| mode & 0o111 != 0) => "executable".into(),
        EntryKind::File { .. } => {
            let name = entry.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
            dot.map_or_else(|| "no ending".into(), |at| format!("*{}", text::escape(&name[at..]).to_lowercase()))
        }
    }
}

fn size(entry: &Entry) -> Option<u64> {
    if let EntryKind::File { size, .. } = entry.kind { Some(size) } else { None }
}

/// A file that differs from `entry` in its content, to swap it with: the next in the tree, around its end.
fn swap(tree: &Tree, entry: &Entry) -> Option<How> {
    let EntryKind::File { sha256, .. } = &entry.kind else { return None };
    let here = tree.entries.partition_point(|other| other.path <= entry.path);
    let (before, after) = tree.entries.split_at(here);
    let differs = |other: &&Entry| matches!(&other.kind, EntryKind::File { sha256: theirs, .. } if theirs != sha256);
    after
        .iter()
        .chain(before)
        .take(SWAP_LOOKED_AT_MAX)
        .find(differs)
        .map(|other| How::Swapped { with: other.path.clone() })
}

/// A place for something extra in a directory.
fn extra_in(tree: &Tree, entry: &Entry) -> Option<Vec<u8>> {
    let path = [&entry.path, &b"/"[..], EXTRA_NAME].concat();
    (entry.kind == EntryKind::Directory && is_new(tree, &path)).then_some(path)
}

fn is_new(tree: &Tree, path: &[u8]) -> bool {
    tree.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).is_err()
}

/// A path for each pattern that nothing in the tree will look at: what lies there, nobody notices.
fn blind_spots(tree: &Tree) -> BTreeSet<Vec<u8>> {
    let Ok(ignore) = Ignore::new(&tree.ignore) else { return BTreeSet::new() };
    let has_parent = |path: &[u8]| {
        let parent = path.iter().rposition(|&byte| byte == b'/').map(|slash| &path[..slash]);
        parent.is_none_or(|parent| ignore.hides(parent, true) || !is_new(tree, parent))
    };
    let is_blind = |path: &Vec<u8>| ignore.hides(path, false) && is_new(tree, path) && has_parent(path);
    let stems = |pattern| ["rehearsal.php", "rehearsal"].map(|stem| (pattern, stem));
    let spots = tree.ignore.iter().flat_map(stems).flat_map(|(pattern, stem)| {
        let spot = instance(pattern, stem).filter(is_blind);
        // What is ignored as a file is ignored as a directory too, with everything in it.
        let directory = spot.clone().filter(|spot| !pattern.ends_with("**") && ignore.matches(spot, true));
        [spot, directory.map(|spot| [&spot, &b"/"[..], EXTRA_NAME].concat())]
    });
    spots.flatten().collect()
}

/// A path that `pattern` may match: each wildcard stands for `stem`. `None` for what brings back, and for classes.
fn instance(pattern: &str, stem: &str) -> Option<Vec<u8>> {
    if pattern.starts_with('!') || pattern.contains('[') {
        return None;
    }
    let (pattern, directory) = pattern.strip_suffix('/').map_or((pattern, false), |rest| (rest, true));
    let mut path = String::new();
    let mut chars = pattern.trim_start_matches('/').trim_start_matches("**/").chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                path.push_str(stem);
            }
            '?' => path.push('x'),
            '\\' => path.extend(chars.next()),
            _ => path.push(c),
        }
    }
    if directory {
        path = format!("{path}/{stem}");
    }
    Some(path.into_bytes())
}

/// FNV-1a (its authors' 64-bit constants): which of a class are taken is to be the same for one seed, and nothing more.
fn rank(seed: u64, path: &[u8]) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(path.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What an extra file is called. A script: what an intruder leaves behind.
const EXTRA_NAME: &[u8] = b"portcullis-rehearsal.php";

/// Files that are all the same are not searched to the end for one that differs.
const SWAP_LOOKED_AT_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn file(path: &str, content: &str) -> Entry {
        let kind = EntryKind::File { size: content.len() as u64, sha256: Digest::of(content.as_bytes()), text: None };
        Entry { path: path.into(), kind, mode: None, owner: None }
    }

    fn directory(path: &str) -> Entry {
        Entry { path: path.into(), kind: EntryKind::Directory, mode: None, owner: None }
    }

    fn manifest() -> Manifest {
        let mut tree = Tree::new("app", "/app");
        tree.ignore =
            ["logs/**", "*.pid", "/cache/", "!logs/keep", "[a-z].tmp", "gone/x/*.log"].map(String::from).into();
        tree.entries =
            [directory("a"), file("a/1.php", "1"), file("a/2.php", "22"), file("a/3.php", "333"), directory("logs")]
                .into_iter()
                .chain([file("readme", "longest")])
                .collect();
        Manifest { product: "p".into(), release: "r".into(), sequence: 1, trees: [tree].into(), checks: [].into() }
    }

    #[test]
    fn of_each_class_in_every_way() {
        let manifest = manifest();
        let of = |per_class, seed| plan(&manifest, Sampling { per_class, seed }).unwrap();
        let one = of(Some(1), 1);
        assert_eq!(one, of(Some(1), 1), "the same for the same seed");
        let classes: BTreeSet<&str> = one.iter().map(|breakage| &*breakage.class).collect();
        assert_eq!(classes, ["*.php", "biggest", "directory", "not listed", "smallest"].into());
        let php =
            |all: &[Breakage]| all.iter().filter(|one| one.path.ends_with(b".php") && one.how == How::Missing).count();
        assert_eq!((php(&one), php(&of(None, 1))), (2, 3), "one for its ending, and the smallest");
        let swapped = one.iter().find(|one| one.path == b"readme" && matches!(one.how, How::Swapped { .. })).unwrap();
        assert_eq!(swapped.how, How::Swapped { with: b"a/1.php".into() });
    }

    #[test]
    fn extras_and_swaps() {
        let all = plan(&manifest(), Sampling { per_class: None, seed: 1 }).unwrap();
        let extras: Vec<_> = all.iter().filter(|one| one.how == How::Extra && one.class == "directory").collect();
        let paths: Vec<_> = extras.iter().map(|one| one.shown()).collect();
        assert_eq!(paths, ["a/portcullis-rehearsal.php", "logs/portcullis-rehearsal.php"]);
        let with = |one: &Breakage| if let How::Swapped { with } = &one.how { Some(text::escape(with)) } else { None };
        let swaps: Vec<_> = all.iter().filter_map(|one| Some((one.shown(), with(one)?))).collect();
        let next = [("a/1.php", "a/2.php"), ("a/2.php", "a/3.php"), ("a/3.php", "readme"), ("readme", "a/1.php")];
        assert_eq!(swaps, next.map(|(path, with)| (path.into(), with.into())));
        let mut listed = manifest();
        listed.trees[0].entries.insert(4, file("a/portcullis-rehearsal.php", "listed"));
        let extra = |one: &Breakage| one.how == How::Extra && one.path.starts_with(b"a/");
        assert!(!plan(&listed, Sampling { per_class: None, seed: 1 }).unwrap().iter().any(extra));
    }

    #[test]
    fn classes_by_what_they_are() {
        let with_mode = |path, mode| Entry { mode: Some(mode), ..file(path, "x") };
        let entries =
            [file("empty.php", ""), with_mode("a.PHP", 0o644), with_mode("bin.php", 0o755), file(".env", "x")];
        assert_eq!(entries.each_ref().map(class), ["empty", "*.php", "executable", "no ending"]);
        let mut tree = Tree::new("app", "/app");
        tree.entries = entries.into();
        let smallest = chosen(&tree, Sampling { per_class: Some(0), seed: 1 });
        assert_eq!(smallest.keys().copied().collect::<Vec<_>>(), [1], "nothing can be taken from an empty file");
    }

    #[test]
    fn no_more_than_can_be_tried() {
        let links = |count: usize| {
            let mut manifest = manifest();
            let kind = EntryKind::Link { target: b"x".into() };
            let link =
                |number| Entry { path: format!("{number:05}").into(), kind: kind.clone(), mode: None, owner: None };
            manifest.trees[0].entries = (0..count).map(link).collect();
            plan(&manifest, Sampling { per_class: None, seed: 1 }).map(|all| all.len() >= BREAKAGES_MAX)
        };
        let ways = 4;
        assert_eq!(links(BREAKAGES_MAX / ways), Ok(true));
        assert_eq!(links(BREAKAGES_MAX / ways + 1), Err(TooMany));
    }

    #[test]
    fn what_a_pattern_may_match() {
        for (pattern, path) in [
            ("*.log", Some("x1.log")),
            ("/cache/", Some("cache/x1")),
            ("**/a?b/**", Some("axb/x1")),
            (r"a\*b", Some("a*b")),
            ("!logs/keep", None),
            ("[a-z].tmp", None),
        ] {
            assert_eq!(instance(pattern, "x1"), path.map(Vec::from), "{pattern}");
        }
    }

    /// Another order would be another rehearsal for the same seed.
    #[test]
    fn ranks_are_those_of_fnv() {
        assert_eq!(rank(1, b"a.php"), 0x1aa70c1e3712dd39);
    }

    #[test]
    fn blind_spots_are_really_ignored() {
        let manifest = manifest();
        let spots: Vec<_> = blind_spots(&manifest.trees[0]).into_iter().map(|spot| text::escape(&spot)).collect();
        // `cache` has no parent that could be missing; `gone/x` is not there.
        assert_eq!(
            spots,
            [
                "cache/rehearsal",
                "cache/rehearsal.php",
                "logs/rehearsal",
                "logs/rehearsal.php",
                "rehearsal.php.pid",
                "rehearsal.php.pid/portcullis-rehearsal.php",
                "rehearsal.pid",
                "rehearsal.pid/portcullis-rehearsal.php"
            ]
        );
    }
}
