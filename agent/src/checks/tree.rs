//! Trees: the work is the core's ([`portcullis::tree`]). Here is what keeps it short (the cache), what keeps it from hurting
//! the host (`calm`, the cap), and the word that it is no longer waited for.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use portcullis::{
    facts::Facts,
    outcome::{Outcome, Status},
    tree::{self, Care, Passed, Progress, Within},
};

use super::{Options, cache::Remembered, cap::Cap, source::Source};
use crate::{calm, clock};

/// How much of a tree is checked.
pub(super) enum Depth {
    /// All of it.
    Whole(Care),
    /// For a glance, which is never all of it.
    Within(Within),
}

impl Depth {
    const fn care(&self) -> Care {
        match self {
            Self::Whole(care) => *care,
            Self::Within(_) => Care::Look,
        }
    }
}

/// Checks one tree of a manifest.
pub(super) fn check(
    source: &Source,
    index: usize,
    facts: &Facts,
    options: &Options,
    depth: &Depth,
    cancelled: &Onlooker,
) -> Outcome {
    if options.calm {
        // The threads that it starts are as calm.
        calm::this_thread();
    }
    let outline = &source.outline.trees[index];
    let remembered = options.cache.as_ref().zip(source.digest).filter(|_| options.root.is_none());
    let remembered = remembered.and_then(|(cache, digest)| Remembered::open(cache, digest, outline, facts));
    let root = Path::new(&outline.root);
    let last = remembered.as_ref().and_then(|remembered| remembered.passed.as_ref());
    let is_unchanged = |last: &Passed| last.is_unchanged(outline, root, cancelled, depth.care());
    if matches!(depth, Depth::Whole(_)) && last.is_some_and(is_unchanged) {
        return Outcome::new(&outline.name, "tree", Status::Pass, None);
    }
    let manifest = match source.manifest() {
        Ok(manifest) => manifest,
        Err(because) => return Outcome::new(&outline.name, "tree", Status::Unknown, Some(because)),
    };
    let tree = &*manifest.trees[index].rendered(facts);
    if let Some(image) = &options.root {
        return tree::check_image(tree, image, cancelled);
    }
    let last = last.map(|last| (last, depth.care()));
    let (outcome, passed) = match depth {
        Depth::Whole(_) => tree::check_again(tree, root, cancelled, last, clock::now().0),
        Depth::Within(within) => (tree::check_within(tree, root, within, cancelled, last), None),
    };
    if let Some((remembered, passed)) = remembered.as_ref().zip(passed) {
        remembered.keep(&passed);
    }
    outcome
}

/// Looks on: the walk can be called off, and reading be held back.
#[derive(Debug, Clone)]
pub(super) struct Onlooker {
    cancelled: Arc<AtomicBool>,
    cap: Option<Arc<Cap>>,
}

impl Onlooker {
    pub(super) fn new(options: &Options) -> Self {
        let cap = options.read_bytes_per_s.map(|bytes| Arc::new(Cap::new(bytes)));
        Self { cancelled: Arc::default(), cap }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Progress for Onlooker {
    fn hashed(&self, _: u64, bytes: u64) {
        let mut left = self.cap.as_ref().map_or(Duration::ZERO, |cap| cap.pay(bytes));
        while !left.is_zero() && !self.cancelled() {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// A walk that is called off while it is held back ends within this.
const NAP: Duration = Duration::from_millis(100);
