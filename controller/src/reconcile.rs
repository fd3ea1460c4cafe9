//! The loop: observations in, one decision a turn, its actions out. The only `select!` of the controller.
//!
//! It is level-triggered: everything it acts on is in [`Observed`], and a lost notice costs only the time until the next
//! describing. What attempts brought is never dropped; notices are, and counted, when the queue is full.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis::{
    action::Action,
    decide::{Decision, Memo, decide},
    instance::{GroupName, InstanceId},
    observation::{Observation, OwnCertificate},
    observed::Observed,
    policy::Policy,
    timestamp::Timestamp,
    verdict::{Ruling, Verdict},
};
use tokio::sync::{
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    mpsc, watch,
};

use crate::{
    act::{Actor, Lease},
    alerts::{Sinks, dead_man::Heard},
    audit::Audit,
    clock::Clock,
    metrics::Metrics,
    providers::Provider,
    records,
    shown::Shown,
    stores::{Change, Entry, Store, StoreError, Tenure},
    sweep,
};

/// What a turn came to: for handlers, and for the last look before CONTINUE.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts the turns.
    pub turn: u64,
    /// Every commit of the store up to this revision is in it.
    pub revision: u64,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// All that was known.
    pub observed: Observed,
    /// What was made of it.
    pub decision: Decision,
}

impl Default for Snapshot {
    /// Before the first turn.
    fn default() -> Self {
        let (observed, decision) = (Observed::default(), Decision::default());
        Self { turn: 0, revision: 0, decided_at: Timestamp(0), observed, decision }
    }
}

/// Where notices are dropped off for the loop.
#[derive(Debug, Clone)]
pub struct Notices {
    queue: mpsc::Sender<Observation>,
    metrics: Arc<Metrics>,
}

impl Notices {
    /// A queue, and its end for the loop.
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Observation>) {
        let (queue, received) = mpsc::channel(NOTICES_MAX);
        (Self { queue, metrics }, received)
    }

    /// Says that something happened in a group. Dropping it is safe: describing makes up for it.
    pub fn notice(&self, group: GroupName) {
        self.offer(Observation::Noticed(group));
    }

    /// Says what a listener shows. Dropping it is safe: it is looked at again.
    pub(crate) fn certificate(&self, seen: OwnCertificate) {
        self.offer(Observation::Certificate(seen));
    }

    fn offer(&self, observation: Observation) {
        if self.queue.try_send(observation).is_err() {
            self.metrics.observations_dropped.inc();
        }
    }
}

/// What the loop works with.
#[derive(Clone)]
pub struct Parts {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// The cloud.
    pub provider: Arc<dyn Provider>,
    /// Where alerts are told.
    pub sinks: Arc<Sinks>,
    /// What they said to it.
    pub heard: Arc<Heard>,
    /// What decisions go by.
    pub policy: Policy,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is told.
    pub audit: Audit,
}

/// The loop's state.
pub struct Reconciler {
    parts: Parts,
    observed: Observed,
    memo: Memo,
    /// Whether the memo decided otherwise than it should.
    is_wrong: Arc<AtomicBool>,
    shown: Shown,
    changes: broadcast::Receiver<Change>,
    notices: mpsc::Receiver<Observation>,
    done: mpsc::Receiver<Observation>,
    actor: Arc<Actor>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    lease: watch::Sender<Option<Lease>>,
    /// What this process is called in the lease.
    holder: String,
    /// When the lease was last asked for.
    asked_at: Option<Instant>,
    turn: u64,
    revision: u64,
    told: BTreeMap<InstanceId, Told>,
    swept_at: Timestamp,
    checked_at: Timestamp,
}

