//! Which watch is on what, and what an event there means.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::inotify::{Event, ReadFlags};

use super::Target;

/// By watch descriptor. A directory may be above one tree and inside another.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The path below the root of a target; with the target, since a directory may be inside two.
    inside: BTreeMap<(i32, usize), Box<[u8]>>,
    /// The names in it that lead to roots, or are files to watch.
    above: BTreeMap<i32, Vec<Box<[u8]>>>,
}

/// Directories, each of a target and by its path below the root of that.
pub(crate) type Directories = BTreeSet<(usize, Box<[u8]>)>;

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nobody's business.
    Nothing,
    /// Something in these directories may have changed.
    Content(Directories),
    /// And with it, what should be watched.
    Directories,
    /// The kernel dropped events: anything may have changed.
    Lost,
}

impl Places {
    /// `path` is below the root of the target.
    pub(super) fn put_inside(&mut self, watch: i32, target: usize, path: &[u8]) {
        self.inside.insert((watch, target), path.into());
    }

    /// `name` in it leads to a root.
    pub(super) fn put_above(&mut self, watch: i32, name: &[u8]) {
        self.above.entry(watch).or_default().push(name.into());
    }

    pub(super) fn has(&self, watch: i32) -> bool {
        self.of(watch).next().is_some() || self.above.contains_key(&watch)
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = i32> {
        self.inside.keys().map(|(watch, _)| watch).chain(self.above.keys()).copied()
    }

    /// Of trees: one that is inside two counts twice, as it takes memory twice.
    pub(super) fn directories(&self) -> usize {
        self.inside.len()
    }

    /// Whose directory it is, and by which path.
    fn of(&self, watch: i32) -> impl Iterator<Item = (usize, &[u8])> {
        self.inside.range((watch, 0)..=(watch, usize::MAX)).map(|((_, target), path)| (*target, &**path))
    }

    pub(super) fn effect(&mut self, event: &Event<'_>, targets: &[Target]) -> Effect {
        let (watch, what) = (event.wd(), event.events());
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Effect::Lost;
        }
        if what.contains(ReadFlags::IGNORED) {
            // The directory is gone, or we have let it go; what led to that is told of its own.
            let gone: Vec<_> = self.of(watch).map(|(target, _)| target).collect();
            gone.iter().for_each(|target| drop(self.inside.remove(&(watch, *target))));
            self.above.remove(&watch);
            return Effect::Nothing;
        }
        let name = event.file_name().map(std::ffi::CStr::to_bytes);
        let leads_to_a_root = name
            .is_some_and(|name| self.above.get(&watch).is_some_and(|names| names.iter().any(|known| **known == *name)));
        if leads_to_a_root && what.intersects(NAMES.union(ReadFlags::CLOSE_WRITE)) {
            return Effect::Directories;
        }
        let concerns = |(index, path): &(usize, &[u8])| {
            let target = targets.get(*index);
            target.is_some_and(|target| name.is_none_or(|name| !is_ignored(target, path, name, what)))
        };
        let touched: Directories = self.of(watch).filter(concerns).map(|(index, path)| (index, path.into())).collect();
        let is_dir = what.contains(ReadFlags::ISDIR);
        let moves = if name.is_some() { is_dir && what.intersects(CAME_OR_MOVED) } else { what.intersects(GONE) };
        match touched.is_empty() {
            true => Effect::Nothing,
            false if moves => Effect::Directories,
            false => Effect::Content(touched),
        }
    }
}

fn is_ignored(target: &Target, path: &[u8], name: &[u8], what: ReadFlags) -> bool {
    if target.patterns.is_empty() {
        return false;
    }
    let path = if path.is_empty() { name.to_vec() } else { [path, name].join(&b'/') };
    target.ignore.matches(&path, what.contains(ReadFlags::ISDIR))
}

/// A name came or went.
const NAMES: ReadFlags =
    ReadFlags::CREATE.union(ReadFlags::DELETE).union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);

/// Of a directory: it is to be watched, or no longer, or is known by another path. One that is deleted takes its watch along.
const CAME_OR_MOVED: ReadFlags = ReadFlags::CREATE.union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);

/// The directory itself is no longer where it was.
const GONE: ReadFlags = ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT);
