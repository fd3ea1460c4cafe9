//! Opening what is below a tree's root, without ever leaving it: not by `..`, not by a symlink, not into a mount.
//!
//! Names are opened one component at a time, each beneath the descriptor of its directory, so a directory that is renamed
//! or replaced meanwhile can lead the walk astray no further than to a vanished name.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, StatxFlags},
    io::{Errno, Result},
};

/// Opens things beneath one root.
#[derive(Debug)]
pub(super) struct Opener {
    fence: Fence,
}

/// Where a root is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// On this machine.
    Here(&'a Path),
    /// In an image that is mounted at `image`: the links on the way mean places in that image, never on this machine.
    Inside { image: &'a Path, path: &'a Path },
}

impl Place<'_> {
    fn open(self, flags: OFlags) -> Result<OwnedFd> {
        match self {
            Self::Here(path) => rustix::fs::open(path, flags, Mode::empty()),
            Self::Inside { image, path } => {
                let image = rustix::fs::open(image, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                let in_image = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                rustix::fs::openat2(image, path, flags, Mode::empty(), in_image)
            }
        }
    }

    /// Of the root itself, if it is a link.
    pub(super) fn lstat(self) -> Result<Stat> {
        rustix::fs::fstat(self.open(OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)?)
    }
}

/// What keeps an open inside the mount of the root.
#[derive(Debug, Clone, Copy)]
enum Fence {
    /// The kernel: `openat2` (Linux 5.6).
    Openat2,
    /// We: the mount id of all that is opened must be the root's (`statx`, Linux 5.8). `st_dev` would not do: a bind mount
    /// of the same file system keeps it.
    MountId(u64),
}

impl Opener {
    /// Opens the root itself, once; `Errno::NOSYS` when this kernel has no way to keep the walk inside its mount.
    pub(super) fn root(place: Place<'_>, follow: bool) -> Result<(Self, OwnedFd)> {
        let mut flags = DIRECTORY_FLAGS;
        flags.set(OFlags::NOFOLLOW, !follow);
        let root = place.open(flags)?;
        let fence = match rustix::fs::openat2(&root, c".", DIRECTORY_FLAGS, Mode::empty(), INSIDE) {
            // Containers of some age answer EPERM to system calls that their filter has not heard of.
            Err(Errno::NOSYS | Errno::PERM) => Fence::MountId(mount_id(root.as_fd())?),
            _ => Fence::Openat2,
        };
        Ok((Self { fence }, root))
    }

    /// As on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn by_mount_id(root: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self { fence: Fence::MountId(mount_id(root)?) })
    }

    /// A directory, for listing; `Errno::XDEV` when something is mounted there.
    pub(super) fn directory(&self, at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        self.open(at, name, DIRECTORY_FLAGS)
    }

    /// A file, for reading. Never waits: not for a FIFO's writer, not for a terminal.
    pub(super) fn file(&self, at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        self.open(at, name, FILE_FLAGS)
    }

    /// Whether a name may have several components: where it is the kernel that follows no link on the way.
    pub(super) fn takes_paths(&self) -> bool {
        matches!(self.fence, Fence::Openat2)
    }

    fn open(&self, at: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd> {
        match self.fence {
            Fence::Openat2 => rustix::fs::openat2(at, name, flags, Mode::empty(), INSIDE),
            Fence::MountId(root) => {
                let opened = rustix::fs::openat(at, name, flags, Mode::empty())?;
                if mount_id(opened.as_fd())? == root { Ok(opened) } else { Err(Errno::XDEV) }
            }
        }
    }
}

fn mount_id(of: BorrowedFd<'_>) -> Result<u64> {
    let answer = rustix::fs::statx(of, c"", AtFlags::EMPTY_PATH, STATX_MNT_ID)?;
    if answer.stx_mask & STATX_MNT_ID.bits() == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(answer.stx_mnt_id)
}

/// The mount that `of` was opened in, by a number that no other mount of this boot has or will have; `None` on a kernel that
/// gives numbers away again (before Linux 6.8).
pub(super) fn mount_of(of: BorrowedFd<'_>) -> Option<u64> {
    let answer = rustix::fs::statx(of, c"", AtFlags::EMPTY_PATH, STATX_MNT_ID_UNIQUE).ok()?;
    (answer.stx_mask & STATX_MNT_ID_UNIQUE.bits() != 0).then_some(answer.stx_mnt_id)
}

const DIRECTORY_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

const FILE_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// `linux/stat.h`; rustix has the field but not the flag.
const STATX_MNT_ID: StatxFlags = StatxFlags::from_bits_retain(0x1000);

/// Likewise.
const STATX_MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
