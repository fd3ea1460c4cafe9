//! What is replaced or removed is kept, so that nothing that somebody typed is lost.

use std::{
    ffi::CStr,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::PathBuf,
};

use rustix::fs::{FileType, Stat};

use super::{
    beneath::{Dir, file_type},
    remember::words,
};

/// A folder of ours that things are kept in.
#[derive(Debug)]
pub(crate) struct Keeper {
    dir: PathBuf,
    /// Whether what cannot be kept stays where it is.
    must: bool,
    bytes_left: u64,
}

impl Keeper {
    /// Keeps below `dir`, made when it is needed.
    pub(crate) fn new(dir: PathBuf, must: bool) -> Self {
        Self { dir, must, bytes_left: BYTES_MAX }
    }

    /// Keeps a thing that is to go; why it could not be kept, where it goes all the same. The error says why it may not go.
    pub(crate) fn keep(
        &mut self,
        dir: &Dir,
        name: &CStr,
        stat: &Stat,
        tree: &str,
        path: &[u8],
    ) -> Result<Option<String>, String> {
        let kept = match file_type(stat) {
            FileType::RegularFile => self.file(dir, name, stat, tree, path),
            FileType::Symlink => self.link(dir, name, tree, path),
            _ => Ok(()),
        };
        match kept {
            Ok(()) => Ok(None),
            Err(because) if self.must => Err(format!("left as it is, as it cannot be kept: {because}")),
            Err(because) => Ok(Some(because)),
        }
    }

    fn file(&mut self, dir: &Dir, name: &CStr, stat: &Stat, tree: &str, path: &[u8]) -> Result<(), String> {
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > self.bytes_left {
            return Err(format!("no more than {} MiB are kept", BYTES_MAX >> 20));
        }
        let from = dir.file(name).map_err(words)?;
        let copied = self.place(tree, path).and_then(|place| {
            let mut to = OpenOptions::new().create_new(true).write(true).mode(0o600).open(place)?;
            io::copy(&mut from.take(size), &mut to)?;
            to.sync_all()
        });
        self.bytes_left -= size;
        copied.map_err(|error| error.to_string())
    }

    fn link(&self, dir: &Dir, name: &CStr, tree: &str, path: &[u8]) -> Result<(), String> {
        let target = dir.target(name).map_err(words)?;
        let place = self.place(tree, path).map_err(|error| error.to_string())?;
        std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), place).map_err(|error| error.to_string())
    }

    /// A path that is free; nobody but us can write there.
    fn place(&self, tree: &str, path: &[u8]) -> io::Result<PathBuf> {
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        let whole = self.dir.join(format!("tree {}", tree.replace('/', "_"))).join(path);
        let parent = whole.parent().unwrap_or(&self.dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let numbered = |number: u32| {
            let mut name = whole.as_os_str().to_owned();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            PathBuf::from(name)
        };
        let free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        (0..NUMBERS_MAX).map(numbered).find(free).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }
}

/// Configuration that people typed is far smaller.
const BYTES_MAX: u64 = 64 << 20;
const NUMBERS_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is put back twice was edited twice: both are kept.
    #[test]
    fn nothing_takes_the_place_of_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        let mut keeper = Keeper::new(real.join("kept"), false);
        for content in ["one", "two"] {
            fs::write(real.join("file"), content).unwrap();
            let root = Dir::root(&real).unwrap();
            let stat = root.stat(c"file").unwrap();
            assert_eq!(keeper.keep(&root, c"file", &stat, "a/b", b"file"), Ok(None));
        }
        let kept = |name: &str| fs::read_to_string(real.join("kept/tree a_b").join(name)).unwrap();
        assert_eq!((kept("file"), kept("file.1")), ("one".into(), "two".into()));
    }
}
