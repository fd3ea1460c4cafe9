//! What agents and operators may ask. Two listeners, one state; every refusal is a problem (RFC 9457), counted by kind.
//!
//! Handlers read the loop's last [`Snapshot`] and write records; what they write reaches the loop by the store's watch.
//! Their work is synchronous (signatures, JSON, the disk) and runs on blocking threads.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, response::IntoResponse as _, response::Response};
use portcullis::{
    api::Answer,
    challenge::MacKey,
    digest::Digest,
    instance::{GroupName, InstanceId},
    policy::GroupPolicy,
    timestamp::Timestamp,
};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use crate::{
    audit::Audit,
    clock::Clock,
    config::Config,
    metrics::{self, Metrics},
    providers::Provider,
    reconcile::{Notices, Snapshot},
    stores::{Entry, Store},
};

pub mod agents;
mod flowing;
pub mod limits;
pub mod operators;
pub mod problem;
pub mod releases;
pub mod serve;
pub mod tls;

use limits::{Inflow, Limit, Offenders, Window};
use problem::{Kind, Refusal};
use releases::Releases;

/// What all handlers work with.
pub struct App {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Audit,
    pub(crate) notices: Notices,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) mac: MacKey,
    pub(crate) releases: Releases,
    /// The answer to the last report of each binding: what a resend gets.
    answers: Mutex<BTreeMap<String, (Digest, Answer)>>,
    /// What each instance's agent was last refused for: the answer to "why is there no report?".
    refused: Mutex<BTreeMap<InstanceId, (Timestamp, String)>>,
    /// Lines about refusals that the audit takes: strangers must not fill the disk.
    refusal_lines: Window,
    bodies: Semaphore,
    /// Held by whoever enrols: the uses of a join token are counted in one record, and many instances of a scale-out use it at
    /// the same time. In turn none of them finds that another was quicker.
    pub(crate) enrolling: tokio::sync::Mutex<()>,
    /// Held by whoever examines the set-up.
    pub(crate) examining: tokio::sync::Mutex<()>,
    pub(crate) offenders: Offenders,
}

/// What [`App::new`] needs, beside the configuration.
pub struct AppParts {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// The cloud: to be examined, nothing more.
    pub provider: Arc<dyn Provider>,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is told.
    pub audit: Audit,
    /// Hints for the loop.
    pub notices: Notices,
    /// What the loop shows.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The key of challenges.
    pub mac: MacKey,
}

impl App {
    /// The state of both listeners.
    pub fn new(config: Config, parts: AppParts) -> Arc<Self> {
        let AppParts { store, provider, clock, metrics, audit, notices, snapshots, mac } = parts;
        let releases = Releases::new(Arc::clone(&store), config.trust.clone());
        Arc::new(Self {
            config,
            store,
            provider,
            clock,
            metrics,
            audit,
            notices,
            snapshots,
            mac,
            releases,
            answers: Mutex::default(),
            refused: Mutex::default(),
            refusal_lines: Window::new(REFUSAL_LINES_PER_MINUTE_MAX),
            bodies: Semaphore::new(BODIES_MAX),
            enrolling: tokio::sync::Mutex::default(),
            examining: tokio::sync::Mutex::default(),
            offenders: Offenders::default(),
        })
    }

