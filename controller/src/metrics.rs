//! What can be counted, in Prometheus' words.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use portcullis::{decide::Decision, timestamp::Timestamp};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// All metrics of the controller.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Requests of agents that were refused, by kind of problem.
    pub refusals: Family<Kind, Counter>,
    /// Reports that were accepted.
    pub reports: Counter,
    /// Attempts that were answered, by action and answer.
    pub attempts: Family<Attempt, Counter>,
    /// Turns of the loop.
    pub turns: Counter,
    /// Instances by group, verdict and reason.
    pub instances: Family<Ruled, Gauge>,
    /// When each group was last described, Unix seconds.
    pub described: Family<Group, Gauge<f64, AtomicU64>>,
    /// Observations that found the queue full; the next describing makes up for them.
    pub observations_dropped: Counter,
    /// Messages in the queue of notices, by kind.
    pub notices: Family<Kind, Counter>,
    /// Requests to the queue of notices that failed.
    pub notice_queue_failures: Counter,
    /// Whether the queue of notices was reached the last time; 0 also where there is none.
    pub notice_queue_reached: Gauge,
    /// Audit lines that found the queue full, or the store failing.
    pub audit_dropped: Counter,
    /// Enrolments on an identity document whose signature was not verified.
    pub unverified_identities: Counter,
    /// Whether this process holds the lease.
    pub lease_held: Gauge,
}

/// A label: the kind of a problem, or of a notice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// For a problem, the word after `urn:portcullis:problem:`.
    pub kind: &'static str,
}

/// Labels of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Attempt {
    /// `admit`, `describe`, …
    pub action: &'static str,
    /// `accepted`, `throttled`, …
    pub answer: &'static str,
}

/// Labels of a ruling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ruled {
    /// The group.
    pub group: String,
    /// `admitted`, `held`, …
    pub verdict: String,
    /// The reason's code.
    pub reason: &'static str,
}

/// A label: a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Group {
    /// Its name.
    pub group: String,
}

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Self {
        let metrics = Self::default();
        {
            let mut registry = metrics.registry.lock().unwrap_or_else(PoisonError::into_inner);
            let of = registry.sub_registry_with_prefix("portcullis");
            of.register("refusals", "Requests refused, by kind of problem", metrics.refusals.clone());
            of.register("reports_accepted", "Reports accepted", metrics.reports.clone());
            of.register("attempts", "Attempts answered", metrics.attempts.clone());
            of.register("turns", "Turns of the loop", metrics.turns.clone());
            of.register("instances", "Instances by group, verdict and reason", metrics.instances.clone());
            of.register("described_timestamp_seconds", "When the group was last described", metrics.described.clone());
            of.register(
                "observations_dropped",
                "Notices dropped by a full queue",
                metrics.observations_dropped.clone(),
            );
            of.register("notices", "Messages in the queue of notices, by kind", metrics.notices.clone());
            of.register(
                "notice_queue_failures",
                "Requests to the queue of notices that failed",
                metrics.notice_queue_failures.clone(),
            );
            of.register(
                "notice_queue_reached",
                "Whether the queue of notices was reached the last time",
                metrics.notice_queue_reached.clone(),
            );
            of.register("audit_dropped", "Audit lines lost", metrics.audit_dropped.clone());
            of.register(
                "unverified_identities",
                "Enrolments on an identity document whose signature was not verified",
                metrics.unverified_identities.clone(),
            );
            of.register("lease_held", "Whether this process acts", metrics.lease_held.clone());
        }
        metrics
    }

    /// Shows a decision: one gauge for each group, verdict and reason.
    pub(crate) fn show(&self, decision: &Decision) {
        self.instances.clear();
        for ruling in decision.rulings.values() {
            let labels = Ruled {
                group: ruling.group.to_string(),
                verdict: ruling.verdict.to_string(),
                reason: ruling.reason.code(),
            };
            self.instances.get_or_create(&labels).inc();
        }
    }

    /// Notes when a group was described.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit in an f64 for 285,000 years")]
    pub(crate) fn described_at(&self, group: String, at: Timestamp) {
        self.described.get_or_create(&Group { group }).set(at.0 as f64 / 1_000.0);
    }

    /// The page that Prometheus reads.
    pub fn page(&self) -> String {
        let mut page = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut page, &registry);
        page
    }
}
