//! One verification after the other, each in a process of its own ([`checking`](crate::checking)).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portcullis::{
    digest::Digest,
    facts::{Facts, INSTANCE},
    instance::InstanceId,
    manifest::Manifest,
    outcome::{Outcome, Status},
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    checking::{Answer, Job, Order, Process, Request, What},
    checks::{GRACE, Memory, Options},
    clock,
    manifests::{Release, Rules},
    metrics::Metrics,
    standing::{Checked, Standing},
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
        let round = move || lock(&rounds).round(&theirs, what, options, &rules);
        self.running = Some(tokio::task::spawn_blocking(round));
        let (outcomes, facts) = self.ended().await;
        let checked = Checked::new(release, outcomes, began_at, clock::ms_since(started));
        let checked = Checked { facts: facts.into_values(), ..checked };
        self.metrics.checked(checked.status);
        tracing::debug!("checked {} in {} ms: {}", checked.manifest, checked.took_ms, checked.status);
        checked
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
    fn round(&mut self, release: &Release, what: What, options: Options, rules: &Rules) -> (Vec<Outcome>, Facts) {
        if self.of.replace(release.digest).is_some_and(|before| before != release.digest) {
            self.memory.begin_windows();
        }
        let patience = patience(&release.outline, what, &options);
        let outline = String::from_utf8_lossy(&release.outline.to_payload()).into_owned();
        let order = Order { what, outline, options, memory: self.memory.clone() };
        let request = Request {
            file: release.file().into(),
            digest: Some(release.digest),
            rules: rules.into(),
            job: Job::Check(Box::new(order)),
        };
        let unknown = |because: &str| (unknown(&release.outline, what, because), Facts::default());
        let (mut outcomes, facts) = match self.process.ask(request, patience) {
            Ok(Answer::Checked { outcomes, facts, memory }) => {
                self.memory = memory;
                (outcomes, facts)
            }
            Ok(Answer::Refused { because }) => unknown(&because),
            Ok(Answer::Outline { .. }) => unknown("not what was asked for"),
            Err(because) => unknown(&because),
        };
        let trees = release.outline.trees.len();
        match what {
            What::All => {
                let others = outcomes.iter().skip(trees).map(|outcome| (outcome.check.clone(), outcome.clone()));
                self.others = Some((release.digest, others.collect()));
            }
            What::Trees => outcomes.extend(self.others(release)),
        }
        (outcomes, facts)
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
fn patience(outline: &Manifest, what: What, options: &Options) -> Duration {
    let trees = options.tree_timeout.saturating_mul(u32::try_from(outline.trees.len()).unwrap_or(u32::MAX));
    let checks = match what {
        What::All => outline.checks.iter().map(|check| Duration::from_millis(check.timeout_ms) + GRACE).sum(),
        What::Trees => Duration::ZERO,
    };
    trees.saturating_add(checks).saturating_add(READING_GRACE)
}

fn unknown(outline: &Manifest, what: What, because: &str) -> Vec<Outcome> {
    tracing::warn!("nothing was checked: {because}");
    let trees = outline.trees.iter().map(|tree| untold(&tree.name, "tree", because));
    let checks = outline.checks.iter().map(|check| untold(&check.name, check.kind.name(), because));
    let all = if what == What::All { usize::MAX } else { 0 };
    trees.chain(checks.take(all)).collect()
}

fn untold(name: &str, kind: &str, because: &str) -> Outcome {
    Outcome::new(name, kind, Status::Unknown, Some(because.into()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 64 MiB from a disk that is busy, verified and parsed at idle priority.
const READING_GRACE: Duration = Duration::from_secs(60);
