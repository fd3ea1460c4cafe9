//! Running what a manifest wants to have verified: trees first, in their order; then all else, at the same time. What a release
//! brought is run only when every tree passed, since no command is worth believing before its files are.
//!
//! Each check runs on a thread of its own, has its own deadline, and comes to an outcome whatever happens in it: a panic and
//! a hang are `unknown` of that one check. To add a kind is to add a file here and a line to `run`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use portcullis::{
    check::window::Seen,
    facts::Facts,
    manifest::{Check, CheckKind, Manifest},
    outcome::{Outcome, Status},
    tree::Care,
};
use serde::{Deserialize, Serialize};

pub use cache::Cache;

use crate::{clock, facts};
use round::Round;
use source::Source;
use tree::Depth;

mod cache;
mod cap;
mod certificate;
pub mod command;
mod container;
mod fetch;
mod guards;
mod http;
mod isolated;
mod listen;
mod moment;
mod process;
mod procfs;
mod round;
pub(crate) mod source;
mod tcp;
mod tool;
mod tree;
mod unit;
mod uptime;
mod way;
mod web_server;

/// How checks are run.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// What templates are rendered with, besides what this machine says of itself.
    pub facts: Facts,
    /// This program, which commands are started through: see [`command`].
    pub program: PathBuf,
    /// Where it is remembered how trees looked that passed; absent: every file is read each time.
    pub cache: Option<Cache>,
    /// Whether trees are read at the lowest priority: the instance serves.
    pub calm: bool,
    /// All trees together are read no faster than this, in bytes; absent: as fast as can be.
    pub read_bytes_per_s: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: None,
            trees_only: false,
            tree_timeout: TREE_TIMEOUT,
            root_commands: Vec::new(),
            user: NOBODY,
            facts: Facts::default(),
            program: "/proc/self/exe".into(),
            cache: None,
            calm: false,
            read_bytes_per_s: None,
        }
    }
}

/// One check to be run.
pub(crate) struct Task<'a> {
    pub(crate) check: &'a Check,
    /// What it belongs to: some kinds compare what is there with what the trees list.
    pub(crate) manifest: &'a Manifest,
    pub(crate) options: &'a Options,
    /// When it must have come to a finding; [`GRACE`] later it is given up.
    pub(crate) until: Instant,
}

impl Task<'_> {
    /// How much time is left, never nothing at all: the next wait ends at once, and says so.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(clock::monotonic()).max(Duration::from_millis(1))
    }

    /// Whether there is none left.
    pub(crate) fn is_over(&self) -> bool {
        clock::monotonic() >= self.until
    }
}

/// What one look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) actual: Option<String>,
    /// What says nothing against passing, and is worth telling.
    pub(crate) warnings: Vec<String>,
}

impl Finding {
    pub(crate) fn new(status: Status, reason: Option<String>) -> Self {
        Self { status, reason, expected: None, actual: None, warnings: Vec::new() }
    }

    pub(crate) fn pass() -> Self {
        Self::new(Status::Pass, None)
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::new(Status::Unknown, Some(reason.into()))
    }

    /// `what` is a fragment that both values belong to: “status: expected 200, actual 502”.
    pub(crate) fn fail(what: &str, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        let (expected, actual) = (expected.into(), actual.into());
        let reason = Some(format!("{what}: expected {expected}, actual {actual}"));
        Self { expected: Some(expected), actual: Some(actual), ..Self::new(Status::Fail, reason) }
    }
}

/// The one list of kinds: each brings its checks to a finding, and blocks no longer than the task's deadline.
fn run(task: &Task<'_>) -> Finding {
    match &task.check.kind {
        CheckKind::Command(wanted) => command::run(wanted, task),
        CheckKind::Certificate(wanted) => certificate::run(wanted, task),
        CheckKind::Container(wanted) => container::run(wanted, task),
        CheckKind::Http(wanted) => http::run(wanted, task),
        CheckKind::Listen(wanted) => listen::run(wanted, task),
        CheckKind::Process(wanted) => process::run(wanted, task),
        CheckKind::Tcp(wanted) => tcp::run(wanted, task),
        CheckKind::Unit(wanted) => unit::run(wanted, task),
        CheckKind::WebServer(wanted) => web_server::run(wanted, task),
    }
}

