//! Putting a tree back as a listing wants it: content, mode, owner, times, extended attributes, links; what was deleted comes
//! back, what was added goes, what became something else becomes what it was.
//!
//! Each file is replaced whole or not at all (a draft beside it, on the disk, then a rename), so that whoever reads it meanwhile,
//! or after a crash, has the old one or the new one. Done twice it changes nothing the second time: an undoing that was cut
//! short is simply begun again. Nothing that is ignored is touched, and nothing outside of the root.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read, Write as _},
    path::Path,
};

use portcullis::{glob::Ignore, text};
use rustix::{
    fs::{AtFlags, FileType, Gid, Stat, Uid},
    io::Errno,
};

use super::{
    attributes,
    beneath::{DEPTH_MAX, Dir, file_type},
    journal::COPIES,
    keep::Keeper,
    listing::{Bytes, Content, Kind, Node, Wanted},
    remember::{extend, words},
};

/// What is to be put back where.
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    /// Its root, without symlinks.
    pub(crate) real: &'a Path,
    pub(crate) ignore: &'a Ignore,
    /// Whether what is not listed goes.
    pub(crate) removes_extras: bool,
    pub(crate) wanted: &'a Node,
    /// Where copies of contents are.
    pub(crate) dir: &'a Path,
}

/// What was done, for people.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// At most [`LINES_MAX`] of what was done.
    pub(crate) lines: Vec<String>,
    /// How much was done, listed or not.
    pub(crate) total: u64,
    /// At most [`NOTES_MAX`] of what stays though it was added, and of what goes and is not kept.
    pub(crate) notes: Vec<String>,
    /// At most [`LINES_MAX`] of what could not be done.
    pub(crate) troubles: Vec<String>,
}

impl Changes {
    fn did(&mut self, line: String) {
        self.total += 1;
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        }
    }

    /// Each once: what stays is met by every pass.
    pub(crate) fn note(&mut self, line: String) {
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    pub(crate) fn trouble(&mut self, line: String) {
        if self.troubles.len() < LINES_MAX {
            self.troubles.push(line);
        }
    }
}

/// Puts one tree back.
pub(crate) fn put_back(target: &Target<'_>, keeper: &mut Keeper, changes: &mut Changes) {
    let mut work = Work { target, keeper, changes, path: Vec::new(), spared: None };
    match super::root::open(target.real) {
        Ok((root, was_replaced)) => {
            if was_replaced {
                work.did("the root itself made anew; what was in its place is beside it");
            }
            work.below(&root, target.wanted, 0);
        }
        Err(because) => work.trouble(&because),
    }
}

struct Work<'a> {
    target: &'a Target<'a>,
    keeper: &'a mut Keeper,
    changes: &'a mut Changes,
    path: Vec<u8>,
    /// What was met last that is ignored.
    spared: Option<Vec<u8>>,
}

/// Of one name.
type Done = Result<(), String>;

