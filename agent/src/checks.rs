//! Running what a manifest wants to have verified: trees first, in their order; all else only when every tree passed, since
//! no command of a release is worth believing before its files are.
//!
//! Each check runs on a thread of its own, has its own deadline, and comes to an outcome whatever happens in it: a panic and
//! a hang are `unknown` of that one check. To add a kind is to add a file here and a line to `runner`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use portcullis::{
    manifest::{Check, CheckKind, Manifest},
    outcome::{Outcome, Status},
};

pub mod command;
mod isolated;
mod tree;

/// How checks are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Puts every path of the manifest under this directory: a mounted image. Nothing but trees can be proven there.
    pub root: Option<PathBuf>,
    /// Trees only: other checks have no outcome at all.
    pub trees_only: bool,
    /// After this long a tree check is given up.
    pub tree_timeout: Duration,
    /// Commands, argv by argv, that may run as root; all others run as [`user`](Self::user).
    pub root_commands: Vec<Vec<String>>,
    /// User and group id of commands, when the agent is root.
    pub user: (u32, u32),
    /// This program, which commands are started through: see [`command`].
    pub program: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: None,
            trees_only: false,
            tree_timeout: TREE_TIMEOUT,
            root_commands: Vec::new(),
            user: NOBODY,
            program: "/proc/self/exe".into(),
        }
    }
}

/// Brings a check of one kind to an outcome.
trait Runner: Sync {
    /// Blocks no longer than the check's timeout and [`GRACE`]: it is given up then. `took_ms` is filled in by the caller.
    fn run(&self, check: &Check, options: &Options) -> Outcome;
}

/// The one list of kinds.
fn runner(kind: &CheckKind) -> &'static dyn Runner {
    match kind {
        CheckKind::Command { .. } => &command::Command,
    }
}

/// Runs checks, and remembers which of them hang: keep one for the life of the process.
#[derive(Debug)]
pub struct Checks {
    options: Arc<Options>,
    busy: Busy,
}

/// What was started and has not come back, given up or not: no second one is started beside it.
type Busy = Arc<Mutex<BTreeSet<String>>>;

impl Checks {
    /// Nothing hangs yet.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options), busy: Busy::default() }
    }

    /// The outcome of every tree and check of `manifest`, in its order, each exactly once. Blocks, at most for the sum of the
    /// deadlines: call it by `spawn_blocking`. Whoever stops waiting for it loses nothing but the outcomes.
    pub fn run_all(&self, manifest: &Arc<Manifest>) -> Vec<Outcome> {
        let mut outcomes: Vec<_> = (0..manifest.trees.len()).map(|index| self.tree(manifest, index)).collect();
        if self.options.trees_only {
            return outcomes;
        }
        let not_run = match outcomes.iter().find(|outcome| outcome.status != Status::Pass) {
            Some(tree) => Some(format!("not run: tree `{}` did not pass", tree.check)),
            None if self.options.root.is_some() => Some("not run: under another root only trees can be proven".into()),
            None => None,
        };
        match not_run {
            Some(reason) => outcomes.extend(manifest.checks.iter().map(|check| unknown(check, reason.clone()))),
            None => outcomes.extend(self.checks(manifest)),
        }
        outcomes
    }

    fn tree(&self, manifest: &Arc<Manifest>, index: usize) -> Outcome {
        let tree = &manifest.trees[index];
        let image = self.options.root.clone();
        let cancelled = tree::Cancelled::default();
        let job = isolated::Job {
            name: &tree.name,
            kind: "tree",
            // Two manifests' trees of one root would hang on the same file.
            busy: format!("tree {}", tree.root),
            timeout: self.options.tree_timeout,
        };
        let (manifest, theirs) = (Arc::clone(manifest), cancelled.clone());
        let outcome = job.run(&self.busy, move || {
            let tree = &manifest.trees[index];
            match image {
                Some(image) => portcullis::tree::check_image(tree, &image, &theirs),
                None => portcullis::tree::check(tree, Path::new(&tree.root), &theirs),
            }
        });
        // If it merely was slow it ends now; if it hangs in the kernel it stays `busy`.
        cancelled.cancel();
        outcome
    }

    /// A few at a time: one that is slow keeps no other from its turn, and an instance that starts is not swamped.
    fn checks(&self, manifest: &Arc<Manifest>) -> Vec<Outcome> {
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(Vec::new());
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= manifest.checks.len() {
                    return;
                }
                let outcome = self.check(manifest, index);
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
            }
        };
        thread::scope(|scope| {
            for _ in 1..CONCURRENT.min(manifest.checks.len()) {
                // Where no thread can be had, this one does it all.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn check(&self, manifest: &Arc<Manifest>, index: usize) -> Outcome {
        let check = &manifest.checks[index];
        let job = isolated::Job {
            name: &check.name,
            kind: check.kind.name(),
            busy: format!("{} {}", check.kind.name(), check.name),
            timeout: Duration::from_millis(check.timeout_ms) + GRACE,
        };
        let (manifest, options) = (Arc::clone(manifest), Arc::clone(&self.options));
        job.run(&self.busy, move || {
            let check = &manifest.checks[index];
            runner(&check.kind).run(check, &options)
        })
    }
}

fn unknown(check: &Check, reason: String) -> Outcome {
    isolated::outcome(&check.name, check.kind.name(), Status::Unknown, Some(reason))
}

/// Trees are large, and a fresh volume is slow (DESIGN.md §6).
pub const TREE_TIMEOUT: Duration = Duration::from_secs(120);

/// `nobody`, everywhere.
pub const NOBODY: (u32, u32) = (65_534, 65_534);

/// How long a runner may take beyond its check's own timeout: to kill what it started and tell of it.
const GRACE: Duration = Duration::from_secs(10);

/// Checks that run at the same time.
const CONCURRENT: usize = 4;
