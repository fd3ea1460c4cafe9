//! Which program a name is, and whether only root can have put it there.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
};

/// Where programs are looked for, whatever the agent's own environment says.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program is not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecutableError {
    #[error("`{name}` is not in {PATH}")]
    NotInPath { name: String },
    #[error("`{name}` is neither a plain name nor an absolute path")]
    Relative { name: String },
    #[error("`{}`: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("`{}` is not owned by root", .path.display())]
    NotRoots { path: PathBuf },
    #[error("`{}` can be written by others than root", .path.display())]
    Writable { path: PathBuf },
    #[error("`{}` is no executable file", .path.display())]
    NotExecutable { path: PathBuf },
    #[error("`{name}` has too many symlinks on its way")]
    TooManyLinks { name: String },
}

/// The real path of the program `name`, every step to which only root can change. Then nobody else can swap it between
/// this look and its start.
pub(crate) fn find(name: &str) -> Result<String, ExecutableError> {
    let path = located(name)?;
    let real = trusted(name, &path)?;
    let metadata = look(&real)?;
    let real = real.into_os_string().into_string();
    match real {
        Ok(real) if metadata.is_file() && metadata.mode() & 0o111 != 0 => Ok(real),
        Ok(real) => Err(ExecutableError::NotExecutable { path: real.into() }),
        Err(real) => Err(ExecutableError::NotExecutable { path: real.into() }),
    }
}

fn located(name: &str) -> Result<PathBuf, ExecutableError> {
    match name {
        _ if name.starts_with('/') => Ok(name.into()),
        _ if name.is_empty() || name.contains('/') => Err(ExecutableError::Relative { name: name.into() }),
        _ => PATH
            .split(':')
            .map(|directory| Path::new(directory).join(name))
            .find(|path| fs::metadata(path).is_ok_and(|found| found.is_file()))
            .ok_or_else(|| ExecutableError::NotInPath { name: name.into() }),
    }
}

/// Walks to `path` component by component, as the kernel would, and looks at each: a directory that others can write is
/// no safe place for a symlink either.
fn trusted(name: &str, path: &Path) -> Result<PathBuf, ExecutableError> {
    let mut done = PathBuf::from("/");
    check(&done, &look(&done)?)?;
    let mut todo = components(path);
    let mut links = 0;
    while let Some(next) = todo.pop() {
        if next == ".." {
            done.pop();
            continue;
        }
        let at = done.join(&next);
        let metadata = look(&at)?;
        if metadata.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(ExecutableError::TooManyLinks { name: name.into() });
            }
            let target = fs::read_link(&at).map_err(|error| ExecutableError::Unreadable { path: at, error })?;
            if target.is_absolute() {
                done = "/".into();
            }
            todo.extend(components(&target));
        } else {
            check(&at, &metadata)?;
            done = at;
        }
    }
    Ok(done)
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

fn look(path: &Path) -> Result<fs::Metadata, ExecutableError> {
    fs::symlink_metadata(path).map_err(|error| ExecutableError::Unreadable { path: path.into(), error })
}

fn check(path: &Path, metadata: &fs::Metadata) -> Result<(), ExecutableError> {
    debug_assert!(path.as_os_str().as_bytes().starts_with(b"/"), "every step is absolute");
    let by_group = metadata.mode() & 0o020 != 0 && metadata.gid() != 0;
    match metadata {
        _ if metadata.uid() != 0 => Err(ExecutableError::NotRoots { path: path.into() }),
        _ if by_group || metadata.mode() & 0o002 != 0 => Err(ExecutableError::Writable { path: path.into() }),
        _ => Ok(()),
    }
}

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_root_put_there() {
        let shell = find("sh").unwrap();
        assert!(!Path::new(&shell).is_symlink() && shell.starts_with('/'), "{shell}");
        assert_eq!(find(&shell).unwrap(), shell);
    }

    #[test]
    fn refuses() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("sh");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        let cases = [
            ("no-such-program-anywhere", "is not in"),
            ("bin/sh", "neither a plain name"),
            ("", "neither a plain name"),
            ("/usr", "is no executable file"),
            ("/etc/passwd", "is no executable file"),
            ("/etc/passwd/x", "Not a directory"),
            // The symlink lies in a directory that anyone can write: whoever wrote it, we do not follow.
            (link.to_str().unwrap(), "can be written by others than root"),
        ];
        for (name, reason) in cases {
            let error = find(name).unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }
}
