//! The sum of a tree: every thing in it stamped (`identity`), and the stamps added up, in no order and by several threads.
//!
//! Two walks that come to the same sum have seen the same things. It tells nothing but that, and tells it in half the time of
//! a walk in order; where it does not come out, or something is in its way, the walk in order tells what is the matter.

use alloc::{sync::Arc, vec::Vec};
use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rustix::fs::{AtFlags, FileType, RawDir};

use super::{
    DEPTH_MAX, ENTRIES_WALKED_MAX, Progress,
    identity::{Names, Stamp, Stamps},
    open::Opener,
    walk::LISTING_BYTES,
};
use crate::glob::Ignore;

/// All that it takes to add up a tree.
pub(super) struct Summing<'a> {
    pub(super) opener: &'a Opener,
    pub(super) root: &'a OwnedFd,
    pub(super) ignore: &'a Ignore,
    pub(super) progress: &'a dyn Progress,
    pub(super) stamps: &'a Stamps,
    pub(super) names: Names,
    /// Where extras are nobody's business: whether a thing counts.
    pub(super) counts: &'a (dyn Fn(&[u8], Stamp) -> bool + Sync),
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) stamps: u64,
    pub(super) entries: u64,
}

impl Sum {
    pub(super) fn add(&mut self, stamp: Stamp) {
        self.stamps = self.stamps.wrapping_add(stamp);
        self.entries += 1;
    }
}

impl Summing<'_> {
    /// Of the root and all below it; `None` when anything was in the way.
    pub(super) fn sum(&self) -> Option<Sum> {
        let mut sum = Sum::default();
        sum.add(self.stamps.stamp(b"", &rustix::fs::fstat(self.root).ok()?, self.names));
        let first = Job { parent: Arc::new(self.opener.directory(self.root.as_fd(), c".").ok()?), name: None };
        let queue = Queue::new(Place { job: first, path: Vec::new(), depth: 0 });
        let total = Mutex::new(sum);
        let walked = AtomicU64::new(0);
        let work = || {
            let sum = self.work(&queue, &walked);
            let mut total = lock(&total);
            total.stamps = total.stamps.wrapping_add(sum.stamps);
            total.entries += sum.entries;
        };
        let threads = thread::available_parallelism().map_or(1, |processors| processors.get().min(THREADS_MAX));
        thread::scope(|scope| {
            for _ in 1..threads {
                // Where no thread can be had, this one does it all.
                let _ = thread::Builder::new().name("sum".into()).spawn_scoped(scope, work);
            }
            work();
        });
        let sum = *lock(&total);
        (!lock(&queue.state).failed).then_some(sum)
    }

    fn work(&self, queue: &Queue, walked: &AtomicU64) -> Sum {
        let (mut sum, mut buffer) = (Sum::default(), Vec::with_capacity(LISTING_BYTES));
        while let Some(place) = queue.next() {
            let mut turn = Turn { queue, below: None };
            turn.below = self.directory(&place, &mut sum, &mut buffer, walked);
        }
        sum
    }

    /// What is below `place`, added; and its subdirectories, for later. `None` when something was in the way.
    fn directory(&self, place: &Place, sum: &mut Sum, buffer: &mut Vec<u8>, walked: &AtomicU64) -> Option<Vec<Place>> {
        let opened = match &place.job.name {
            Some(name) => Arc::new(self.opener.directory(place.job.parent.as_fd(), name).ok()?),
            None => Arc::clone(&place.job.parent),
        };
        let (mut below, mut path, mut entries) = (Vec::new(), place.path.clone(), 0);
        let stem = path.len();
        let mut listing = RawDir::new(&opened, buffer.spare_capacity_mut());
        while let Some(item) = listing.next() {
            let item = item.ok()?;
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            entries += 1;
            path.truncate(stem);
            if stem > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            if self.entry(&opened, name, &path, sum)? {
                let job = Job { parent: Arc::clone(&opened), name: Some(name.into()) };
                below.push(Place { job, path: path.clone(), depth: place.depth + 1 });
            }
            if self.progress.cancelled() || below.len() > WAITING_MAX || place.depth + 1 >= DEPTH_MAX {
                return None;
            }
        }
        self.progress.walked(entries);
        (walked.fetch_add(entries, Ordering::Relaxed) + entries <= ENTRIES_WALKED_MAX).then_some(below)
    }

    /// Whether to look into it.
    fn entry(&self, directory: &OwnedFd, name: &CStr, path: &[u8], sum: &mut Sum) -> Option<bool> {
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(_) => {
                let ignored = self.ignore.matches(path, true) || self.ignore.matches(path, false);
                return ignored.then_some(false);
            }
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if self.ignore.matches(path, is_dir) {
            return Some(false);
        }
        let stamp = self.stamps.stamp(path, &stat, self.names);
        if self.names == Names::Listed && !(self.counts)(path, stamp) {
            return Some(false);
        }
        sum.add(stamp);
        Some(is_dir)
    }
}

/// A directory to be looked into.
struct Place {
    job: Job,
    path: Vec<u8>,
    depth: usize,
}

struct Job {
    parent: Arc<OwnedFd>,
    /// `None`: the parent itself.
    name: Option<CString>,
}

/// Directories that wait, the last first: so few parents are open at a time.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// A directory that is being looked into. However that ends, the others hear of it: a panic must not leave them waiting.
struct Turn<'a> {
    queue: &'a Queue,
    /// `None`: something was in the way.
    below: Option<Vec<Place>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.done(self.below.take());
    }
}

struct State {
    waiting: Vec<Place>,
    /// Being looked into.
    working: usize,
    failed: bool,
}

impl Queue {
    fn new(first: Place) -> Self {
        let state = State { waiting: Vec::from([first]), working: 0, failed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// `None` when all is done, or nothing more is to be.
    fn next(&self) -> Option<Place> {
        let idle = |state: &mut State| !state.failed && state.waiting.is_empty() && state.working > 0;
        let mut state = self.changed.wait_while(lock(&self.state), idle).unwrap_or_else(PoisonError::into_inner);
        if state.failed {
            return None;
        }
        let place = state.waiting.pop()?;
        state.working += 1;
        Some(place)
    }

    fn done(&self, below: Option<Vec<Place>>) {
        let mut state = lock(&self.state);
        state.working -= 1;
        match below {
            Some(below) => state.waiting.extend(below),
            None => state.failed = true,
        }
        state.failed |= state.waiting.len() > WAITING_MAX;
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stats of a warm cache wait for nothing: more threads than processors only get in each other's way.
const THREADS_MAX: usize = 8;

/// Directories that wait at a time: what is wider is left to the walk in order, which needs less memory for it.
const WAITING_MAX: usize = 1 << 16;