impl Work<'_> {
    fn shown(&self) -> String {
        let path = if self.path.is_empty() { ".".into() } else { text::escape(&self.path) };
        format!("{}: {path}", text::visible(self.target.name))
    }

    fn did(&mut self, what: &str) {
        let line = format!("{}: {what}", self.shown());
        self.changes.did(line);
    }

    fn trouble(&mut self, because: &str) {
        let line = format!("{}: {because}", self.shown());
        self.changes.trouble(line);
    }

    fn note(&mut self, what: &str) {
        let line = format!("{}: {what}", self.shown());
        self.changes.note(line);
    }

    fn told(&mut self, done: Done) {
        if let Err(because) = done {
            self.trouble(&because);
        }
    }

    /// All in a directory, then the directory itself: making and removing names changes its times.
    fn below(&mut self, dir: &Dir, node: &Node, depth: usize) {
        if depth >= DEPTH_MAX {
            return self.trouble("more directories deep than are looked into");
        }
        let stem = self.path.len();
        let before = self.changes.total;
        if self.target.removes_extras {
            self.extras(dir, node, stem);
        }
        for (name, child) in &node.children {
            let Ok(name) = CString::new(name.as_slice()) else { continue };
            extend(&mut self.path, stem, &name);
            let done = self.one(dir, &name, child, depth);
            self.told(done);
        }
        self.path.truncate(stem);
        if self.changes.total > before {
            let synced = dir.sync().map_err(words);
            self.told(synced);
        }
        let done = self.attributes(dir, &node.wanted);
        self.told(done);
    }

    /// What is there and not listed goes.
    fn extras(&mut self, dir: &Dir, node: &Node, stem: usize) {
        let names = match dir.names(NAMES_MAX) {
            Ok(names) => names,
            Err(error) => return self.trouble(&words(error)),
        };
        for name in names.iter().filter(|name| !node.children.contains_key(name.to_bytes())) {
            extend(&mut self.path, stem, name);
            let done = self.extra(dir, name, 0);
            self.told(done);
        }
        self.path.truncate(stem);
    }

    fn extra(&mut self, dir: &Dir, name: &CStr, depth: usize) -> Done {
        let stat = match dir.stat(name) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(words)?,
        };
        if self.target.ignore.matches(&self.path, file_type(&stat) == FileType::Directory) {
            self.spared = Some(self.path.clone());
            return Ok(());
        }
        if name == DRAFT && file_type(&stat) != FileType::Directory {
            // Ours: of an undoing that was cut short.
            return dir.unlink(name).map_err(words);
        }
        self.spared = None;
        if self.remove(dir, name, &stat, depth)? {
            self.did("removed, it was not there");
        } else if let Some(spared) = self.spared.clone() {
            self.note(&format!("stays, though it was not there: `{}` in it is ignored", text::escape(&spared)));
        }
        Ok(())
    }

    /// Keeps what is to go, or tells that it is lost.
    fn keep(&mut self, dir: &Dir, name: &CStr, stat: &Stat) -> Done {
        if let Some(because) = self.keeper.keep(dir, name, stat, self.target.name, &self.path)? {
            self.note(&format!("what was there is lost: {because}"));
        }
        Ok(())
    }

    /// Removes whatever is there, but for what is ignored; whether it is gone.
    fn remove(&mut self, dir: &Dir, name: &CStr, stat: &Stat, depth: usize) -> Result<bool, String> {
        if file_type(stat) != FileType::Directory {
            self.keep(dir, name, stat)?;
            return dir.unlink(name).map(|()| true).map_err(words);
        }
        if depth >= DEPTH_MAX {
            return Err("more directories deep than are looked into".into());
        }
        let inner = dir.directory(name).map_err(words)?;
        let stem = self.path.len();
        for name in inner.names(NAMES_MAX).map_err(words)? {
            extend(&mut self.path, stem, &name);
            let done = self.extra(&inner, &name, depth + 1);
            self.told(done);
        }
        self.path.truncate(stem);
        match dir.rmdir(name) {
            Err(Errno::NOTEMPTY) => Ok(false),
            done => done.map(|()| true).map_err(words),
        }
    }

    fn one(&mut self, dir: &Dir, name: &CStr, node: &Node, depth: usize) -> Done {
        let found = match dir.stat(name) {
            Err(Errno::NOENT) => None,
            stat => Some(stat.map_err(words)?),
        };
        let is_right = |stat: &&Stat| kind_of(&node.wanted.kind).is_none_or(|kind| kind == file_type(stat));
        let right = found.as_ref().filter(is_right);
        if matches!(node.wanted.kind, Kind::Other | Kind::File(Content::NotKept)) {
            return self.not_kept(&node.wanted, found.as_ref());
        }
        if let (Some(wrong), None) = (&found, right)
            && !self.remove(dir, name, wrong, depth)?
        {
            return Err("became a directory, and what is ignored in it is in the way".into());
        }
        match &node.wanted.kind {
            Kind::Directory => self.directory(dir, name, node, right.is_some(), depth),
            Kind::File(content) => self.file(dir, name, content, &node.wanted, right),
            Kind::Link(target) => self.link(dir, name, target, &node.wanted, right),
            Kind::Other => Ok(()),
        }
    }

    /// What nobody kept can only be told. Of a file somebody must bring the content; a socket, FIFO or device is made again by
    /// whoever made it, and to wait for that would keep this change open for ever.
    fn not_kept(&mut self, wanted: &Wanted, found: Option<&Stat>) -> Done {
        match (&wanted.kind, found) {
            (Kind::Other, None) => self.note("was a socket, FIFO or device, and is gone: it cannot be put back"),
            (Kind::Other, Some(stat)) if is_plain(stat) => {
                self.note("was a socket, FIFO or device, and is something else now: it cannot be put back");
            }
            (_, None) => return Err("is gone, and its content was not kept: it cannot be put back".into()),
            _ => {}
        }
        Ok(())
    }

    fn directory(&mut self, dir: &Dir, name: &CStr, node: &Node, is_there: bool, depth: usize) -> Done {
        if !is_there {
            dir.mkdir(name).map_err(words)?;
            self.did("directory back");
        }
        let inner = dir.directory(name).map_err(words)?;
        if !is_there {
            attributes::give(&inner, &defaults(&node.wanted, dir, DIRECTORY_MODE)?).map_err(words)?;
        }
        self.below(&inner, node, depth + 1);
        Ok(())
    }

    fn file(&mut self, dir: &Dir, name: &CStr, content: &Content, wanted: &Wanted, right: Option<&Stat>) -> Done {
        let Some(stat) = right else {
            self.draft(dir, name, content, &defaults(wanted, dir, FILE_MODE)?)?;
            self.did("back, it was gone or something else");
            return Ok(());
        };
        let mut is = dir.file(name).map_err(words)?;
        let same = is_same(&mut is, stat, content, self.target.dir).map_err(|error| error.to_string())?;
        if same && stat.st_nlink == 1 {
            return self.attributes(&is, wanted);
        }
        // What else is a name of the same thing, perhaps outside of the tree, is nobody's to change.
        if same && attributes::agree(&is, stat, wanted).map_err(words)? {
            return Ok(());
        }
        let there = attributes::of(&is, stat).map_err(words)?;
        if !same {
            self.keep(dir, name, stat)?;
        }
        self.draft(dir, name, content, &Wanted { modified: wanted.modified, ..filled(wanted, &there) })?;
        self.did("content put back");
        Ok(())
    }

    fn attributes(&mut self, open: impl std::os::fd::AsFd, wanted: &Wanted) -> Done {
        let before = rustix::fs::fstat(&open).map_err(words)?;
        if attributes::agree(&open, &before, wanted).map_err(words)? {
            return Ok(());
        }
        let was = attributes::of(&open, &before).map_err(words)?;
        attributes::give(&open, wanted).map_err(words)?;
        let after = rustix::fs::fstat(&open).map_err(words)?;
        if !attributes::agree(&open, &after, wanted).map_err(words)? {
            // Another pass would not help either.
            self.note("not all of its attributes can be put back");
        } else if !attributes::same(&wanted.mode, &was.mode) || !attributes::same(&wanted.owner, &was.owner) {
            self.did("mode or owner put back");
        } else if !attributes::same(&wanted.attributes, &was.attributes) {
            self.did("extended attributes put back");
        } else if file_type(&before) != FileType::Directory {
            // Those of a directory follow from what was done to its names.
            self.did("times put back");
        }
        Ok(())
    }

    fn link(&mut self, dir: &Dir, name: &CStr, target: &Bytes, wanted: &Wanted, right: Option<&Stat>) -> Done {
        let same_target = right.is_some() && dir.target(name).map_err(words)? == target.0;
        // The link itself has no mode; whether it is right otherwise is seen without opening it.
        let is = right.map(attributes::of_stat).unwrap_or_default();
        let same = attributes::same(&wanted.owner, &is.owner) && attributes::same(&wanted.modified, &is.modified);
        if same_target && same {
            return Ok(());
        }
        if let Some(stat) = right.filter(|_| !same_target) {
            self.keep(dir, name, stat)?;
        }
        let _ = dir.unlink(DRAFT);
        rustix::fs::symlinkat(target.0.as_slice(), dir, DRAFT).map_err(words)?;
        if let Some((uid, gid)) = wanted.owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(dir, DRAFT, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(words)?;
        }
        if let Some(modified) = wanted.modified {
            let times = attributes::times(modified);
            rustix::fs::utimensat(dir, DRAFT, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(words)?;
        }
        dir.rename(DRAFT, name).map_err(words)?;
        self.did("link put back");
        Ok(())
    }

    /// A new file with all that is wanted of it, then in the place of the old.
    fn draft(&self, dir: &Dir, name: &CStr, content: &Content, wanted: &Wanted) -> Done {
        let _ = dir.unlink(DRAFT);
        let mut draft = dir.create(DRAFT).map_err(words)?;
        let written = write(&mut draft, content, self.target.dir)
            .and_then(|()| Ok(attributes::give(&draft, wanted)?))
            .and_then(|()| draft.sync_all())
            .and_then(|()| Ok(dir.rename(DRAFT, name)?));
        written.map_err(|error| {
            let _ = dir.unlink(DRAFT);
            error.to_string()
        })
    }
}

