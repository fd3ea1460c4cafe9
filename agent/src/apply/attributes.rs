//! Mode, owner, times and extended attributes of what is open: reading them, and giving them back.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::{Errno, Result},
};

use super::listing::{Bytes, Wanted};

/// Everything of an open thing but what it is.
pub(crate) fn of(open: impl AsFd, stat: &Stat) -> Result<Wanted> {
    Ok(Wanted { attributes: Some(extended(open.as_fd())?), ..of_stat(stat) })
}

/// The same of a thing that cannot be opened.
pub(crate) fn of_stat(stat: &Stat) -> Wanted {
    Wanted {
        mode: Some(stat.st_mode & 0o7777),
        owner: Some((stat.st_uid, stat.st_gid)),
        modified: Some((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))),
        ..Wanted::default()
    }
}

/// Whether an open thing has what is wanted of it.
pub(crate) fn agree(open: impl AsFd, stat: &Stat, wanted: &Wanted) -> Result<bool> {
    let is = of_stat(stat);
    let same = same(&wanted.mode, &is.mode) && same(&wanted.owner, &is.owner) && same(&wanted.modified, &is.modified);
    Ok(same && wanted.attributes.as_ref().map_or(Ok(true), |wanted| Ok(*wanted == extended(open.as_fd())?))?)
}

/// Whether what is wanted, if anything is, is so.
pub(crate) fn same<T: PartialEq>(wanted: &Option<T>, is: &Option<T>) -> bool {
    wanted.is_none() || wanted == is
}

/// Gives it back. The owner first: a change of owner takes set-id bits and capabilities away. The times last.
pub(crate) fn give(open: impl AsFd, wanted: &Wanted) -> Result<()> {
    let open = open.as_fd();
    if let Some((uid, gid)) = wanted.owner {
        let stat = rustix::fs::fstat(open)?;
        if (stat.st_uid, stat.st_gid) != (uid, gid) {
            rustix::fs::fchown(open, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
    }
    if let Some(attributes) = &wanted.attributes {
        give_extended(open, attributes)?;
    }
    if let Some(mode) = wanted.mode {
        rustix::fs::fchmod(open, Mode::from_raw_mode(mode))?;
    }
    wanted.modified.map_or(Ok(()), |modified| rustix::fs::futimens(open, &times(modified)))
}

/// As `futimens` takes them: nobody restores when a thing was read last.
pub(crate) fn times((tv_sec, tv_nsec): (i64, i64)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec, tv_nsec: tv_nsec as _ },
    }
}

fn give_extended(open: BorrowedFd<'_>, wanted: &BTreeMap<Bytes, Bytes>) -> Result<()> {
    let is = extended(open)?;
    for name in is.keys().filter(|name| !wanted.contains_key(name)) {
        rustix::fs::fremovexattr(open, name.0.as_slice())?;
    }
    for (name, value) in wanted.iter().filter(|(name, value)| is.get(name) != Some(value)) {
        rustix::fs::fsetxattr(open, name.0.as_slice(), &value.0, XattrFlags::empty())?;
    }
    Ok(())
}

/// None where the file system has none.
fn extended(open: BorrowedFd<'_>) -> Result<BTreeMap<Bytes, Bytes>> {
    let mut names = vec![0; NAMES_BYTES_MAX];
    let length = match rustix::fs::flistxattr(open, &mut names) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(BTreeMap::new()),
        length => length?,
    };
    let mut attributes = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; VALUE_BYTES_MAX];
        let length = rustix::fs::fgetxattr(open, name, &mut value)?;
        value.truncate(length);
        attributes.insert(Bytes(name.to_vec()), Bytes(value));
    }
    Ok(attributes)
}

/// What the kernel lets one thing have.
const NAMES_BYTES_MAX: usize = 64 << 10;
const VALUE_BYTES_MAX: usize = 64 << 10;
