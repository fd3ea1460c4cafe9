//! One verification after the other, each on a thread of its own beside the one that answers probes.

use std::sync::Arc;

use crate::{checks::Checks, clock, manifests::Release, metrics::Metrics, standing::Checked};

/// Runs checks. `&mut`: one round at a time.
#[derive(Debug)]
pub(super) struct Checker {
    checks: Arc<Checks>,
    metrics: Arc<Metrics>,
}

impl Checker {
    pub(super) fn new(checks: Checks, metrics: Arc<Metrics>) -> Self {
        Self { checks: Arc::new(checks), metrics }
    }

    /// Checks everything. If the thread itself ends early there are no outcomes, which prove nothing.
    pub(super) async fn check(&mut self, release: &Release) -> Checked {
        let (began_at, started) = (clock::now(), clock::monotonic());
        let (checks, manifest) = (Arc::clone(&self.checks), Arc::clone(&release.manifest));
        let outcomes = tokio::task::spawn_blocking(move || checks.run_all(&manifest)).await.unwrap_or_default();
        let checked = Checked::new(release, outcomes, began_at, clock::ms_since(started));
        self.metrics.checked(checked.status);
        tracing::debug!("checked {} in {} ms: {}", checked.manifest, checked.took_ms, checked.status);
        checked
    }
}
