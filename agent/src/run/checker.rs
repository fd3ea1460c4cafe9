//! One verification after the other, each in a process of its own ([`checking`](crate::checking)).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portcullis::{
    digest::Digest,
    facts::{Facts, INSTANCE},
    instance::InstanceId,
    manifest::Manifest,
    outcome::{Outcome, Status},
    timestamp::Timestamp,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    checking::{Answer, Job, Order, Process, Request, What},
    checks::{GRACE, Memory, Options},
    clock,
    manifests::{Release, Rules},
    metrics::Metrics,
    standing::{Checked, Standing},
    watch::Directories,
};

/// Runs checks. `&mut`: one round at a time.
#[derive(Debug)]
pub(super) struct Checker {
    options: Options,
    rules: Arc<Rules>,
    metrics: Arc<Metrics>,
    standing: watch::Receiver<Arc<Standing>>,
    rounds: Arc<Mutex<Rounds>>,
    /// Whoever stops waiting for a round leaves it running: the next waits for its end, so that there is never more than one.
    running: Option<JoinHandle<Came>>,
    /// The next round was asked for by a look.
    hurried: bool,
}

/// What a glance came to.
#[derive(Debug)]
pub(super) struct Glanced {
    /// Of trees that fail.
    pub(super) outcomes: Vec<Outcome>,
    /// What templates were rendered with.
    pub(super) facts: Facts,
    pub(super) began_at: Timestamp,
    pub(super) took_ms: u64,
}

/// What a round came to, and what templates were rendered with.
type Came = (Vec<Outcome>, Facts);

#[derive(Debug)]
struct Rounds {
    process: Process,
    memory: Memory,
    /// Whose checks it is that the memory tells of.
    of: Option<Digest>,
    /// Of what is no tree, by name, and the manifest they belong to.
    others: Option<(Digest, BTreeMap<String, Outcome>)>,
}

impl Checker {
    pub(super) fn new(
        options: Options,
        rules: Arc<Rules>,
        metrics: Arc<Metrics>,
        standing: watch::Receiver<Arc<Standing>>,
    ) -> Self {
        let process = Process::new(options.program.clone());
        let rounds = Rounds { process, memory: Memory::default(), of: None, others: None };
        Self { options, rules, metrics, standing, rounds: Arc::new(Mutex::new(rounds)), running: None, hurried: false }
    }

    /// Who the agent speaks for, which nobody else says: a fact.
    pub(super) fn speaks_for(&mut self, instance: &InstanceId) {
        if let Err(error) = self.options.facts.insert(INSTANCE, &instance.as_str()) {
            tracing::warn!("the id of this instance is no fact: {error}");
        }
    }

    /// Checks all of `release`, or its trees: the outcomes of other checks are then those of the last round of all. There is
    /// always an outcome for each tree and check; what came to none is `unknown`.
    pub(super) async fn check(&mut self, release: &Release, what: What) -> Checked {
        self.ended().await;
        let (began_at, started) = (clock::now(), clock::monotonic());
        let (rules, rounds) = (Arc::clone(&self.rules), Arc::clone(&self.rounds));
        // While it waits for admission nothing on the instance matters more. A look at the trees alone is taken because
        // something happened there, and takes a bounded share of the time anyway.
        let hurried = std::mem::take(&mut self.hurried);
        let calm = what == What::All && !hurried && self.standing.borrow().is_ready();
        let options = Options { calm, ..self.options.clone() };
        let theirs = release.clone();
        let round = move || lock(&rounds).round(&theirs, &what, options, &rules);
        let (outcomes, facts) = self.run(round).await;
        let checked = Checked::new(release, outcomes, began_at, clock::ms_since(started));
        let checked = Checked { facts: facts.into_values(), ..checked };
        self.metrics.checked(checked.status);
        tracing::debug!("checked {} in {} ms: {}", checked.manifest, checked.took_ms, checked.status);
        checked
    }

    /// Looks into some directories of trees that passed (by index, and by their paths below the root): what is found to be
    /// wrong there, in the outcomes of these trees. None says nothing, and no outcome is one of the rest of its tree.
    pub(super) async fn glance(&mut self, release: &Release, directories: Directories) -> Glanced {
        self.ended().await;
        let (began_at, started) = (clock::now(), clock::monotonic());
        let (rules, rounds, theirs) = (Arc::clone(&self.rules), Arc::clone(&self.rounds), release.clone());
        let mut by_tree = BTreeMap::<usize, BTreeSet<Vec<u8>>>::new();
        for (tree, path) in directories {
            by_tree.entry(tree).or_default().insert(path.into());
        }
        let options = Options { calm: false, tree_timeout: GLANCE_MAX, ..self.options.clone() };
        let round = move || lock(&rounds).asked(&theirs, What::Directories(by_tree), options, &rules);
        let (mut outcomes, facts) = self.run(move || round().unwrap_or_default()).await;
        outcomes.retain(|outcome| outcome.status == Status::Fail);
        Glanced { outcomes, facts, began_at, took_ms: clock::ms_since(started) }
    }