/// The part of a ruling whose change is worth a line in the audit.
type Told = (Verdict, &'static str, bool);

impl Reconciler {
    /// Loads all records. `snapshots` is where turns are shown.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(
        mut parts: Parts,
        notices: mpsc::Receiver<Observation>,
        snapshots: watch::Sender<Arc<Snapshot>>,
    ) -> Result<Self, StoreError> {
        // ± 20 % on describing: the core is deterministic, the fleet of controllers is not.
        parts.policy.limits.describe_every = parts.policy.limits.describe_every.mul_f64(draw_jitter());
        let (lease, held) = watch::channel(None);
        let (answers, done) = mpsc::channel(DONE_MAX);
        let actor = Arc::new(Actor::new(parts.clone(), held, snapshots.subscribe(), answers));
        let (changes, swept_at) = (parts.store.watch(), parts.clock.now());
        let mut reconciler = Self {
            parts,
            observed: Observed::default(),
            memo: Memo::default(),
            is_wrong: Arc::default(),
            shown: Shown::default(),
            changes,
            notices,
            done,
            actor,
            snapshots,
            lease,
            holder: draw_name(),
            asked_at: None,
            turn: 0,
            revision: 0,
            told: BTreeMap::new(),
            swept_at,
            checked_at: swept_at,
        };
        reconciler.load()?;
        Ok(reconciler)
    }

    /// Turns until `stop` says so.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.renew().await;
            let began = Clock::monotonic();
            let wait = self.turn().await;
            tokio::time::sleep(rest_after(Clock::monotonic().saturating_duration_since(began))).await;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(observation) = self.done.recv() => self.observe(observation),
                change = self.changes.recv() => self.changed(change),
                Some(observation) = self.notices.recv() => self.observe(observation),
                () = tokio::time::sleep(wait) => self.observe(Observation::Tick),
            }
            self.drain();
        }
        self.release().await;
    }

    /// Takes in what else has come, up to a bound: a flood must not keep the loop from deciding.
    fn drain(&mut self) {
        for _ in 0..DRAIN_MAX {
            if let Ok(observation) = self.done.try_recv() {
                self.observe(observation);
            } else if let Some(change) = self.next_change() {
                self.changed(change);
            } else if let Ok(observation) = self.notices.try_recv() {
                self.observe(observation);
            } else {
                return;
            }
        }
    }

    /// What has changed in the store, if anything has; also that too much has for each to be told.
    fn next_change(&mut self) -> Option<Result<Change, RecvError>> {
        match self.changes.try_recv() {
            Ok(change) => Some(Ok(change)),
            Err(TryRecvError::Lagged(missed)) => Some(Err(RecvError::Lagged(missed))),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    fn observe(&mut self, observation: Observation) {
        if let Observation::Described(description) = &observation {
            self.parts.metrics.described_at(description.group.to_string(), description.asked_at);
        }
        let now = self.parts.clock.now();
        self.shown.fold(observation.clone(), now);
        self.memo.fold(&mut self.observed, observation, now);
    }

    fn changed(&mut self, change: Result<Change, RecvError>) {
        let read = match change {
            Ok(change) => self.read(&change.path, change.revision),
            // Too many changes at once: the store says what they came to.
            Err(RecvError::Lagged(_) | RecvError::Closed) => self.load(),
        };
        if let Err(error) = read {
            tracing::error!(%error, "a change in the store could not be read");
        }
    }

    fn read(&mut self, path: &str, revision: u64) -> Result<(), StoreError> {
        if records::observed().any(|prefix| path.starts_with(prefix)) {
            let found = self.parts.store.get(path)?;
            let newest = found.as_ref().map_or(revision, |found| found.revision);
            if let Some(observation) = records::observation(path, found.as_ref(), newest) {
                self.observe(observation);
            }
        }
        self.revision = self.revision.max(revision);
        Ok(())
    }

    /// All that is there; what was known and is not there is gone.
    fn load(&mut self) -> Result<(), StoreError> {
        let mut there = BTreeSet::new();
        for prefix in records::observed() {
            for (path, found) in self.parts.store.list(prefix)? {
                if let Some(observation) = records::observation(&path, Some(&found), found.revision) {
                    self.observe(observation);
                }
                self.revision = self.revision.max(found.revision);
                there.insert(path);
            }
        }
        records::gone(&self.observed, &there).into_iter().for_each(|observation| self.observe(observation));
        Ok(())
    }

    /// Takes the lease, or renews it well before it ends, by either clock: somebody may set the wall clock. A store that does not
    /// answer lets it end, and somebody else's ends it at once.
    async fn renew(&mut self) {
        let (asked_at, asked_at_wall) = (Clock::monotonic(), self.parts.clock.now());
        let call_timeout = self.parts.policy.limits.call_timeout;
        let left = self.lease.borrow().map_or(Duration::ZERO, |lease| lease.left(asked_at, asked_at_wall));
        let asked_lately = |at| asked_at.saturating_duration_since(at) < LEASE_ASKED_AGAIN_AFTER;
        if left > call_timeout + LEASE_SPARE / 2 || self.asked_at.is_some_and(asked_lately) {
            return;
        }
        self.asked_at = Some(asked_at);
        let length = call_timeout + LEASE_SPARE;
        match self.ask(length).await {
            // Counted from before it was asked for, so that it ends here no later than there.
            Ok(Tenure::Held { epoch }) => {
                let (until, until_wall) = (asked_at + length, asked_at_wall + length);
                self.lease.send_replace(Some(Lease { epoch, until, until_wall }));
                self.observe(Observation::Lease { epoch, until: until_wall });
            }
            Ok(Tenure::Others { holder }) => {
                if self.lease.send_replace(None).is_some() {
                    tracing::error!(%holder, "another controller has taken the lease: this one no longer acts");
                }
            }
            Err(error) => tracing::error!(%error, left_s = left.as_secs(), "the lease could not be renewed"),
        }
        let held = self.lease.borrow().is_some_and(|lease| !lease.left(asked_at, asked_at_wall).is_zero());
        self.parts.metrics.lease_held.set(held.into());
    }

    async fn ask(&self, length: Duration) -> Result<Tenure, StoreError> {
        let (store, holder) = (Arc::clone(&self.parts.store), self.holder.clone());
        let asked = tokio::task::spawn_blocking(move || store.lease(&holder, length));
        match tokio::time::timeout(LEASE_ANSWER_MAX, asked).await {
            Ok(Ok(tenure)) => tenure,
            Ok(Err(error)) => Err(StoreError::Failed(error.to_string())),
            Err(_) => Err(StoreError::Failed("no answer in time".into())),
        }
    }

    /// Lets another take over at once, unless a call is still under way: then the lease ends by itself.
    async fn release(self) {
        let Self { actor, lease, parts, holder, .. } = self;
        lease.send_replace(None);
        let began = Clock::monotonic();
        while Arc::strong_count(&actor) > 1 {
            if Clock::monotonic().saturating_duration_since(began) > CALLS_END_MAX {
                return;
            }
            tokio::time::sleep(TURN_MIN).await;
        }
        let released = tokio::task::spawn_blocking(move || parts.store.release(&holder)).await;
        if let Ok(Err(error)) = released {
            tracing::warn!(%error, "the lease was not given back; it ends by itself");
        }
    }

    /// One decision: shown, told, and its actions sent. Gives how long it holds.
    async fn turn(&mut self) -> Duration {
        let (now, began) = (self.parts.clock.now(), Clock::monotonic());
        if self.is_wrong.swap(false, Ordering::Relaxed) {
            self.memo = Memo::of(&self.observed);
        }
        let decision = self.memo.turn(&self.observed, &self.parts.policy, now);
        self.turn += 1;
        self.parts.metrics.turns.inc();
        self.parts.metrics.show(&decision);
        self.parts.metrics.records_unreadable.set(i64::try_from(self.observed.unreadable.len()).unwrap_or(i64::MAX));
        self.tell(&decision, now).await;
        let wait = decision.wake_at.map_or(TURN_MAX, |at| at.since(now)).clamp(TURN_MIN, TURN_MAX);
        let actions = decision.actions.clone();
        let (turn, revision, observed) = (self.turn, self.revision, self.shown.copy(&self.observed));
        let snapshot = Snapshot { turn, revision, decided_at: now, observed, decision };
        let before = self.snapshots.send_replace(Arc::new(snapshot));
        if let Some(before) = Arc::into_inner(before).filter(|before| before.turn > 0) {
            self.shown.hand_back(before.observed);
        }
        self.send(actions, now).await;
        self.sweep(now);
        self.check(now);
        self.parts.metrics.turn_seconds.inc_by(Clock::monotonic().saturating_duration_since(began).as_secs_f64());
        wait
    }

    /// Now and then, beside the loop: whether what was shown is what is decided from scratch. If it is not, that is a bug of ours,
    /// and the memo begins anew.
    fn check(&mut self, now: Timestamp) {
        if now.since(self.checked_at) < CHECK_EVERY {
            return;
        }
        self.checked_at = now;
        let (parts, snapshot) = (self.parts.clone(), Arc::clone(&self.snapshots.borrow()));
        let is_wrong = Arc::clone(&self.is_wrong);
        tokio::task::spawn_blocking(move || {
            if decide(&snapshot.observed, &parts.policy, snapshot.decided_at) != snapshot.decision {
                tracing::error!(turn = snapshot.turn, "decided otherwise than from scratch: please report this");
                parts.metrics.decisions_mismatched.inc();
                is_wrong.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Once an hour, beside the loop.
    fn sweep(&mut self, now: Timestamp) {
        if now.since(self.swept_at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = now;
        let (parts, snapshot) = (self.parts.clone(), Arc::clone(&self.snapshots.borrow()));
        tokio::task::spawn_blocking(move || match sweep::sweep(&*parts.store, &snapshot, &parts.policy, now) {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "instances that are long gone were forgotten"),
            Err(error) => tracing::error!(%error, "the store could not be swept"),
        });
    }

    /// Starts one attempt for each action; all descriptions of a turn go in one.
    async fn send(&mut self, actions: Vec<Action>, now: Timestamp) {
        let mut describe = Vec::new();
        for action in actions {
            self.observe(Observation::Sent { attempt: action.key(), at: now });
            let actor = Arc::clone(&self.actor);
            match action {
                Action::Describe(group) => describe.push(group),
                action @ (Action::Record { .. }
                | Action::Admit(_)
                | Action::KeepWaiting(_)
                | Action::GiveUp(_)
                | Action::Withdraw(_)
                | Action::Return(_)
                | Action::Protect(_)
                | Action::Tell { .. }) => {
                    actor.announce(&action).await;
                    tokio::spawn(async move { actor.attempt(action).await });
                }
            }
        }
        if !describe.is_empty() {
            let actor = Arc::clone(&self.actor);
            tokio::spawn(async move { actor.describe(describe).await });
        }
    }

    /// A line in the audit for every ruling that is not as it was last told.
    async fn tell(&mut self, decision: &Decision, now: Timestamp) {
        for (instance, ruling) in &decision.rulings {
            let told = (ruling.verdict, ruling.reason.code(), ruling.continue_accepted);
            if self.told.get(instance) != Some(&told) {
                self.told.insert(instance.clone(), told);
                self.parts.audit.record(verdict_line(instance, ruling, now)).await;
            }
        }
        if self.told.len() > decision.rulings.len() {
            self.told.retain(|instance, _| decision.rulings.contains_key(instance));
        }
    }
}

/// A turn costs the same whether it decides on one report or on a hundred: in a large fleet, where one comes all the time, what
/// comes while it rests is decided together.
fn rest_after(turn: Duration) -> Duration {
    (turn * TURN_RESTS).min(REST_MAX)
}

fn verdict_line(instance: &InstanceId, ruling: &Ruling, at: Timestamp) -> Entry {
    Entry {
        at,
        kind: "verdict",
        group: Some(ruling.group.clone()),
        instance: Some(instance.clone()),
        actor: CONTROLLER.into(),
        text: format!("{}: {}", ruling.verdict, ruling.reason),
    }
}

/// Nobody else's. Without randomness from the system the process's number must do, which is enough on one machine.
fn draw_name() -> String {
    getrandom::u64().map_or_else(|_| std::process::id().to_string(), |random| format!("{random:016x}"))
}

/// Between 0.8 and 1.2. Without randomness from the system: no jitter, which is harmless.
fn draw_jitter() -> f64 {
    getrandom::u32().map_or(1.0, |random| 0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX))
}

/// The actor's name in audit lines of the controller's own doing.
pub(crate) const CONTROLLER: &str = "controller";
/// Notices are hints; beyond this many the next describing will do.
const NOTICES_MAX: usize = 1_024;
/// What attempts brought waits for room; each attempt holds at most one place.
const DONE_MAX: usize = 1_024;
/// Observations between two decisions, at most.
const DRAIN_MAX: usize = 10_000;
/// A decision that wants to be made again at once waits this long: a mistake in a rule must not burn a core.
const TURN_MIN: Duration = Duration::from_millis(20);
/// The loop takes a quarter of a processor at most, …
const TURN_RESTS: u32 = 3;
/// … and no answer or heartbeat is late for it.
const REST_MAX: Duration = Duration::from_millis(200);
/// Without anything happening a turn is made this often: it renews the lease.
const TURN_MAX: Duration = Duration::from_secs(5);
/// Deciding from scratch costs as much as the first turn.
const CHECK_EVERY: Duration = Duration::from_secs(600);
/// Records of instances that are gone cost little: no hurry.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// What the lease has beyond the longest call: six idle turns.
const LEASE_SPARE: Duration = Duration::from_secs(30);
/// Of a lease that another holds, or a store that fails.
const LEASE_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Much less than the lease: the loop waits for it.
const LEASE_ANSWER_MAX: Duration = Duration::from_secs(5);
/// What is under way when the process is told to stop may take this long.
const CALLS_END_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use portcullis::{
        digest::Digest,
        instance::WaitId,
        observation::Answer,
        record::{GroupRecord, Key, Record},
        report::{Evidence, Readiness},
    };

    use super::*;
    use crate::{
        providers::{Call, Finder, Pending},
        stores::{Batch, CHANGES_MAX, Write, memory::MemoryStore},
    };

    /// A cloud of nothing.
    struct Nothing;

    impl Provider for Nothing {
        fn describe<'a>(&'a self, _: &'a [GroupName], _: Finder) -> Pending<'a, ()> {
            Box::pin(async {})
        }

        fn perform(&self, _: Call) -> Pending<'_, Answer> {
            Box::pin(async { Answer::Accepted })
        }
    }

    fn started(store: &Arc<MemoryStore>) -> Reconciler {
        let (store, metrics) = (Arc::<MemoryStore>::clone(store), Arc::new(Metrics::new()));
        let (audit, _writer) = Audit::start(Arc::<MemoryStore>::clone(&store), Arc::clone(&metrics));
        let (_notices, noticed) = Notices::new(Arc::clone(&metrics));
        let (snapshots, _shown) = watch::channel(Arc::default());
        let (provider, policy, clock) = (Arc::new(Nothing), Policy::default(), Clock::system());
        let (sinks, heard) = (Arc::default(), Arc::default());
        let parts = Parts { store, provider, sinks, heard, policy, clock, metrics, audit };
        Reconciler::start(parts, noticed, snapshots).unwrap()
    }

    fn group(n: usize) -> Write {
        let record = Record::Group(GroupRecord { accepted: Vec::new(), at: Timestamp(0) });
        records::put(Key::Group(GroupName(format!("group-{n}"))).path(), None, &record)
    }

    /// Found by `cargo bench-controller` with 10,000 instances: what was missed was missed for ever, and a quarter of them waited
    /// for a record that was there.
    #[tokio::test]
    async fn more_changes_at_once_than_can_be_told_are_all_seen() {
        let store = Arc::new(MemoryStore::new());
        let mut reconciler = started(&store);
        let many = CHANGES_MAX + 500;
        store.commit(Batch { writes: (0..many).map(group).collect(), events: Vec::new() }).unwrap();
        reconciler.drain();
        assert_eq!(reconciler.observed.records.len(), many);
    }

    /// A dispute that was settled, a record that was swept: to miss that it is gone is to believe it until a restart.
    #[tokio::test]
    async fn what_is_removed_among_more_changes_than_can_be_told_is_gone() {
        let store = Arc::new(MemoryStore::new());
        let unread = Write::put("pause/group-1", None, b"{".to_vec());
        let (at, manifest) = (Timestamp(1), Digest::of(b"m"));
        let evidence = Evidence {
            instance: "i-1".into(),
            group: "group-1".into(),
            boot: "boot".into(),
            wait: WaitId(1),
            manifest,
            challenged_at: at,
            received_at: at,
            readiness: Readiness::Ready,
            drift: Vec::new(),
            diffs: Vec::new(),
        };
        let evidence = records::put(records::evidence_path(&"i-1".into()), None, &evidence);
        let writes = vec![group(0), group(1), unread, evidence];
        let first = store.commit(Batch { writes, events: Vec::new() }).unwrap();
        let mut reconciler = started(&store);
        assert_eq!((reconciler.observed.records.len(), reconciler.observed.unreadable.len()), (2, 1));
        assert_eq!(reconciler.observed.early.len(), 1);
        let remove = |path: String| Write { path, expected: Some(first), value: None };
        let removed = ["group/group-0", "pause/group-1", "evidence/i-1"].map(|path| remove(path.into()));
        store.commit(Batch { writes: removed.into(), events: Vec::new() }).unwrap();
        let many = CHANGES_MAX + 500;
        store.commit(Batch { writes: (2..many).map(group).collect(), events: Vec::new() }).unwrap();
        // It may come back, in the very next commit.
        store.commit(Batch { writes: vec![group(many)], events: Vec::new() }).unwrap();
        reconciler.drain();
        assert_eq!(reconciler.observed.records.len(), many);
        assert!(reconciler.observed.unreadable.is_empty() && reconciler.observed.early.is_empty());
        store.commit(Batch { writes: vec![group(0)], events: Vec::new() }).unwrap();
        reconciler.drain();
        assert_eq!(reconciler.observed.records.len(), many + 1);
    }
}
