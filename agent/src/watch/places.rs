//! Which watch is on what, and what an event there means.

use std::collections::BTreeMap;

use rustix::fs::inotify::{Event, ReadFlags};

use super::Target;

/// By watch descriptor. A directory may be above one tree and inside another.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The target, and the path below its root: only where the target ignores anything.
    inside: BTreeMap<i32, (usize, Box<[u8]>)>,
    /// The names in it that lead to roots, or are files to watch.
    above: BTreeMap<i32, Vec<Box<[u8]>>>,
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nobody's business.
    Nothing,
    /// Something in a tree may have changed.
    Content,
    /// And with it, what should be watched.
    Directories,
    /// The kernel dropped events: anything may have changed.
    Lost,
}

impl Places {
    /// `path` is below the root of the target.
    pub(super) fn put_inside(&mut self, watch: i32, target: usize, path: &[u8]) {
        self.inside.insert(watch, (target, path.into()));
    }

    /// `name` in it leads to a root.
    pub(super) fn put_above(&mut self, watch: i32, name: &[u8]) {
        self.above.entry(watch).or_default().push(name.into());
    }

    pub(super) fn has(&self, watch: i32) -> bool {
        self.inside.contains_key(&watch) || self.above.contains_key(&watch)
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = i32> {
        self.inside.keys().chain(self.above.keys()).copied()
    }

    /// Of trees.
    pub(super) fn directories(&self) -> usize {
        self.inside.len()
    }

    pub(super) fn effect(&mut self, event: &Event<'_>, targets: &[Target]) -> Effect {
        let (watch, what) = (event.wd(), event.events());
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Effect::Lost;
        }
        if what.contains(ReadFlags::IGNORED) {
            // The directory is gone, or we have let it go; what led to that is told of its own.
            self.inside.remove(&watch);
            self.above.remove(&watch);
            return Effect::Nothing;
        }
        let name = event.file_name().map(std::ffi::CStr::to_bytes);
        let leads_to_a_root = name
            .is_some_and(|name| self.above.get(&watch).is_some_and(|names| names.iter().any(|known| **known == *name)));
        if leads_to_a_root && what.intersects(NAMES.union(ReadFlags::CLOSE_WRITE)) {
            return Effect::Directories;
        }
        let Some((target, path)) = self.inside.get(&watch) else { return Effect::Nothing };
        match (name, targets.get(*target)) {
            (_, None) => Effect::Nothing,
            (None, Some(_)) if what.intersects(GONE) => Effect::Directories,
            (None, Some(_)) => Effect::Content,
            (Some(name), Some(target)) => in_directory(target, path, name, what),
        }
    }
}

fn in_directory(target: &Target, path: &[u8], name: &[u8], what: ReadFlags) -> Effect {
    let is_dir = what.contains(ReadFlags::ISDIR);
    if !target.patterns.is_empty() {
        let path = if path.is_empty() { name.to_vec() } else { [path, name].join(&b'/') };
        if target.ignore.matches(&path, is_dir) {
            return Effect::Nothing;
        }
    }
    if is_dir && what.intersects(CAME_OR_MOVED) { Effect::Directories } else { Effect::Content }
}

/// A name came or went.
const NAMES: ReadFlags =
    ReadFlags::CREATE.union(ReadFlags::DELETE).union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);

/// Of a directory: it is to be watched, or no longer, or is known by another path. One that is deleted takes its watch along.
const CAME_OR_MOVED: ReadFlags = ReadFlags::CREATE.union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);

/// The directory itself is no longer where it was.
const GONE: ReadFlags = ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT);