    /// By a thread, which whoever stops waiting leaves running.
    async fn run(&mut self, round: impl FnOnce() -> Came + Send + 'static) -> Came {
        self.running = Some(tokio::task::spawn_blocking(round));
        self.ended().await
    }

    /// Somebody waits for the next round: it is not to give way to all else on a busy host.
    pub(super) const fn hurry(&mut self) {
        self.hurried = true;
    }

    /// What the round that runs comes to. If the thread itself ends early there are no outcomes, which prove nothing.
    async fn ended(&mut self) -> Came {
        let Some(running) = &mut self.running else { return Came::default() };
        let came = running.await.unwrap_or_default();
        self.running = None;
        came
    }
}

impl Rounds {
    fn round(&mut self, release: &Release, what: &What, options: Options, rules: &Rules) -> (Vec<Outcome>, Facts) {
        if self.of.replace(release.digest).is_some_and(|before| before != release.digest) {
            self.memory.begin_windows();
        }
        let came = self.asked(release, what.clone(), options, rules);
        let (mut outcomes, facts) = came.unwrap_or_else(|because| {
            tracing::warn!("nothing was checked: {because}");
            (unknown(&release.outline, what, &because), Facts::default())
        });
        let trees = release.outline.trees.len();
        match what {
            What::All => {
                let others = outcomes.iter().skip(trees).map(|outcome| (outcome.check.clone(), outcome.clone()));
                self.others = Some((release.digest, others.collect()));
            }
            What::Trees => outcomes.extend(self.others(release)),
            What::Directories(_) => {}
        }
        (outcomes, facts)
    }

    /// What the process says that is started for it; else why there is nothing, for people.
    fn asked(&mut self, release: &Release, what: What, options: Options, rules: &Rules) -> Result<Came, String> {
        let patience = patience(&release.outline, &what, &options);
        let outline = String::from_utf8_lossy(&release.outline.to_payload()).into_owned();
        let order = Order { what, outline, options, memory: self.memory.clone() };
        let request = Request {
            file: release.file().into(),
            digest: Some(release.digest),
            rules: rules.into(),
            job: Job::Check(Box::new(order)),
        };
        match self.process.ask(request, patience)? {
            Answer::Checked { outcomes, facts, memory } => {
                self.memory = memory;
                Ok((outcomes, facts))
            }
            Answer::Refused { because } => Err(because),
            Answer::Outline { .. } => Err("not what was asked for".into()),
        }
    }

    /// As the last round of all had them.
    fn others(&self, release: &Release) -> Vec<Outcome> {
        let last = self.others.as_ref().filter(|(digest, _)| *digest == release.digest).map(|(_, others)| others);
        let checks = release.outline.checks.iter().map(|check| {
            let not_run = || untold(&check.name, check.kind.name(), "not run: only trees were asked for");
            last.and_then(|others| others.get(&check.name)).cloned().unwrap_or_else(not_run)
        });
        checks.collect()
    }
}

/// The sum of all deadlines, and time to read the manifest: whoever is later is given up whole.
fn patience(outline: &Manifest, what: &What, options: &Options) -> Duration {
    let trees = options.tree_timeout.saturating_mul(u32::try_from(outline.trees.len()).unwrap_or(u32::MAX));
    let checks = match what {
        What::All => outline.checks.iter().map(|check| Duration::from_millis(check.timeout_ms) + GRACE).sum(),
        What::Trees => Duration::ZERO,
        // A look follows, which takes its time.
        What::Directories(trees) => {
            return options.tree_timeout * (1 + u32::try_from(trees.len()).unwrap_or(u32::MAX - 1));
        }
    };
    trees.saturating_add(checks).saturating_add(READING_GRACE)
}

fn unknown(outline: &Manifest, what: &What, because: &str) -> Vec<Outcome> {
    let trees = outline.trees.iter().map(|tree| untold(&tree.name, "tree", because));
    let checks = outline.checks.iter().map(|check| untold(&check.name, check.kind.name(), because));
    let all = if *what == What::All { usize::MAX } else { 0 };
    trees.chain(checks.take(all)).collect()
}

fn untold(name: &str, kind: &str, because: &str) -> Outcome {
    Outcome::new(name, kind, Status::Unknown, Some(because.into()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A glance is to be short: in a directory that takes longer to read, what differs is found by the look.
const GLANCE_MAX: Duration = Duration::from_secs(2);

/// 64 MiB from a disk that is busy, verified and parsed at idle priority.
const READING_GRACE: Duration = Duration::from_secs(60);