    /// The policy of a gated group.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn gated(&self, group: &GroupName) -> Result<&GroupPolicy, Refusal> {
        let policy = self.config.policy.groups.get(group);
        policy.ok_or_else(|| Refusal::new(Kind::NotFound, format!("`{group}` is not a gated group")))
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    pub(crate) fn last_answer(&self, binding: &str, report: Digest) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(binding).filter(|(of, _)| *of == report).map(|(_, answer)| answer.clone())
    }

    pub(crate) fn keep_answer(&self, binding: String, report: Digest, answer: Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= REMEMBERED_MAX {
            // A resend then gets the present verdict instead.
            answers.clear();
        }
        answers.insert(binding, (report, answer));
    }

    /// When and why this instance's agent was last refused.
    pub(crate) fn last_refusal(&self, instance: &InstanceId) -> Option<(Timestamp, String)> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(instance).cloned()
    }

    fn remember(&self, instance: &InstanceId, at: Timestamp, why: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REMEMBERED_MAX {
            refused.clear();
        }
        refused.insert(instance.clone(), (at, why));
    }

    /// Counts a refusal, tells the audit of it (up to a rate), and says it to the one who asked.
    pub(crate) fn refuse(&self, refusal: Refusal, actor: &str) -> Response {
        self.metrics.refusals.get_or_create(&metrics::Kind { kind: refusal.kind.word() }).inc();
        let now = self.clock.now();
        if let Some(instance) = &refusal.instance {
            self.remember(instance, now, format!("{}: {}", refusal.kind.word(), refusal.detail));
        }
        // That somebody asked for what is not there is no news.
        if refusal.kind != Kind::NotFound && self.refusal_lines.admits(now) {
            self.audit.offer(Entry {
                at: now,
                kind: if refusal.kind.is_incident() { "incident" } else { "refused" },
                group: None,
                instance: refusal.instance.clone(),
                actor: actor.into(),
                text: format!("{}: {}", refusal.kind.word(), refusal.detail),
            });
        }
        refusal.into_response()
    }

    /// Counts and names a client that reached a limit.
    pub(crate) fn offends(&self, listener: &'static str, client: IpAddr, limit: Limit) {
        self.offenders.offends(&self.metrics, listener, client, limit, self.clock.now());
    }

    /// Waits until the loop has decided on everything up to `revision`, for a moment at most.
    pub(crate) async fn decided(&self, revision: u64) -> Arc<Snapshot> {
        let mut snapshots = self.snapshots.clone();
        let seen = tokio::time::timeout(DECIDED_WAIT_MAX, snapshots.wait_for(|snapshot| snapshot.revision >= revision));
        match seen.await {
            Ok(Ok(snapshot)) => Arc::clone(&snapshot),
            Ok(Err(_)) | Err(_) => self.snapshot(),
        }
    }

    /// A body of at most `bytes_max`, in time; few are taken in at once, of one client fewer, so that memory has a bound and
    /// who sends slowly waits for itself.
    pub(crate) async fn body(&self, Inflow { body, client }: Inflow, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
        let _its_own = match &client {
            Some(client) => Some(client.arrived.bodies.acquire().await),
            None => None,
        };
        let _permit = self.bodies.acquire().await;
        let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, bytes_max)).await;
        let offends = |limit| client.iter().for_each(|client| client.offends(limit));
        match read {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) if limits::is_too_large(&error) => {
                offends(Limit::BodySize);
                Err(problem::too_large(bytes_max))
            }
            Ok(Err(_)) => Err(problem::malformed("the body did not come whole")),
            Err(_) => {
                offends(Limit::BodyTime);
                Err(problem::malformed("the body did not come in time"))
            }
        }
    }
}

/// Runs a handler's work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.unwrap_or_else(|error| Err(problem::unavailable(&error)))
}

/// The answer in JSON, or the refusal as a problem.
pub(crate) fn answer<T: Serialize>(app: &App, result: Result<T, Refusal>, actor: &str) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => app.refuse(refusal, actor),
    }
}

/// A report waits this long for the loop to decide on it; then it is answered with what is known.
const DECIDED_WAIT_MAX: Duration = Duration::from_secs(1);
/// The largest body within its time on a slow line: 4 MiB at 1.1 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bodies taken in at once: with reports of 4 MiB, 256 MiB at most.
const BODIES_MAX: usize = 64;
/// Answers and refusals kept in memory, a kilobyte each: a large fleet's.
const REMEMBERED_MAX: usize = 50_000;
/// Enough to see what goes on; the metrics count all.
const REFUSAL_LINES_PER_MINUTE_MAX: u32 = 60;

#[cfg(test)]
mod tests;
