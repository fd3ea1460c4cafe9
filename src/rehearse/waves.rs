//! Breakages that can be tried in one check: none in the way of another, and no more than an outcome lists.

use alloc::{collections::BTreeSet, vec::Vec};
use core::ops::Bound;

use super::{Breakage, How};
use crate::{
    manifest::{EntryKind, Manifest},
    outcome::DIFFERENCES_MAX,
};

/// Indices of `breakages`, wave by wave. What would need more room than an outcome has is in a wave of its own.
pub fn waves(manifest: &Manifest, breakages: &[Breakage]) -> Vec<Vec<usize>> {
    let mut waves: Vec<Wave<'_>> = Vec::new();
    for (index, breakage) in breakages.iter().enumerate() {
        let weight = weight(manifest, breakage);
        let full = waves.len().saturating_sub(LOOKED_AT_MAX);
        match waves[full..].iter_mut().find(|wave| wave.takes(breakage, weight)) {
            Some(wave) => wave.add(index, breakage, weight),
            None => {
                let mut wave = Wave::default();
                wave.add(index, breakage, weight);
                waves.push(wave);
            }
        }
    }
    waves.into_iter().map(|wave| wave.breakages).collect()
}

#[derive(Default)]
struct Wave<'a> {
    breakages: Vec<usize>,
    touched: BTreeSet<(usize, &'a [u8])>,
    weight: usize,
}

impl<'a> Wave<'a> {
    fn takes(&self, breakage: &Breakage, weight: usize) -> bool {
        self.weight + weight <= DIFFERENCES_MAX && breakage.touches().all(|path| self.is_free(breakage.tree, path))
    }

    /// Whether nothing at, above or below `path` is touched.
    fn is_free(&self, tree: usize, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        let mut at_or_above = slashes.chain([path.len()]);
        let stem = [path, b"/"].concat();
        let from = (tree, stem.as_slice());
        let mut below = self.touched.range::<(usize, &[u8]), _>((Bound::Included(&from), Bound::Unbounded));
        !at_or_above.any(|end| self.touched.contains(&(tree, &path[..end])))
            && below.next().is_none_or(|(other, next)| *other != tree || !next.starts_with(&stem))
    }

    fn add(&mut self, index: usize, breakage: &'a Breakage, weight: usize) {
        self.breakages.push(index);
        self.touched.extend(breakage.touches().map(|path| (breakage.tree, path)));
        self.weight += weight;
    }
}

/// How many differences it may make.
fn weight(manifest: &Manifest, breakage: &Breakage) -> usize {
    let entries = &manifest.trees[breakage.tree].entries;
    let at = entries.partition_point(|entry| entry.path < breakage.path);
    let is_dir = entries.get(at).is_some_and(|entry| entry.path == breakage.path && entry.kind == EntryKind::Directory);
    if is_dir && breakage.how == How::Missing {
        let stem = [&breakage.path, &b"/"[..]].concat();
        // Siblings such as `a.b` sort between `a` and `a/`.
        let below = entries.partition_point(|entry| entry.path < stem);
        return 1 + entries[below..].iter().take_while(|entry| entry.path.starts_with(&stem)).count();
    }
    // An entry differs in three ways at most (content, mode, owner), two entries if they were swapped.
    3 * breakage.touches().count()
}

/// Of many waves the last are looked at: the earlier ones are mostly full.
const LOOKED_AT_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Entry, Tree};

    #[test]
    fn none_is_in_the_way_of_another() {
        let mut tree = Tree::new("app", "/app");
        let many = (0..2_000).map(|number| alloc::format!("big/{number:04}"));
        let paths = ["a", "a.b", "a/c", "a/d", "big"].map(alloc::string::String::from).into_iter().chain(many);
        let entry = |path: alloc::string::String| Entry {
            path: path.into_bytes(),
            kind: EntryKind::Directory,
            mode: None,
            owner: None,
        };
        tree.entries = paths.map(entry).collect();
        let manifest =
            Manifest { product: "p".into(), release: "r".into(), sequence: 1, trees: [tree].into(), checks: [].into() };
        let new = |path: &str, how| Breakage { tree: 0, path: path.into(), class: "".into(), how };
        let breakages = [
            new("a", How::Missing),
            new("a/c", How::Missing),
            new("a/d", How::Swapped { with: b"a.b".into() }),
            new("a.b", How::Owner),
            new("big", How::Missing),
            new("big", How::Owner),
            new("big/0001", How::Owner),
        ];
        assert_eq!(waves(&manifest, &breakages), [[0, 3, 5].as_slice(), &[1, 2, 6], &[4]].map(Vec::from));
        let weights: Vec<_> = breakages.iter().map(|breakage| weight(&manifest, breakage)).collect();
        assert_eq!(weights, [3, 1, 6, 3, 2_001, 3, 3]);
        let owners: Vec<_> = (0..500).map(|number| new(&alloc::format!("big/{number:04}"), How::Owner)).collect();
        let sizes: Vec<_> = waves(&manifest, &owners).iter().map(Vec::len).collect();
        assert_eq!(sizes[0], DIFFERENCES_MAX / 3);
        assert_eq!(sizes.iter().sum::<usize>(), owners.len());
    }

    #[test]
    fn trees_are_not_in_the_way_of_each_other() {
        let kind = EntryKind::File { size: 0, sha256: crate::digest::Digest::of(b""), text: None };
        let file = Entry { path: b"a".into(), kind, mode: None, owner: None };
        let tree = Tree { entries: [file].into(), ..Tree::new("app", "/app") };
        let trees = [tree.clone(), tree].into();
        let manifest = Manifest { product: "p".into(), release: "r".into(), sequence: 1, trees, checks: [].into() };
        let new = |tree, path: &str| Breakage { tree, path: path.into(), class: "".into(), how: How::Missing };
        assert_eq!(weight(&manifest, &new(0, "a")), 3, "a file");
        assert_eq!(waves(&manifest, &[new(1, "a/c"), new(0, "a")]), [[0, 1]]);
    }
}