/// Whether a kind compares what is there with the entries of the trees: a manifest without them would mislead it.
fn reads_entries(kind: &CheckKind) -> bool {
    matches!(kind, CheckKind::WebServer(_))
}

/// Whether a kind runs what the release brought: not before every tree has passed (PROTOCOL.md §2).
fn runs_files(kind: &CheckKind) -> bool {
    kind.runs().is_some()
}

/// Runs checks, and remembers which of them hang, and how those with a window stood: keep one for the life of the process.
#[derive(Debug)]
pub struct Checks {
    options: Arc<Options>,
    busy: Busy,
    seen: Mutex<BTreeMap<String, Looked>>,
}

/// What the looks at a check with a window have shown, and whether another one may soon show something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Looked {
    seen: Seen,
    pending: bool,
}

/// What one round leaves for the next, which may be run by another process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// How checks with a window stood, by name.
    seen: BTreeMap<String, Looked>,
    /// What had not come back.
    pub(crate) busy: BTreeSet<String>,
}

impl Memory {
    /// Every check with a window is looked at for the first time: one of the same name may be another check.
    pub(crate) fn begin_windows(&mut self) {
        self.seen.clear();
    }
}

/// What was started and has not come back, given up or not: no second one is started beside it.
type Busy = Arc<Mutex<BTreeSet<String>>>;

