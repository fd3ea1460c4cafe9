//! Remembering trees: everything in them that is not ignored is listed, and the content of its files copied, before anything
//! is changed. Copies are real ones (or share blocks where the file system can): a hard link would change along with a file
//! that is edited in place.

use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    io::{self, BufWriter, Read as _, Seek as _, Write as _},
    path::Path,
};

use portcullis::{glob::Ignore, text};
use rustix::{
    fs::{FileType, Stat},
    io::Errno,
};

use super::{
    attributes,
    beneath::{DEPTH_MAX, Dir, file_type},
    journal::{COPIES, KeptTree, LISTINGS},
    listing::{self, Bytes, Content, Kind, Wanted},
};

/// What may be remembered at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of all files together.
    pub bytes_max: u64,
    /// Of things in all trees.
    pub entries_max: usize,
}

/// Why trees cannot be remembered: nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RememberError {
    /// Something in a tree.
    #[error("tree `{}`: `{path}`: {because}", text::visible(tree))]
    Tree {
        /// Which tree.
        tree: String,
        /// Relative to its root.
        path: String,
        /// What is in the way.
        because: String,
    },
    /// More than allowed.
    #[error("the managed trees have more than {max} {what}: ignore what no change is about, or raise `apply.{key}`")]
    TooMuch {
        /// Entries or bytes.
        what: &'static str,
        /// How many are allowed.
        max: u64,
        /// Where that is set.
        key: &'static str,
    },
    /// Not enough room.
    #[error("{needed} bytes are to be remembered, and the file system of `{dir}` has {free} to spare")]
    NoRoom {
        /// How many it would take.
        needed: u64,
        /// How many there are, without what is kept free.
        free: u64,
        /// Where.
        dir: String,
    },
    /// The copies could not be written.
    #[error("cannot write to `{dir}`: {error}")]
    Write {
        /// Where.
        dir: String,
        /// Why not.
        error: io::Error,
    },
}

/// Lists and copies all `trees` below `dir`, and brings it to the disk.
pub(crate) fn remember(trees: &[KeptTree], dir: &Path, limits: Limits) -> Result<(), RememberError> {
    survey(trees, dir, limits)?;
    let failed = |error| RememberError::Write { dir: dir.display().to_string(), error };
    fs::create_dir(dir.join(COPIES)).map_err(failed)?;
    fs::create_dir(dir.join(LISTINGS)).map_err(failed)?;
    let mut left = Left { entries: limits.entries_max, bytes: limits.bytes_max, limits };
    let mut number = 0;
    for (index, tree) in trees.iter().enumerate() {
        let out = File::create_new(dir.join(LISTINGS).join(index.to_string())).map_err(failed)?;
        let mut copier = Copier { dir, out: BufWriter::new(out), number };
        let mut walk = Walk::new(tree, &mut left)?;
        walk.all(&mut |found| copier.keep(found))?;
        copier.out.flush().map_err(failed)?;
        number = copier.number;
    }
    // One call for all of them: a hundred thousand single ones would take minutes.
    File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(dir)?)).map_err(failed)
}

/// Whether all that fits, before the first byte is copied.
fn survey(trees: &[KeptTree], dir: &Path, limits: Limits) -> Result<(), RememberError> {
    let mut left = Left { entries: limits.entries_max, bytes: limits.bytes_max, limits };
    for tree in trees {
        Walk::new(tree, &mut left)?.all(&mut |_| Ok(()))?;
    }
    let failed = |error| RememberError::Write { dir: dir.display().to_string(), error };
    let room = File::open(dir).and_then(|dir| Ok(rustix::fs::fstatvfs(dir)?)).map_err(failed)?;
    let entries = (limits.entries_max - left.entries) as u64;
    let needed = (limits.bytes_max - left.bytes).saturating_add(entries.saturating_mul(ENTRY_BYTES));
    let free = room.f_bavail.saturating_mul(room.f_frsize).saturating_sub(RESERVE_BYTES);
    if needed > free {
        return Err(RememberError::NoRoom { needed, free, dir: dir.display().to_string() });
    }
    Ok(())
}

struct Left {
    entries: usize,
    bytes: u64,
    limits: Limits,
}

impl Left {
    fn take(&mut self, bytes: u64) -> Result<(), RememberError> {
        self.entries = self.entries.checked_sub(1).ok_or_else(|| too_many(self.limits))?;
        let too_large = RememberError::TooMuch { what: "bytes", max: self.limits.bytes_max, key: "bytes_max" };
        self.bytes = self.bytes.checked_sub(bytes).ok_or(too_large)?;
        Ok(())
    }
}

fn too_many(limits: Limits) -> RememberError {
    RememberError::TooMuch { what: "entries", max: limits.entries_max as u64, key: "entries_max" }
}

/// Something that is there; its own directory for a directory.
struct Found<'a> {
    path: &'a [u8],
    parent: &'a Dir,
    name: &'a CStr,
    stat: Stat,
}

type Visitor<'a> = dyn FnMut(&Found<'_>) -> Result<(), String> + 'a;

