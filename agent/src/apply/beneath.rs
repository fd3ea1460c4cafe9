//! Directories beneath the root of a managed tree, for looking and for changing: never out of it, not by `..`, not by a
//! symlink, not into a mount.
//!
//! Every name is opened by itself, beneath the descriptor of its directory (`openat2`, Linux 5.6), and every change is made
//! by descriptor and plain name. Whoever swaps a directory for a link meanwhile gets an error, and nothing else.

use std::{
    ffi::{CStr, CString},
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat},
    io::{Errno, Result},
};

/// A directory, held open.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// The directory at `path`, which is absolute and was without symlinks when it was remembered: one that is there now, at
    /// whatever step, leads nowhere.
    pub(crate) fn root(path: &Path) -> Result<Self> {
        let top = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(top, path, DIRECTORY, Mode::empty(), resolve).map(Self)
    }

    /// A directory in it; `XDEV` when something is mounted there.
    pub(crate) fn directory(&self, name: &CStr) -> Result<Self> {
        rustix::fs::openat2(&self.0, name, DIRECTORY, Mode::empty(), INSIDE).map(Self)
    }

    /// A regular file in it, for reading. Waits for nothing.
    pub(crate) fn file(&self, name: &CStr) -> Result<File> {
        let file = rustix::fs::openat2(&self.0, name, FILE, Mode::empty(), INSIDE)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Errno::AGAIN),
        }
    }

    /// A new file in it, for writing; nobody else can read it yet.
    pub(crate) fn create(&self, name: &CStr) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.0, name, flags, Mode::RUSR | Mode::WUSR, INSIDE).map(Into::into)
    }

    /// What is in it, in order; at most `max` names.
    pub(crate) fn names(&self, max: usize) -> Result<Vec<CString>> {
        let listed = self.directory(c".")?;
        let mut buffer = Vec::with_capacity(LISTING_BYTES);
        let mut listing = RawDir::new(&listed.0, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(item) = listing.next() {
            let item = item?;
            if matches!(item.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if names.len() >= max {
                return Err(Errno::OVERFLOW);
            }
            names.push(item.file_name().to_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Of the thing of that name itself, be it a link.
    pub(crate) fn stat(&self, name: &CStr) -> Result<Stat> {
        rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Where the link of that name leads.
    pub(crate) fn target(&self, name: &CStr) -> Result<Vec<u8>> {
        rustix::fs::readlinkat(&self.0, name, Vec::new()).map(CString::into_bytes)
    }

    /// Removes a name that is no directory.
    pub(crate) fn unlink(&self, name: &CStr) -> Result<()> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty())
    }

    /// Removes an empty directory.
    pub(crate) fn rmdir(&self, name: &CStr) -> Result<()> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)
    }

    /// Makes a directory that is nobody else's yet.
    pub(crate) fn mkdir(&self, name: &CStr) -> Result<()> {
        rustix::fs::mkdirat(&self.0, name, Mode::RWXU)
    }

    /// Within it, over whatever is there.
    pub(crate) fn rename(&self, from: &CStr, to: &CStr) -> Result<()> {
        rustix::fs::renameat(&self.0, from, &self.0, to)
    }

    /// Its names are on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.0)
    }
}

/// The type of a thing.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Directories are not looked into deeper than this, as when they are checked: each level holds a descriptor.
pub(crate) const DEPTH_MAX: usize = portcullis::tree::DEPTH_MAX;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// One `getdents` call's worth: some 1,000 names.
const LISTING_BYTES: usize = 64 << 10;