impl Checks {
    /// Nothing hangs yet.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options), busy: Busy::default(), seen: Mutex::default() }
    }

    /// Goes on where another left off.
    pub fn remembering(options: Options, memory: Memory) -> Self {
        let (busy, seen) = (Arc::new(Mutex::new(memory.busy)), Mutex::new(memory.seen));
        Self { options: Arc::new(options), busy, seen }
    }

    /// For the next.
    pub fn memory(&self) -> Memory {
        Memory { seen: lock(&self.seen).clone(), busy: lock(&self.busy).clone() }
    }

    /// The facts that the templates of `manifest` (or of its outline) need, as far as they are known now.
    pub fn facts(&self, manifest: &Manifest) -> Facts {
        facts::gather(manifest, &self.options.facts, self.options.root.is_none())
    }

    /// The outcome of every tree and check of `manifest`, in its order, each exactly once, templates rendered with `facts`.
    /// Blocks, at most for the sum of the deadlines: call it by `spawn_blocking`. Whoever stops waiting for it loses nothing but
    /// the outcomes.
    pub fn run_all(&self, manifest: &Arc<Manifest>, facts: &Facts) -> Vec<Outcome> {
        self.run_all_of(&Arc::new(Source::whole(Arc::clone(manifest))), facts)
    }

    /// The same, of a manifest that is opened only if it has to be.
    pub(crate) fn run_all_of(&self, source: &Arc<Source>, facts: &Facts) -> Vec<Outcome> {
        let mut outcomes = self.run_trees_of(source, facts, Care::Check);
        if !self.options.trees_only {
            let manifest = match source.outline.checks.iter().any(|check| reads_entries(&check.kind)) {
                true => source.manifest(),
                false => Ok(Arc::clone(&source.outline)),
            };
            match manifest {
                Ok(manifest) => outcomes.extend(Round::new(self, &manifest, &outcomes).run(|_| true)),
                Err(because) => outcomes.extend(source.outline.checks.iter().map(|check| unread(check, &because))),
            }
        }
        outcomes
    }

    /// Trees alone.
    pub(crate) fn run_trees_of(&self, source: &Arc<Source>, facts: &Facts, care: Care) -> Vec<Outcome> {
        (0..source.outline.trees.len()).map(|index| self.tree(source, index, facts, Depth::Whole(care))).collect()
    }

    /// Some directories of some trees, by index. In the order of trees; of the others there are no outcomes.
    pub(crate) fn glance_at(
        &self,
        source: &Arc<Source>,
        facts: &Facts,
        directories: &BTreeMap<usize, BTreeSet<Vec<u8>>>,
    ) -> Vec<Outcome> {
        let known = directories.iter().filter(|(index, _)| **index < source.outline.trees.len());
        let glance = |(index, paths): (&usize, &BTreeSet<Vec<u8>>)| {
            self.tree(source, *index, facts, Depth::Within(paths.iter().collect()))
        };
        known.map(glance).collect()
    }

    /// Looks again at every check that could not be told, as long as one of them is in its window: for whoever looks only
    /// once, and can wait.
    pub fn settle(&self, manifest: &Arc<Manifest>, outcomes: &mut Vec<Outcome>) {
        let mut pending = self.pending(manifest, outcomes);
        while pending && !self.options.trees_only {
            thread::sleep(LOOK_AGAIN);
            let checks = outcomes.split_off(manifest.trees.len());
            let again = Round::new(self, manifest, outcomes).run(|index| checks[index].status == Status::Unknown);
            let both = checks.into_iter().zip(again);
            outcomes.extend(both.map(|(old, new)| if old.status == Status::Unknown { new } else { old }));
            pending = self.pending(manifest, outcomes);
        }
    }

    /// Whether another look may soon come to another outcome.
    fn pending(&self, manifest: &Manifest, outcomes: &[Outcome]) -> bool {
        let seen = lock(&self.seen);
        let checks = manifest.checks.iter().zip(outcomes.iter().skip(manifest.trees.len()));
        let mut unknown = checks.filter(|(_, outcome)| outcome.status == Status::Unknown);
        unknown.any(|(check, _)| seen.get(&check.name).is_some_and(|looked| looked.pending))
    }

    fn tree(&self, source: &Arc<Source>, index: usize, facts: &Facts, depth: Depth) -> Outcome {
        let tree = &source.outline.trees[index];
        let cancelled = tree::Onlooker::new(&self.options);
        let job = isolated::Job {
            name: &tree.name,
            kind: "tree",
            // Two manifests' trees of one root would hang on the same file.
            busy: format!("tree {}", tree.root),
            timeout: self.options.tree_timeout,
        };
        let (source, theirs, options) = (Arc::clone(source), cancelled.clone(), Arc::clone(&self.options));
        let facts = facts.clone();
        let outcome = job.run(&self.busy, move || tree::check(&source, index, &facts, &options, &depth, &theirs));
        // If it merely was slow it ends now; if it hangs in the kernel it stays `busy`.
        cancelled.cancel();
        outcome
    }

    fn check(&self, manifest: &Arc<Manifest>, index: usize) -> Outcome {
        let check = &manifest.checks[index];
        let timeout = Duration::from_millis(check.timeout_ms);
        let job = isolated::Job {
            name: &check.name,
            kind: check.kind.name(),
            busy: format!("{} {}", check.kind.name(), check.name),
            timeout: timeout + GRACE,
        };
        let (theirs, options) = (Arc::clone(manifest), Arc::clone(&self.options));
        let outcome = job.run(&self.busy, move || {
            let (manifest, check) = (&*theirs, &theirs.checks[index]);
            let until = clock::monotonic() + timeout;
            outcome(check, run(&Task { check, manifest, options: &options, until }))
        });
        if check.window.is_none() {
            return outcome;
        }
        let mut seen = lock(&self.seen);
        let looked = seen.entry(check.name.clone()).or_default();
        let (outcome, pending) = check.window.judge(&mut looked.seen, outcome, clock::boot_ms());
        looked.pending = pending;
        outcome
    }
}

fn outcome(check: &Check, finding: Finding) -> Outcome {
    let Finding { status, reason, expected, actual, warnings } = finding;
    Outcome { expected, actual, warnings, ..Outcome::new(&check.name, check.kind.name(), status, reason) }
}

fn unread(check: &Check, because: &str) -> Outcome {
    outcome(check, Finding::unknown(format!("not run: the manifest cannot be read: {because}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Trees are large, and a fresh volume is slow (DESIGN.md §6).
pub const TREE_TIMEOUT: Duration = Duration::from_secs(120);

/// Where reading is held back: 22 GiB at 25 MiB/s.
pub const CAPPED_TREE_TIMEOUT: Duration = Duration::from_secs(900);

/// `nobody`, everywhere.
pub const NOBODY: (u32, u32) = (65_534, 65_534);

/// How long a runner may take beyond its check's own timeout: to kill what it started and tell of it.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Between two looks of one who waits for windows.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
