//! What can be counted, in Prometheus' words.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use portcullis::{decide::Decision, observation::OwnCertificate, timestamp::Timestamp};
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
    /// Decisions that were not what is decided from scratch: a bug of ours.
    pub decisions_mismatched: Counter,
    /// How long these took.
    pub turn_seconds: Counter<f64, AtomicU64>,
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
    /// Audit lines that were dropped because newer ones needed their room: `audit_lines_max`.
    pub audit_expired: Counter,
    /// The sequence of the newest audit line.
    pub audit_sequence: Gauge,
    /// Enrolments on an identity document whose signature was not verified.
    pub unverified_identities: Counter,
    /// Whether this process holds the lease.
    pub lease_held: Gauge,
    /// When what each listener shows ends, Unix seconds.
    pub certificates: Family<Shown, Gauge>,
    /// Whether what is in each listener's files can be shown.
    pub certificates_usable: Family<Shown, Gauge>,
    /// Requests and connections of clients that reached a limit; the first few clients are named.
    pub limited: Family<Limited, Counter>,
    /// Whether somebody would be told, if there were something to tell.
    pub alerter_ok: Gauge,
    /// When that was last so, Unix seconds.
    pub alerter_last_ok: Gauge<f64, AtomicU64>,
    /// When the dead man's switch was last pinged, Unix seconds.
    pub dead_man_last_ping: Gauge<f64, AtomicU64>,
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

/// Labels of a limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Limited {
    /// `agents` or `operators`.
    pub listener: &'static str,
    /// Its address, or `others`.
    pub client: String,
    /// Which limit.
    pub limit: &'static str,
}

/// A label: a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Shown {
    /// `agents` or `operators`.
    pub listener: String,
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
            let help = "Decisions that were not what is decided from scratch";
            of.register("decisions_mismatched", help, metrics.decisions_mismatched.clone());
            of.register("turn_seconds", "Time that turns of the loop took", metrics.turn_seconds.clone());
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
                "audit_expired",
                "Audit lines dropped at the limit of audit_lines_max, oldest first",
                metrics.audit_expired.clone(),
            );
            of.register("audit_sequence", "Sequence of the newest audit line", metrics.audit_sequence.clone());
            of.register(
                "unverified_identities",
                "Enrolments on an identity document whose signature was not verified",
                metrics.unverified_identities.clone(),
            );
            of.register("lease_held", "Whether this process acts", metrics.lease_held.clone());
            let help = "When the certificate that a listener shows ends";
            of.register("tls_not_after_timestamp_seconds", help, metrics.certificates.clone());
            let help = "Whether what is in a listener's files for TLS can be shown";
            of.register("tls_files_usable", help, metrics.certificates_usable.clone());
            of.register("clients_limited", "Limits reached, by client", metrics.limited.clone());
            of.register("alerter_ok", "Whether alerts would be told now", metrics.alerter_ok.clone());
            let help = "When alerts would last have been told: the loop decides, and the sinks take what they are told";
            of.register("alerter_last_ok_timestamp_seconds", help, metrics.alerter_last_ok.clone());
            let help = "When the dead man's switch was last pinged; 0 for never";
            of.register("dead_man_last_ping_timestamp_seconds", help, metrics.dead_man_last_ping.clone());
        }
        metrics
    }

    /// Shows a decision: one gauge for each group, verdict and reason. Counted first: a label is text, and instances are many.
    pub(crate) fn show(&self, decision: &Decision) {
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        for ruling in decision.rulings.values() {
            *counts.entry((&ruling.group, ruling.verdict, ruling.reason.code())).or_default() += 1;
        }
        self.instances.clear();
        for ((group, verdict, reason), count) in counts {
            let labels = Ruled { group: group.to_string(), verdict: verdict.to_string(), reason };
            self.instances.get_or_create(&labels).set(count);
        }
    }

    /// Notes when a group was described.
    pub(crate) fn described_at(&self, group: String, at: Timestamp) {
        self.described.get_or_create(&Group { group }).set(seconds(at));
    }

    /// Notes what a listener shows.
    pub(crate) fn shows(&self, seen: &OwnCertificate) {
        let of = Shown { listener: seen.listener.clone() };
        self.certificates.get_or_create(&of).set(seen.until_s);
        self.certificates_usable.get_or_create(&of).set(seen.unusable.is_none().into());
    }

    /// Notes whether alerts would be told.
    pub(crate) fn alerter_is(&self, ok: bool, at: Timestamp) {
        self.alerter_ok.set(ok.into());
        if ok {
            self.alerter_last_ok.set(seconds(at));
        }
    }

    /// Notes a ping that was taken.
    pub(crate) fn pinged(&self, at: Timestamp) {
        self.dead_man_last_ping.set(seconds(at));
    }

    /// Notes how far the audit has come, and what it no longer has.
    pub(crate) fn audit_reaches(&self, newest: u64, kept: u64) {
        self.audit_sequence.set(i64::try_from(newest).unwrap_or(i64::MAX));
        let expired = newest.saturating_sub(kept);
        self.audit_expired.inc_by(expired.saturating_sub(self.audit_expired.get()));
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

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit in an f64 for 285,000 years")]
fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1_000.0
}
