//! The audit: what was decided, done and refused. It only grows, up to a limit that is counted.
//!
//! Whatever has consequences is committed together with its line, by whoever commits it: an operator's act with the record it
//! makes, an admission, a rejection, a breaker and an alert with theirs (`line_of`), the end of a wait with the answer that
//! ended it. So none of these is there without its line, whenever the process is killed. All other lines (changes of verdicts,
//! what is sent, refusals) are written behind the loop's back, so that a slow disk does not slow it: a kill may cost those of the
//! last commit, and each start tells every verdict anew.
//!
//! While the store fails, lines are kept as long as the queue has room; those beyond are counted, and the audit itself says how
//! many they were.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use portcullis::{
    record::{Key, Record, Stage},
    text,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    metrics::Metrics,
    reconcile::CONTROLLER,
    stores::{Batch, Entry, Store},
};

/// Where lines for the audit are dropped off.
#[derive(Debug, Clone)]
pub struct Audit {
    lines: mpsc::Sender<Entry>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    metrics: Arc<Metrics>,
    /// Whether the store takes nothing just now.
    fails: AtomicBool,
    /// Lines that were lost since the audit last said so.
    lost: AtomicU64,
}

impl State {
    fn lost(&self, lines: u64) {
        self.metrics.audit_dropped.inc_by(lines);
        self.lost.fetch_add(lines, Ordering::SeqCst);
    }
}

impl Audit {
    /// Starts the writer; it ends, with everything written that can be, when the last clone of the audit is dropped.
    pub fn start(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> (Self, JoinHandle<()>) {
        let (lines, received) = mpsc::channel(LINES_MAX);
        let state = Arc::new(State { metrics, fails: AtomicBool::new(false), lost: AtomicU64::new(0) });
        let shared = Arc::clone(&state);
        let writer = tokio::task::spawn_blocking(move || write(&*store, received, &shared));
        (Self { lines, state }, writer)
    }

    /// Whether the store takes nothing just now.
    pub(crate) fn fails(&self) -> bool {
        self.state.fails.load(Ordering::SeqCst)
    }

    /// A line that must not be lost: waits while the queue is full, but not for a store that fails: the loop has heartbeats to
    /// send.
    pub async fn record(&self, entry: Entry) {
        if self.fails() {
            return self.offer(entry);
        }
        let sent = tokio::time::timeout(ROOM_WAIT_MAX, self.lines.send(entry)).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.state.lost(1);
        }
    }

    /// A line that strangers can cause: dropped, and counted, rather than waited for.
    pub fn offer(&self, entry: Entry) {
        if self.lines.try_send(entry).is_err() {
            self.state.lost(1);
        }
    }
}

fn write(store: &dyn Store, mut lines: mpsc::Receiver<Entry>, state: &State) {
    while let Some(first) = lines.blocking_recv() {
        let mut events = vec![first];
        while events.len() < BATCH_MAX {
            let Ok(next) = lines.try_recv() else { break };
            events.push(next);
        }
        keep(store, events, &lines, state);
    }
}

/// Commits some lines, again until it works; a line may be there twice if nobody knows whether it worked.
fn keep(store: &dyn Store, mut events: Vec<Entry>, lines: &mpsc::Receiver<Entry>, state: &State) {
    loop {
        let lost = state.lost.load(Ordering::SeqCst);
        let told = (lost > 0).then(|| Entry {
            at: events[0].at,
            kind: "audit",
            group: None,
            instance: None,
            actor: CONTROLLER.into(),
            text: format!("{lost} lines are missing here: there was no room for them"),
        });
        let batch = Batch { writes: Vec::new(), events: told.into_iter().chain(events.iter().cloned()).collect() };
        match store.commit(batch) {
            Ok(_) => {
                state.lost.fetch_sub(lost, Ordering::SeqCst);
                if state.fails.swap(false, Ordering::SeqCst) {
                    tracing::warn!("the audit is written again");
                }
                return;
            }
            Err(error) => {
                if !state.fails.swap(true, Ordering::SeqCst) {
                    tracing::error!(%error, "the audit cannot be written; it is tried again");
                }
                if lines.is_closed() {
                    state.lost(events.len() as u64);
                    events.clear();
                    return;
                }
                thread::sleep(AGAIN_AFTER);
            }
        }
    }
}