struct Walk<'a> {
    tree: &'a KeptTree,
    root: Dir,
    ignore: Ignore,
    left: &'a mut Left,
    path: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(tree: &'a KeptTree, left: &'a mut Left) -> Result<Self, RememberError> {
        let wrong = |because: String| RememberError::Tree { tree: tree.name.clone(), path: ".".into(), because };
        let ignore = Ignore::new(&tree.ignore).map_err(|error| wrong(error.to_string()))?;
        let root = Dir::root(&tree.real).map_err(|error| match error {
            Errno::NOSYS | Errno::PERM => wrong("this kernel cannot keep us inside: Linux 5.6 is needed".into()),
            error => wrong(format!("its root `{}` cannot be opened: {}", tree.real.display(), words(error))),
        })?;
        Ok(Self { tree, root, ignore, left, path: Vec::new() })
    }

    fn all(&mut self, visit: &mut Visitor<'_>) -> Result<(), RememberError> {
        let root = self.root.directory(c".").map_err(|error| self.wrong(words(error)))?;
        self.one(&root, c".", visit)?;
        self.below(&root, 0, visit)
    }

    fn wrong(&self, because: String) -> RememberError {
        let path = if self.path.is_empty() { ".".into() } else { text::escape(&self.path) };
        RememberError::Tree { tree: self.tree.name.clone(), path, because }
    }

    /// Whether to look into it.
    fn one(&mut self, parent: &Dir, name: &CStr, visit: &mut Visitor<'_>) -> Result<bool, RememberError> {
        let stat = match parent.stat(name) {
            // Gone since it was listed.
            Err(Errno::NOENT) => return Ok(false),
            stat => stat.map_err(|error| self.wrong(words(error)))?,
        };
        let is_dir = file_type(&stat) == FileType::Directory;
        if !self.path.is_empty() && self.ignore.matches(&self.path, is_dir) {
            return Ok(false);
        }
        let bytes =
            if file_type(&stat) == FileType::RegularFile { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        self.left.take(bytes)?;
        visit(&Found { path: &self.path, parent, name, stat }).map_err(|because| self.wrong(because))?;
        Ok(is_dir)
    }

    fn below(&mut self, directory: &Dir, depth: usize, visit: &mut Visitor<'_>) -> Result<(), RememberError> {
        let names = directory.names(self.left.entries).map_err(|error| match error {
            Errno::OVERFLOW => too_many(self.left.limits),
            error => self.wrong(words(error)),
        })?;
        let stem = self.path.len();
        for name in names {
            extend(&mut self.path, stem, &name);
            if self.one(directory, &name, visit)? {
                if depth + 1 >= DEPTH_MAX {
                    return Err(self.wrong(format!("more than {DEPTH_MAX} directories deep")));
                }
                let inner = directory.directory(&name).map_err(|error| self.wrong(words(error)))?;
                self.below(&inner, depth + 1, visit)?;
            }
        }
        self.path.truncate(stem);
        Ok(())
    }
}

/// Puts `name` behind the first `stem` bytes of a path.
pub(crate) fn extend(path: &mut Vec<u8>, stem: usize, name: &CString) {
    path.truncate(stem);
    if stem > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
}

struct Copier<'a> {
    dir: &'a Path,
    out: BufWriter<File>,
    number: u64,
}

impl Copier<'_> {
    fn keep(&mut self, found: &Found<'_>) -> Result<(), String> {
        let wanted = self.wanted(found)?;
        listing::write(&mut self.out, found.path, &wanted).map_err(|error| error.to_string())
    }

    fn wanted(&mut self, found: &Found<'_>) -> Result<Wanted, String> {
        match file_type(&found.stat) {
            FileType::Directory => {
                let directory = found.parent.directory(found.name).map_err(words)?;
                attributes::of(&directory, &found.stat).map_err(words)
            }
            FileType::RegularFile => self.file(found),
            FileType::Symlink => {
                let target = found.parent.target(found.name).map_err(words)?;
                // Linux has no modes of links.
                Ok(Wanted { kind: Kind::Link(Bytes(target)), mode: None, ..attributes::of_stat(&found.stat) })
            }
            _ => Ok(Wanted { kind: Kind::Other, ..attributes::of_stat(&found.stat) }),
        }
    }

    fn file(&mut self, found: &Found<'_>) -> Result<Wanted, String> {
        let mut from = found.parent.file(found.name).map_err(words)?;
        let path = self.dir.join(COPIES).join(self.number.to_string());
        let mut to = File::options().create_new(true).read(true).write(true).open(path).map_err(|e| e.to_string())?;
        for _ in 0..COPY_TRIES {
            let before = rustix::fs::fstat(&from).map_err(words)?;
            let copied = copy(&mut from, &mut to).map_err(|error| error.to_string())?;
            let after = rustix::fs::fstat(&from).map_err(words)?;
            if stamp(&before) == stamp(&after) && u64::try_from(after.st_size) == Ok(copied) {
                let content = Content::Copy { number: self.number, size: copied };
                self.number += 1;
                let attributes = attributes::of(&from, &after).map_err(words)?;
                return Ok(Wanted { kind: Kind::File(content), ..attributes });
            }
        }
        Err("changed while it was remembered: ignore it, or stop what writes to it".into())
    }
}

/// All of it, over what is there; how many bytes.
fn copy(from: &mut File, to: &mut File) -> io::Result<u64> {
    to.set_len(0)?;
    to.rewind()?;
    if rustix::fs::ioctl_ficlone(&*to, &*from).is_ok() {
        return Ok(to.metadata()?.len());
    }
    from.rewind()?;
    // Bounded: what grows faster than it is copied has changed, and ends here.
    let size = from.metadata()?.len();
    io::copy(&mut from.take(size), to)
}

fn stamp(stat: &Stat) -> impl PartialEq + use<> {
    (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
}

/// An error of the kernel, as people say it.
pub(crate) fn words(error: Errno) -> String {
    match error {
        Errno::XDEV => "something is mounted there: make it a tree of its own, and ignore it in this one".into(),
        error => {
            let words = error.to_string();
            words.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

/// What writes to a file more often than this writes all the time.
const COPY_TRIES: u32 = 5;
/// A block for each file, and its line in the listing.
const ENTRY_BYTES: u64 = 4_608;
/// Left free, so that the change itself and its undoing have room as well.
const RESERVE_BYTES: u64 = 16 << 20;
