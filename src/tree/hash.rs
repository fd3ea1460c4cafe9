//! Reading and hashing files: several at a time, while the walk goes on.

use alloc::{borrow::ToOwned, sync::Arc, vec, vec::Vec};
use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use super::{
    Progress, Trouble,
    identity::Identity,
    open::Opener,
    walk::{Found, Stop},
};
use crate::digest::Digest;

/// Runs `walk` with workers beside it that hash what it feeds; `done` hears, on any thread and in any order, what came of each.
pub(super) fn beside<W>(
    opener: &Opener,
    progress: &dyn Progress,
    done: &(dyn Fn(usize, Result<Digest, Trouble>) + Sync),
    walk: W,
) -> Result<(), Stop>
where
    W: FnOnce(&mut Feeder) -> Result<(), Stop>,
{
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_MAX);
        // Only the workers have it: should there be none, or none any more, feeding fails instead of waiting for ever.
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..workers() {
            let receiver = Arc::clone(&receiver);
            let worker = move || work(&receiver, opener, progress, done);
            if thread::Builder::new().name("hash".into()).spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        drop(receiver);
        let mut feeder = Feeder { sender, batch: Batch::default(), bytes: 0, failed: false };
        walk(&mut feeder)?;
        feeder.flush();
        if feeder.failed { Err(Stop::NoWorker) } else { Ok(()) }
    })
}

/// Takes files to be hashed, and hands them to the workers in batches: of one directory, so that one descriptor serves all.
pub(super) struct Feeder {
    sender: SyncSender<Batch>,
    batch: Batch,
    bytes: u64,
    failed: bool,
}

#[derive(Default)]
struct Batch {
    directory: Option<Arc<OwnedFd>>,
    jobs: Vec<Job>,
}

struct Job {
    index: usize,
    name: CString,
    was: Identity,
}

impl Feeder {
    /// Waits while the workers have enough to do.
    pub(super) fn feed(&mut self, index: usize, found: &Found<'_>, was: Identity) {
        if self.batch.directory.as_ref().is_none_or(|directory| !Arc::ptr_eq(directory, found.directory)) {
            self.flush();
            self.batch.directory = Some(Arc::clone(found.directory));
        }
        self.batch.jobs.push(Job { index, name: found.name.to_owned(), was });
        self.bytes += was.size;
        if self.batch.jobs.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands over what has been gathered.
    pub(super) fn flush(&mut self) {
        self.bytes = 0;
        let batch = core::mem::take(&mut self.batch);
        if !batch.jobs.is_empty() && !self.failed {
            self.failed = self.sender.send(batch).is_err();
        }
    }
}

fn work(
    receiver: &Mutex<Receiver<Batch>>,
    opener: &Opener,
    progress: &dyn Progress,
    done: &(dyn Fn(usize, Result<Digest, Trouble>) + Sync),
) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let received = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Batch { directory: Some(directory), jobs }) = received else { return };
        for job in jobs {
            if progress.cancelled() {
                return;
            }
            done(job.index, hash(opener, &directory, &job.name, &job.was, &mut buffer, progress));
        }
    }
}

/// The digest of the file `name`, which was a regular file when `was` was taken of it and must be that very one, unchanged,
/// before and after.
fn hash(
    opener: &Opener,
    directory: &OwnedFd,
    name: &CStr,
    was: &Identity,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> Result<Digest, Trouble> {
    let file = opener.file(directory.as_fd(), name)?;
    let unmoved = || -> Result<bool, Errno> { Ok(Identity::of(&rustix::fs::fstat(&file)?) == *was) };
    if !unmoved()? {
        return Err(Trouble::Unstable);
    }
    let mut hasher = Sha256::new();
    let mut left = was.size;
    loop {
        // One byte more than should be left, so that an end is told from a file that grew; and no more than that.
        let room = usize::try_from(left).map_or(buffer.len(), |left| buffer.len().min(left.saturating_add(1)));
        let read = match rustix::io::read(&file, &mut buffer[..room]) {
            Err(Errno::INTR) => continue,
            read => read?,
        };
        left = left.checked_sub(read as u64).ok_or(Trouble::Unstable)?;
        hasher.update(&buffer[..read]);
        // A short read is a regular file's end, and saves asking for it.
        let ended = read == 0 || (left == 0 && read < room);
        progress.hashed(u64::from(ended), read as u64);
        if ended {
            break;
        }
        if progress.cancelled() {
            return Err(Trouble::Unstable);
        }
    }
    if left > 0 || !unmoved()? {
        return Err(Trouble::Unstable);
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// The digest of the file at `path` (several components) if it is a regular file of that size and stands still meanwhile. Only
/// where the kernel keeps the way there free of links.
pub(super) fn digest_of(
    opener: &Opener,
    root: &OwnedFd,
    path: &[u8],
    size: u64,
    progress: &dyn Progress,
) -> Option<Digest> {
    let name = CString::new(path).ok().filter(|_| opener.takes_paths())?;
    let stat = rustix::fs::statat(root, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let was = Identity::of(&stat);
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let mut buffer = vec![0; READ_BYTES];
    (is_file && was.size == size).then(|| hash(opener, root, &name, &was, &mut buffer, progress).ok()).flatten()
}

/// Far more than there are processors: on a volume that is fresh from a snapshot each read waits for the network, and what
/// counts is how many wait at once. On a warm cache the surplus costs nothing that can be measured.
fn workers() -> usize {
    thread::available_parallelism().map_or(WORKERS_MIN, |processors| processors.get().clamp(WORKERS_MIN, WORKERS_MAX))
}

const WORKERS_MIN: usize = 16;
const WORKERS_MAX: usize = 64;

/// Fits the second-level cache, and is large enough for the system calls not to count.
const READ_BYTES: usize = 128 * 1024;

/// A batch is this many files or this many bytes: enough that handing over does not count, so little that the last batch
/// keeps no one waiting.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: u64 = 1024 * 1024;

/// Each holds one directory open: together with [`DEPTH_MAX`](super::DEPTH_MAX) and a file a worker, they stay below the 1,024
/// descriptors that a process may have by default.
const BATCHES_MAX: usize = 64;
