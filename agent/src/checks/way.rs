//! Where a path leads, and what on the way there could be turned.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Where a path leads. Nothing of it has links in its own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Every link on the way.
    pub(super) links: Vec<PathBuf>,
    /// Every directory on the way, but those at the top (`/`, `/etc`): nobody puts others in their place, while whoever
    /// installs anything may touch them.
    pub(super) directories: Vec<PathBuf>,
    /// Where it ends.
    pub(super) real: PathBuf,
}

impl Way {
    /// What tells by its own time that it was turned or written.
    pub(super) fn ends(&self) -> impl Iterator<Item = &Path> {
        self.links.iter().chain([&self.real]).map(PathBuf::as_path)
    }
}

/// Walks to `path` as the kernel would.
pub(super) fn way(path: &Path) -> io::Result<Way> {
    let (mut links, mut directories, mut real) = (Vec::new(), Vec::new(), PathBuf::from("/"));
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
        } else if !todo.is_empty() && real.components().count() > TOP {
            directories.push(real.clone());
        }
    }
    Ok(Way { links, directories, real })
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

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

/// Components of `/etc`.
const TOP: usize = 2;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_passed() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("releases/1/conf")).unwrap();
        fs::write(at("releases/1/conf/a"), "").unwrap();
        symlink("releases/1", at("current")).unwrap();
        let found = way(&at("current/conf/a")).unwrap();
        assert_eq!(found.links, [at("current")]);
        assert_eq!(found.real, at("releases/1/conf/a"));
        let passed = [base.clone(), at("releases"), at("releases/1"), at("releases/1/conf")];
        assert_eq!(found.directories, passed);
        assert!(way(Path::new("/etc/passwd")).unwrap().directories.is_empty());
    }

    #[test]
    fn circles_end() {
        let directory = tempfile::tempdir().unwrap();
        symlink("a", directory.path().join("a")).unwrap();
        assert!(way(&directory.path().join("a")).is_err());
    }
}
