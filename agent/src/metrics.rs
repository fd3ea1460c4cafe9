//! What is counted, and how it is written down for Prometheus.

use std::fmt;

use portcullis::outcome::Status;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::standing::{Checked, Standing};

/// What only grows. The rest is read from the [`Standing`] when it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Rounds of checking, by what came of them.
    rounds: Family<RoundLabels, Counter>,
    /// Requests to the controller that got no usable answer, by kind.
    failures: Family<FailureLabels, Counter>,
    /// Connections to the health port that were closed because there were too many.
    connections_refused: Counter,
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
}

fn checks(registry: &mut Registry, checked: &Checked, details: bool) {
    let with = |status| count(checked.outcomes.iter().filter(|outcome| outcome.status == status).count());
    gauge(registry, "checks_passed", "Checks that passed in the last round", with(Status::Pass));
    gauge(registry, "checks_failed", "Checks that failed in the last round", with(Status::Fail));
    gauge(registry, "checks_unknown", "Checks that could not be told in the last round", with(Status::Unknown));
    let began_s = i64::try_from(checked.began_at.0 / 1_000).unwrap_or(i64::MAX);
    gauge(registry, "checked_timestamp_seconds", "When the last round began", began_s);
    let took_ms = i64::try_from(checked.took_ms).unwrap_or(i64::MAX);
    gauge(registry, "check_duration_milliseconds", "How long the last round took", took_ms);
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

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}
