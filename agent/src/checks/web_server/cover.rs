//! Whether a file is what a tree of the manifest lists: by its real path, and with every symlink on the way.
//!
//! The trees have passed when this is asked, so what is listed is as signed. A link counts as much as what it leads to:
//! whoever can turn it can put another file there.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use portcullis::{
    manifest::{Entry, EntryKind, Manifest, Tree},
    text,
};

/// The trees, by where their roots really are.
pub(super) struct Trees<'a> {
    roots: Vec<(PathBuf, &'a Tree)>,
    /// Links that lead to roots: each tree was read through its own.
    links: BTreeSet<PathBuf>,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Every link on the way, without links in its own path.
    pub(super) links: Vec<PathBuf>,
    /// Where it ends.
    pub(super) real: PathBuf,
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

/// Walks to `path` as the kernel would.
pub(super) fn way(path: &Path) -> io::Result<Way> {
    let (mut links, mut real) = (Vec::new(), PathBuf::from("/"));
    let mut todo = components(path);
    while let Some(next) = todo.pop() {
        if next == ".." {
            real.pop();
            continue;
        }
        real.push(&next);
        if fs::symlink_metadata(&real)?.is_symlink() {
            if links.len() >= LINKS_MAX {
                return Err(io::Error::other("too many symlinks on its way"));
            }
            let target = fs::read_link(&real)?;
            links.push(real.clone());
            real.pop();
            if target.is_absolute() {
                real = "/".into();
            }
            todo.extend(components(&target));
        }
    }
    Ok(Way { links, real })
}

/// Last first, without the root.
fn components(path: &Path) -> Vec<OsString> {
    let named = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(named).collect()
}

pub(super) fn shown(path: &Path) -> String {
    text::escape(path.as_os_str().as_bytes())
}

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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

    #[test]
    fn circles_end() {
        let directory = tempfile::tempdir().unwrap();
        symlink("a", directory.path().join("a")).unwrap();
        assert!(way(&directory.path().join("a")).is_err());
    }
}
