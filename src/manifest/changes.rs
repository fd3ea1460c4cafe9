//! What a manifest wants otherwise than another.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::Serialize;

use super::{Check, Entry, EntryKind, Manifest, Tree};
use crate::text;

/// From an old manifest to a new one. The release's name and the sequence are labels: they make no difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The product, when it is another one: old and new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<(String, String)>,
    /// The trees that differ, by name.
    pub trees: Vec<TreeChange>,
    /// The checks that differ, by name.
    pub checks: Vec<CheckChange>,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the new manifest has it.
    Added,
    /// Only the old manifest has it.
    Removed,
    /// Both have it, but not the same.
    Changed,
}

/// A tree that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeChange {
    /// The tree's name.
    pub tree: String,
    /// What became of it.
    pub change: Change,
    /// How it is checked, where that changed: the keys of the spec.
    pub settings: Vec<&'static str>,
    /// Its entries that differ, ascending by path; of a tree that was added or removed, all.
    pub entries: Vec<EntryChange>,
}

/// An entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryChange {
    /// Below the tree's root; as people and JSON get it.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// In which ways: the words of an outcome's problems.
    pub what: Vec<&'static str>,
}

/// A check that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckChange {
    /// The check's name.
    pub check: String,
    /// What became of it.
    pub change: Change,
    /// The fields that changed.
    pub what: Vec<&'static str>,
}

impl Changes {
    /// What `new` wants otherwise than `old`.
    pub fn between(old: &Manifest, new: &Manifest) -> Self {
        let trees = paired(&old.trees, &new.trees, |tree| &tree.name);
        let checks = paired(&old.checks, &new.checks, |check| &check.name);
        Self {
            product: (old.product != new.product).then(|| (old.product.clone(), new.product.clone())),
            trees: trees.into_iter().filter_map(|(name, pair)| tree_change(name, pair)).collect(),
            checks: checks.into_iter().filter_map(|(name, pair)| check_change(name, pair)).collect(),
        }
    }

    /// Whether an instance that is as one of them wants is as the other wants.
    pub fn is_empty(&self) -> bool {
        self.product.is_none() && self.trees.is_empty() && self.checks.is_empty()
    }
}

type Pair<'a, T> = (Option<&'a T>, Option<&'a T>);

fn paired<'a, T, K: Ord + ?Sized>(old: &'a [T], new: &'a [T], key: fn(&T) -> &K) -> BTreeMap<&'a K, Pair<'a, T>> {
    let mut pairs: BTreeMap<&K, Pair<'_, T>> = BTreeMap::new();
    for one in old {
        pairs.entry(key(one)).or_default().0 = Some(one);
    }
    for one in new {
        pairs.entry(key(one)).or_default().1 = Some(one);
    }
    pairs
}

fn change<T>(pair: Pair<'_, T>) -> Change {
    match pair {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        (Some(_), Some(_)) => Change::Changed,
    }
}

fn tree_change(name: &str, pair: Pair<'_, Tree>) -> Option<TreeChange> {
    let settings = match pair {
        (Some(old), Some(new)) => different(&[
            ("root", old.root == new.root),
            ("root_link", old.root_link == new.root_link),
            ("extras", old.extras == new.extras),
            ("ignore", old.ignore == new.ignore),
            ("attributes", old.attributes == new.attributes),
            ("restore", old.restore == new.restore),
        ]),
        (None, _) | (_, None) => Vec::new(),
    };
    let pairs = paired(entries(pair.0), entries(pair.1), |entry| &*entry.path);
    let entries: Vec<_> = pairs.into_iter().filter_map(|(path, pair)| entry_change(path, pair)).collect();
    let same = matches!(pair, (Some(_), Some(_))) && settings.is_empty() && entries.is_empty();
    (!same).then(|| TreeChange { tree: name.into(), change: change(pair), settings, entries })
}

fn entries(tree: Option<&Tree>) -> &[Entry] {
    tree.map_or(&[], |tree| &tree.entries)
}

fn entry_change(path: &[u8], pair: Pair<'_, Entry>) -> Option<EntryChange> {
    let what = match pair {
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) => {
            let kind = kind_change(&old.kind, &new.kind).into_iter();
            kind.chain(different(&[("mode", old.mode == new.mode), ("owner", old.owner == new.owner)])).collect()
        }
        (None, _) | (_, None) => Vec::new(),
    };
    Some(EntryChange { path: text::path(path), change: change(pair), what })
}

fn kind_change(old: &EntryKind, new: &EntryKind) -> Option<&'static str> {
    match (old, new) {
        _ if old == new => None,
        (EntryKind::File { size, sha256, .. }, EntryKind::File { size: new_size, sha256: new_sha256, .. })
            if (size, sha256) == (new_size, new_sha256) =>
        {
            Some("text")
        }
        (EntryKind::File { .. }, EntryKind::File { .. }) => Some("content"),
        (EntryKind::File { .. } | EntryKind::Template { .. }, EntryKind::File { .. } | EntryKind::Template { .. }) => {
            Some("template")
        }
        (EntryKind::Link { .. }, EntryKind::Link { .. }) => Some("link"),
        _ => Some("type"),
    }
}

fn check_change(name: &str, pair: Pair<'_, Check>) -> Option<CheckChange> {
    let what = match pair {
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) => different(&[
            (new.kind.name(), old.kind == new.kind),
            ("timeout", old.timeout_ms == new.timeout_ms),
            ("scope", old.scope == new.scope),
            ("after", old.after == new.after),
            ("within", old.window.within == new.window.within),
            ("for", old.window.hold == new.window.hold),
            ("guard", old.guard == new.guard),
        ]),
        (None, _) | (_, None) => Vec::new(),
    };
    Some(CheckChange { check: name.into(), change: change(pair), what })
}

fn different(same: &[(&'static str, bool)]) -> Vec<&'static str> {
    same.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
}