/// The line that goes with a record, if the record is a decision. Operators' acts have theirs from whoever records them.
pub(crate) fn line_of(key: &Key, record: &Record) -> Option<Entry> {
    let (kind, at, group, text) = match record {
        Record::Admission(it) => {
            let proof = match (&it.warrant, &it.manifest) {
                (Some(warrant), _) => format!("on the word of {}: {}", warrant.by, warrant.because),
                (None, Some(manifest)) => format!("proven: {manifest}"),
                (None, None) => "its group only observes".into(),
            };
            ("admission", it.at, Some(it.group.clone()), format!("wait {} may end: {proof}", it.wait))
        }
        Record::Rejection(it) => {
            ("rejection", it.at, Some(it.group.clone()), format!("wait {} is given up: {}", it.wait, it.because))
        }
        Record::Breaker(it) => match (it.closed_at, it.at == it.since) {
            (Some(at), _) => ("breaker", at, None, "one was proven: what fails is replaced again".into()),
            (None, true) => ("breaker", it.at, None, format!("nothing is replaced until {}: {}", it.until, it.cause)),
            (None, false) => ("breaker", it.at, None, format!("another one failed; until {}: {}", it.until, it.cause)),
        },
        Record::Alert(it) => match it.over_at {
            Some(at) if it.told_over.is_empty() && !it.is_over => ("alert", at, None, format!("over: {}", it.alert)),
            None if it.told.is_empty() && it.acknowledged.is_none() => {
                ("alert", it.since, None, format!("begins: {}", it.alert))
            }
            Some(_) | None => return None,
        },
        Record::Freeze(it) => match (it.over_at, &it.warrant) {
            (None, _) => {
                ("freeze", it.since, None, format!("nothing is withdrawn: many fail for one cause: {}", it.cause))
            }
            (Some(at), None) => ("freeze", at, None, format!("withdrawing goes on: none fails any more: {}", it.cause)),
            // The operator's line says so.
            (Some(_), Some(_)) => return None,
        },
        Record::Withdrawal(it) => {
            let text = match it.stage {
                Stage::Out => format!("is withdrawn: {}", it.because),
                Stage::Back => "has proven itself again, and is brought back".into(),
                Stage::Over if it.by_hand => "was moved by hand: it is let be".into(),
                Stage::Over => "its withdrawal is over".into(),
            };
            ("withdrawal", it.changed_at, Some(it.group.clone()), text)
        }
        Record::Adoption(it) => {
            let at = it.instances.values().max().copied().unwrap_or_default();
            let ids: Vec<_> =
                it.instances.iter().filter(|(_, since)| **since == at).map(|(id, _)| id.as_str()).collect();
            let (listed, more) = ids.split_at(ids.len().min(ADOPTED_LISTED_MAX));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let text = format!("never passed the gate, and let be: {}{more}", listed.join(", "));
            ("adoption", at, None, text)
        }
        Record::Trial(it) if !it.causes.is_empty() => {
            let text = format!("wait {} would have been given up: {}", it.wait, it.causes.join("; "));
            ("trial", it.at, Some(it.group.clone()), text)
        }
        // Of protection, the calls are told, with whom they name.
        Record::Group(_)
        | Record::Wait(_)
        | Record::Dispute(_)
        | Record::Pause(_)
        | Record::Override(_)
        | Record::Trial(_)
        | Record::Protection(_)
        | Record::Detach(_) => {
            return None;
        }
    };
    let instance = match key {
        Key::Admission(id) | Key::Rejection(id) | Key::Trial(id) | Key::Withdrawal(id) => Some(id.clone()),
        _ => None,
    };
    let group = group.or_else(|| match key {
        Key::Breaker(group) | Key::Freeze(group) | Key::Adoption(group) => Some(group.clone()),
        Key::Alert(key) => Some(key.group.clone()),
        _ => None,
    });
    Some(Entry { at, kind, group, instance, actor: CONTROLLER.into(), text: text::visible(&text) })
}

/// More than a person reads; `portcullis status` has them all.
const ADOPTED_LISTED_MAX: usize = 20;
/// A queue this long means that the disk is minutes behind.
const LINES_MAX: usize = 4_096;
/// Lines a commit: one fsync for all of them.
const BATCH_MAX: usize = 256;
/// Longer than any commit of a disk that works.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// A store that fails is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use portcullis::{api::Event, timestamp::Timestamp};
    use tokio::sync::{broadcast, watch};

    use super::*;
    use crate::stores::{Change, StoreError, Tenure, Versioned, memory::MemoryStore};

    /// A store that takes nothing while it is told so.
    #[derive(Debug)]
    struct Failing {
        store: MemoryStore,
        fails: Mutex<bool>,
    }

    impl Failing {
        fn set(&self, fails: bool) {
            *self.fails.lock().unwrap() = fails;
        }
    }

    impl Store for Failing {
        fn get(&self, path: &str) -> Result<Option<Versioned>, StoreError> {
            self.store.get(path)
        }

        fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
            self.store.list(prefix)
        }

        fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
            if *self.fails.lock().unwrap() {
                return Err(StoreError::Failed("no space left".into()));
            }
            self.store.commit(batch)
        }

        fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
            self.store.events(after, limit)
        }

        fn watch(&self) -> broadcast::Receiver<Change> {
            self.store.watch()
        }

        fn audited(&self) -> watch::Receiver<u64> {
            self.store.audited()
        }

        fn audit_lines(&self) -> Result<u64, StoreError> {
            self.store.audit_lines()
        }

        fn lease(&self, holder: &str, length: Duration) -> Result<Tenure, StoreError> {
            self.store.lease(holder, length)
        }

        fn release(&self, holder: &str) -> Result<(), StoreError> {
            self.store.release(holder)
        }
    }

    fn line(n: usize) -> Entry {
        let (at, kind, actor, text) = (Timestamp(n as u64), "verdict", CONTROLLER.into(), n.to_string());
        Entry { at, kind, group: None, instance: None, actor, text }
    }

    #[tokio::test]
    async fn a_store_that_fails_stops_nobody_and_what_is_lost_is_told() {
        let failing = Arc::new(Failing { store: MemoryStore::new(), fails: Mutex::new(true) });
        let metrics = Arc::new(Metrics::new());
        let (audit, writer) = Audit::start(Arc::<Failing>::clone(&failing), Arc::clone(&metrics));
        // More than there is room for; none of them waits for the store.
        let offered = LINES_MAX + BATCH_MAX + 1_000;
        for n in 0..offered {
            audit.record(line(n)).await;
        }
        let lost = metrics.audit_dropped.get();
        assert!((1..=1_500).contains(&lost), "{lost}");
        failing.set(false);
        drop(audit);
        writer.await.unwrap();
        let events = failing.store.events(0, usize::MAX).unwrap();
        let numbers: Vec<usize> = events.iter().filter_map(|event| event.text.parse().ok()).collect();
        assert_eq!((numbers.len() as u64 + lost, numbers.is_sorted()), (offered as u64, true));
        let told: Vec<_> =
            events.iter().filter(|event| event.kind == "audit").map(|event| event.text.as_str()).collect();
        assert_eq!(told, [format!("{lost} lines are missing here: there was no room for them")]);
    }
}
