//! Whether a file is what a tree of the manifest lists: by its real path, and with every symlink on the way.
//!
//! The trees have passed when this is asked, so what is listed is as signed. A link counts as much as what it leads to:
//! whoever can turn it can put another file there.

use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use portcullis::{
    manifest::{Entry, EntryKind, Manifest, Tree},
    text,
};

use crate::checks::way::{Way, way};

/// The trees, by where their roots really are.
pub(super) struct Trees<'a> {
    roots: Vec<(PathBuf, &'a Tree)>,
    /// Links that lead to roots: each tree was read through its own.
    links: BTreeSet<PathBuf>,
}

impl<'a> Trees<'a> {
    pub(super) fn new(manifest: &'a Manifest) -> Self {
        let (mut roots, mut links) = (Vec::new(), BTreeSet::new());
        for tree in &manifest.trees {
            // A root that is not there has no files.
            if let Ok(way) = way(Path::new(&tree.root)) {
                links.extend(way.links);
                roots.push((way.real, tree));
            }
        }
        Self { roots, links }
    }

    /// What on the way to a file is not covered, for people: `None` when all is.
    pub(super) fn uncovered(&self, way: &Way) -> Option<String> {
        let is_link = |kind: &EntryKind| matches!(kind, EntryKind::Link { .. });
        let is_file = |kind: &EntryKind| matches!(kind, EntryKind::File { .. } | EntryKind::Template { .. });
        let links = way.links.iter().filter(|link| !self.links.contains(*link));
        links.map(|link| (link, "link ")).find_map(|(link, what)| self.missing(link, what, is_link)).or_else(|| {
            self.missing(&way.real, "", is_file).map(|missing| match way.links.last() {
                Some(link) => format!("{missing} (by the link `{}`)", shown(link)),
                None => missing,
            })
        })
    }

    fn missing(&self, path: &Path, what: &str, is_right: impl Fn(&EntryKind) -> bool) -> Option<String> {
        let mut around = None;
        for (root, tree) in &self.roots {
            let Ok(below) = path.strip_prefix(root) else { continue };
            if entry(tree, below.as_os_str().as_bytes()).is_some_and(|entry| is_right(&entry.kind)) {
                return None;
            }
            around = Some(tree);
        }
        let path = shown(path);
        Some(match around {
            Some(tree) => format!("{what}`{path}`, which tree `{}` does not list", text::visible(&tree.name)),
            None => format!("{what}`{path}`, outside every tree"),
        })
    }
}

fn entry<'a>(tree: &'a Tree, path: &[u8]) -> Option<&'a Entry> {
    let found = tree.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path));
    found.ok().map(|index| &tree.entries[index])
}

pub(super) fn shown(path: &Path) -> String {
    text::escape(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use portcullis::tree::{self, NoProgress};

    use super::*;

    /// `conf/` in a tree, with `here`, links to all, and `unlisted`, which came later; `other/there` outside.
    fn trees_say(path: &str) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(directory.path()).unwrap().join(name);
        fs::create_dir_all(at("conf/d")).unwrap();
        fs::create_dir(at("other")).unwrap();
        fs::write(at("conf/here"), "").unwrap();
        fs::write(at("other/there"), "").unwrap();
        for (target, link) in [
            ("../here", "conf/d/to-here"),
            ("to-here", "conf/d/to-link"),
            ("../../other/there", "conf/d/to-there"),
            ("../../other/back", "conf/d/to-back"),
            ("../conf/here", "other/back"),
            ("conf", "root"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        let mut tree = Tree::new("nginx", at("root").to_str().unwrap());
        tree.entries = tree::read(&tree, &at("conf"), &NoProgress).unwrap();
        fs::write(at("conf/unlisted"), "").unwrap();
        let (product, release) = ("shop".to_string(), "1".to_string());
        let manifest = Manifest { product, release, sequence: 1, trees: vec![tree], checks: Vec::new() };
        let said = Trees::new(&manifest).uncovered(&way(&at(path)).unwrap());
        said.map(|said| said.replace(at("").to_str().unwrap(), "/"))
    }

    #[test]
    fn table() {
        for (path, said) in [
            ("conf/here", None),
            ("root/here", None),
            ("conf/d/../here", None),
            ("conf/d/to-here", None),
            ("conf/d/to-link", None),
            ("conf/unlisted", Some("`/conf/unlisted`, which tree `nginx` does not list")),
            ("conf/d", Some("`/conf/d`, which tree `nginx` does not list")),
            ("other/there", Some("`/other/there`, outside every tree")),
            ("conf/d/to-there", Some("`/other/there`, outside every tree (by the link `/conf/d/to-there`)")),
            // It ends in the tree, but somebody outside says where.
            ("conf/d/to-back", Some("link `/other/back`, outside every tree")),
        ] {
            assert_eq!(trees_say(path).as_deref(), said, "{path}");
        }
    }
}
