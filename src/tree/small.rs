//! Reading small files whole, by their paths: texts that a manifest keeps, and what stands there instead.

use alloc::{borrow::ToOwned, vec, vec::Vec};
use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Stat},
    io::Errno,
};

use super::{Trouble, identity::Identity, open::Opener};

/// Reads files below one root. They come in the order of their paths, so the directory of the last one is kept open.
pub(super) struct Reader<'a> {
    opener: &'a Opener,
    root: &'a OwnedFd,
    directory: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(opener: &'a Opener, root: &'a OwnedFd) -> Self {
        Self { opener, root, directory: None }
    }

    /// All bytes of the regular file `path`, which stood still meanwhile; `None` when there are more than `bytes_max`.
    pub(super) fn read(&mut self, path: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, Trouble> {
        let (directory, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        if self.directory.as_ref().is_none_or(|(open, _)| open != directory) {
            self.directory = Some((directory.to_vec(), self.open(directory)?));
        }
        let at = self.directory.as_ref().map_or(self.root.as_fd(), |(_, open)| open.as_fd());
        // Nothing but a regular file is opened: to open a device may do something.
        let seen = rustix::fs::statat(at, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(seen.st_mode) != FileType::RegularFile {
            return Err(Trouble::Unstable);
        }
        read_whole(&self.opener.file(at, &name)?, &seen, bytes_max)
    }

    fn open(&self, directory: &[u8]) -> Result<OwnedFd, Trouble> {
        let mut open = self.opener.directory(self.root.as_fd(), c".")?;
        for component in directory.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
            let name = CString::new(component.to_owned()).map_err(|_| Errno::INVAL)?;
            open = self.opener.directory(open.as_fd(), &name)?;
        }
        Ok(open)
    }
}

fn read_whole(file: &OwnedFd, seen: &Stat, bytes_max: usize) -> Result<Option<Vec<u8>>, Trouble> {
    let was = Identity::of(seen);
    let unmoved = || -> Result<bool, Errno> { Ok(Identity::of(&rustix::fs::fstat(file)?) == was) };
    let Some(size) = usize::try_from(was.size).ok().filter(|&size| size <= bytes_max) else { return Ok(None) };
    // One byte more than there should be, so that an end is told from a file that grew.
    let mut bytes = vec![0; size + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::read(file, &mut bytes[filled..]) {
            Err(Errno::INTR) => {}
            Ok(0) => break,
            read => filled += read?,
        }
    }
    if filled != size || !unmoved()? {
        return Err(Trouble::Unstable);
    }
    bytes.truncate(size);
    Ok(Some(bytes))
}