/// Whether it is something else than a socket, a FIFO or a device.
fn is_plain(stat: &Stat) -> bool {
    matches!(file_type(stat), FileType::RegularFile | FileType::Directory | FileType::Symlink)
}

const fn kind_of(kind: &Kind) -> Option<FileType> {
    match kind {
        Kind::Directory => Some(FileType::Directory),
        Kind::File(_) => Some(FileType::RegularFile),
        Kind::Link(_) => Some(FileType::Symlink),
        Kind::Other => None,
    }
}

/// What is not said stays as it is.
fn filled(wanted: &Wanted, there: &Wanted) -> Wanted {
    Wanted {
        kind: wanted.kind.clone(),
        mode: wanted.mode.or(there.mode),
        owner: wanted.owner.or(there.owner),
        modified: wanted.modified,
        attributes: wanted.attributes.clone().or_else(|| there.attributes.clone()),
    }
}

/// What is not said of a thing that is no longer there: its directory's owner, and a mode that suits configuration.
fn defaults(wanted: &Wanted, dir: &Dir, mode: u32) -> Result<Wanted, String> {
    let parent = rustix::fs::fstat(dir).map_err(words)?;
    let owner = Some((parent.st_uid, parent.st_gid));
    Ok(filled(wanted, &Wanted { mode: Some(mode), owner, ..Wanted::default() }))
}

