//! The audit: what was decided, done and refused, written behind the loop's back so that a slow disk does not slow it.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    metrics::Metrics,
    stores::{Batch, Entry, Store},
};

/// Where lines for the audit are dropped off.
#[derive(Debug, Clone)]
pub struct Audit {
    lines: mpsc::Sender<Entry>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Starts the writer; it ends, with everything written, when the last clone of the audit is dropped.
    pub fn start(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> (Self, JoinHandle<()>) {
        let (lines, received) = mpsc::channel(LINES_MAX);
        let counted = Arc::clone(&metrics);
        let writer = tokio::task::spawn_blocking(move || write(&*store, received, &counted));
        (Self { lines, metrics }, writer)
    }

    /// A line that must not be lost: waits while the queue is full.
    pub async fn record(&self, entry: Entry) {
        if self.lines.send(entry).await.is_err() {
            self.metrics.audit_dropped.inc();
        }
    }

    /// A line that strangers can cause: dropped, and counted, rather than waited for.
    pub fn offer(&self, entry: Entry) {
        if self.lines.try_send(entry).is_err() {
            self.metrics.audit_dropped.inc();
        }
    }
}

fn write(store: &dyn Store, mut lines: mpsc::Receiver<Entry>, metrics: &Metrics) {
    let mut events = Vec::new();
    while let Some(first) = lines.blocking_recv() {
        events.push(first);
        while events.len() < BATCH_MAX {
            let Ok(next) = lines.try_recv() else { break };
            events.push(next);
        }
        let count = events.len() as u64;
        if let Err(error) = store.commit(Batch { writes: Vec::new(), events: std::mem::take(&mut events) }) {
            metrics.audit_dropped.inc_by(count);
            tracing::error!(%error, lines = count, "audit lines were lost");
        }
    }
}

/// A queue this long means that the disk is minutes behind.
const LINES_MAX: usize = 4_096;
/// Lines a commit: one fsync for all of them.
const BATCH_MAX: usize = 256;
