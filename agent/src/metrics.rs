//! What is counted, and how it is written down for Prometheus.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use portcullis::{outcome::Status, timestamp::Timestamp};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::{
    standing::{Checked, Standing},
    watch::Sight,
};

/// What only grows. The rest is read from the [`Standing`] when it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Rounds of checking, by what came of them.
    rounds: Family<RoundLabels, Counter>,
    /// Requests to the controller that got no usable answer, by kind.
    failures: Family<FailureLabels, Counter>,
    /// Connections to the health port that were closed because there were too many.
    connections_refused: Counter,
    /// Looks at the trees between rounds.
    looks: Counter,
    /// Glances before them, at directories in which something happened.
    glances: Counter,
    /// Times that something was found to be no longer as it should be, or in another way than before.
    drifts: Counter,
    drift_at: Gauge,
    /// Times that the kernel dropped events.
    overflows: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoundLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    check: String,
    kind: String,
}

impl Metrics {
    pub(crate) fn checked(&self, status: Status) {
        let result = match status {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Unknown => "unknown",
        };
        self.rounds.get_or_create(&RoundLabels { result }).inc();
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        self.failures.get_or_create(&FailureLabels { kind }).inc();
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    pub(crate) fn looked(&self) {
        self.looks.inc();
    }

    pub(crate) fn glanced(&self) {
        self.glances.inc();
    }

    pub(crate) fn overflowed(&self, times: u64) {
        self.overflows.inc_by(times);
    }

    pub(crate) fn drifted(&self, at: Timestamp) {
        self.drifts.inc();
        self.drift_at.set(seconds(at));
    }

    /// The text. `details` name checks and releases.
    pub(crate) fn write(&self, standing: &Standing, details: bool) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("portcullis_agent");
        registry.register("rounds", "Rounds of checking", self.rounds.clone());
        registry.register(
            "controller_failures",
            "Requests to the controller without a usable answer",
            self.failures.clone(),
        );
        registry.register(
            "health_connections_refused",
            "Connections to this port closed because there were too many",
            self.connections_refused.clone(),
        );
        self.drift(&mut registry, standing);
        gauge(&mut registry, "ready", "1 when /readyz answers 200", standing.is_ready().into());
        gauge(&mut registry, "admitted", "1 when admitted in this boot and not withdrawn", standing.admitted.into());
        gauge(&mut registry, "warnings", "Warnings about how the agent is set up", count(standing.warnings.len()));
        if let Some(checked) = &standing.checked {
            checks(&mut registry, checked, details);
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn drift(&self, registry: &mut Registry, standing: &Standing) {
        registry.register(
            "looks",
            "Looks at the trees between rounds, since something happened there",
            self.looks.clone(),
        );
        let help = "Glances at the directories in which something happened, before a look";
        registry.register("glances", help, self.glances.clone());
        registry.register("drift_noticed", "Times that drift, or more of it, was noticed", self.drifts.clone());
        let help = "When drift was noticed last; 0 for never";
        registry.register("drift_noticed_timestamp_seconds", help, self.drift_at.clone());
        let help = "Times that the kernel dropped events, so that all was looked at again";
        registry.register("watch_overflows", help, self.overflows.clone());
        gauge(registry, "drift", "1 when it serves and is not as it should be", standing.drift_since.is_some().into());
        let directories = match standing.sight {
            Some(Sight::Whole { directories }) => directories,
            Some(Sight::None { .. }) | None => 0,
        };
        gauge(
            registry,
            "watched_directories",
            "Directories watched; 0 when drift must wait for a round",
            count(directories),
        );
    }
}

fn checks(registry: &mut Registry, checked: &Checked, details: bool) {
    let with = |status| count(checked.outcomes.iter().filter(|outcome| outcome.status == status).count());
    gauge(registry, "checks_passed", "Checks that passed in the last round", with(Status::Pass));
    gauge(registry, "checks_failed", "Checks that failed in the last round", with(Status::Fail));
    gauge(registry, "checks_unknown", "Checks that could not be told in the last round", with(Status::Unknown));
    let began_s = seconds(checked.began_at);
    gauge(registry, "checked_timestamp_seconds", "When the last round began", began_s);
    let took = Gauge::<f64, AtomicU64>::default();
    took.set(Duration::from_millis(checked.took_ms).as_secs_f64());
    registry.register("check_duration_seconds", "How long the last round took", took);
    if !details {
        return;
    }
    let release = Info::new(vec![("release", checked.release.clone()), ("manifest", checked.manifest.to_string())]);
    registry.register("release", "What the last round checked", release);
    let passed = Family::<CheckLabels, Gauge>::default();
    for outcome in &checked.outcomes {
        let labels = CheckLabels { check: outcome.check.clone(), kind: outcome.kind.clone() };
        passed.get_or_create(&labels).set((outcome.status == Status::Pass).into());
    }
    registry.register("check_passed", "1 when the check passed in the last round", passed);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX)
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}