fn is_same(is: &mut File, stat: &Stat, content: &Content, dir: &Path) -> io::Result<bool> {
    let size = match content {
        Content::Copy { size, .. } => *size,
        Content::Text(text) => text.len() as u64,
        Content::NotKept => return Ok(true),
    };
    if u64::try_from(stat.st_size) != Ok(size) {
        return Ok(false);
    }
    let mut wanted = source(content, dir)?;
    let (mut one, mut other) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let length = fill(is, &mut one)?;
        if length != fill(&mut wanted, &mut other)? || one[..length] != other[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// As much as there is, up to the whole buffer.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn source<'a>(content: &'a Content, dir: &Path) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match content {
        Content::Copy { number, .. } => Box::new(File::open(dir.join(COPIES).join(number.to_string()))?),
        Content::Text(text) => Box::new(text.as_bytes()),
        Content::NotKept => Box::new(io::empty()),
    })
}

fn write(to: &mut File, content: &Content, dir: &Path) -> io::Result<()> {
    match content {
        Content::Copy { number, size } => {
            let mut from = File::open(dir.join(COPIES).join(number.to_string()))?;
            let copied = io::copy(&mut from, to)?;
            // A copy that lost bytes must not take the place of anything.
            if copied == *size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
        Content::Text(text) => to.write_all(text.as_bytes()),
        Content::NotKept => Err(io::ErrorKind::NotFound.into()),
    }
}

/// What is being put back, until it is whole. One a directory: what a cut left is removed by the next.
pub(crate) const DRAFT: &CStr = c".portcullis-put-back";

/// A report is read by people.
pub(crate) const LINES_MAX: usize = 1_000;
/// Each is looked for among the others.
const NOTES_MAX: usize = 100;
/// In one directory: as many as a manifest may list.
const NAMES_MAX: usize = portcullis::manifest::ENTRIES_MAX;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
const PIECE_BYTES: usize = 64 << 10;
