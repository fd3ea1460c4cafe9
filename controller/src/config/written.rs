//! The configuration as people write it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use portcullis::{
    instance::GroupName,
    policy::{self, GroupPolicy, Mode, OnDrift, Policy, SurvivorsGuard},
};
use serde::Deserialize;

use super::{ConfigError, Length, Pin, refused};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The name that agents address.
    pub audience: String,
    /// The store's file.
    pub store: PathBuf,
    /// Audit lines that are kept.
    #[serde(default = "audit_lines")]
    pub audit_lines_max: u64,
    /// Whether identity documents are taken without verification of their signature.
    #[serde(default)]
    pub allow_unverified_identity: bool,
    /// The agents' listener.
    pub agents: Agents,
    /// The operators' listener.
    pub operators: Operators,
    /// The cloud.
    pub aws: Option<Aws>,
    /// The balancers, where there is no cloud.
    #[serde(default)]
    pub haproxy: Vec<Balancer>,
    /// Whose signatures count.
    pub trust: Trust,
    /// Where alerts are told.
    #[serde(default)]
    pub alerts: Vec<Alerts>,
    /// Who is pinged for as long as alerts would be told.
    pub dead_man: Option<DeadMan>,
    /// The gated groups.
    #[serde(default)]
    pub groups: BTreeMap<GroupName, Group>,
    /// Limits common to all groups.
    #[serde(default)]
    pub limits: Limits,
}

/// Some 150 MB, months of an ordinary fleet.
fn audit_lines() -> u64 {
    crate::stores::EVENTS_KEPT
}

/// `[agents]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate and key.
    pub tls: Option<Tls>,
    /// Requests of one client address in a minute; the rest are refused.
    #[serde(default = "requests")]
    pub requests_per_minute_max: u32,
    /// Connections of one client address at the same time; further ones are closed.
    #[serde(default = "connections")]
    pub connections_max: usize,
}

/// A quarter of all that a listener has: three faulty clients leave room for the others.
fn connections() -> usize {
    1_024
}

/// An agent that waits needs some 25 a minute, one that serves two; many may share one address translator.
fn requests() -> u32 {
    6_000
}

/// `[operators]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operators {
    /// Address and port; loopback unless told otherwise.
    #[serde(default = "loopback")]
    pub listen: SocketAddr,
    /// Certificate and key.
    pub tls: Option<Tls>,
    /// Requests of one client address in a minute; the rest are refused.
    #[serde(default = "requests")]
    pub requests_per_minute_max: u32,
    /// Connections of one client address at the same time; further ones are closed.
    #[serde(default = "connections")]
    pub connections_max: usize,
    /// Who may speak.
    #[serde(default)]
    pub tokens: Vec<Token>,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7421))
}

/// `[….tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[[operators.tokens]]`: either `file` or `sha256`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whom the audit names.
    pub name: String,
    /// File with the token.
    pub file: Option<PathBuf>,
    /// SHA-256 of the token, hex.
    pub sha256: Option<String>,
}

/// `[aws]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// Region; else from the environment or the instance.
    pub region: Option<String>,
    /// Endpoint of the Auto Scaling API; else `AWS_ENDPOINT_URL`, else AWS's own.
    pub endpoint_url: Option<String>,
    /// URL of an SQS queue with notices of lifecycle actions. They only make things sooner.
    pub lifecycle_queue_url: Option<String>,
}

/// `[[haproxy]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balancer {
    /// Its Runtime API: a path, or a loopback address and port.
    pub socket: String,
}

/// `[trust]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// PEM files with public keys.
    pub keys: Vec<PathBuf>,
    /// How many of them must have signed.
    #[serde(default = "one")]
    pub threshold: usize,
}

fn one() -> usize {
    1
}

/// `[[alerts]]`: one of `webhook_file` and `command`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// What status and audit call it.
    pub name: String,
    /// File with a URL that takes a `POST`.
    pub webhook_file: Option<PathBuf>,
    /// Program and arguments; the message comes on standard input.
    pub command: Option<Vec<String>>,
}

/// `[dead_man]`: one of `url_file` and `command`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadMan {
    /// File with a URL that takes a `GET`.
    pub url_file: Option<PathBuf>,
    /// Program and arguments.
    pub command: Option<Vec<String>>,
    /// Time between two pings; 60 s.
    pub every: Option<Length>,
}

/// A minute: what waits for it should allow for three before it shouts.
pub(super) const fn ping_every() -> Duration {
    Duration::from_secs(60)
}

/// `[groups.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// `observe` or `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// Name of our launch hook.
    pub hook: Option<String>,
    /// See [`GroupPolicy::admission_deadline`].
    pub admission_deadline: Option<Length>,
    /// See [`GroupPolicy::abandon_interval_min`].
    pub abandon_interval_min: Option<Length>,
    /// See [`GroupPolicy::stall_after`].
    pub stall_after: Option<Length>,
    /// See [`GroupPolicy::silent_after`].
    pub silent_after: Option<Length>,
    /// See [`GroupPolicy::abandon_outdated`].
    pub abandon_outdated: Option<bool>,
    /// See [`GroupPolicy::breaker_failures`].
    pub breaker_failures: Option<usize>,
    /// See [`GroupPolicy::breaker_window`].
    pub breaker_window: Option<Length>,
    /// See [`GroupPolicy::breaker_retry_after`].
    pub breaker_retry_after: Option<Length>,
    /// See [`GroupPolicy::on_drift`].
    #[serde(default)]
    pub on_drift: Drift,
    /// See [`GroupPolicy::on_bypass`].
    #[serde(default)]
    pub on_bypass: OnDrift,
    /// See [`GroupPolicy::unavailable_max_percent`].
    pub unavailable_max_percent: Option<u32>,
    /// See [`GroupPolicy::withdraw_after`].
    pub withdraw_after: Option<Length>,
    /// See [`GroupPolicy::return_after`].
    pub return_after: Option<Length>,
    /// See [`GroupPolicy::common_cause_min`].
    pub common_cause_min: Option<usize>,
    /// See [`GroupPolicy::common_cause_percent`].
    pub common_cause_percent: Option<usize>,
    /// See [`GroupPolicy::common_cause_window`].
    pub common_cause_window: Option<Length>,
    /// See [`Pool::backends`](super::Pool::backends).
    pub backends: Option<Vec<String>>,
    /// See [`Pool::wanted`](super::Pool::wanted).
    pub wanted: Option<u32>,
    /// See [`GroupPolicy::promotion_needs`].
    pub promotion_needs: Option<PromotionNeeds>,
    /// See [`GroupPolicy::survivors_guard`].
    pub survivors_guard: Option<SurvivorsGuard>,
    /// See [`GroupPolicy::ready_min`].
    pub ready_min: Option<u32>,
    /// See [`Pin::product`].
    pub product: Option<String>,
    /// See [`Pin::sequence_min`].
    pub sequence_min: Option<u64>,
}

/// `on_drift`, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// See [`OnDrift::Observe`].
    #[default]
    Observe,
    /// See [`OnDrift::Standby`].
    Standby,
    /// Known, and refused: whether a target was deregistered is seen by its health only, which is not looked at.
    Deregister,
    /// See [`OnDrift::Replace`].
    Replace,
}

impl Group {
    pub(super) fn pin(&self) -> Pin {
        Pin { product: self.product.clone(), sequence_min: self.sequence_min }
    }

    fn policy(self) -> GroupPolicy {
        let mut policy = GroupPolicy { mode: self.mode, ..GroupPolicy::default() };
        if let Some(hook) = self.hook {
            policy.hook = hook;
        }
        set(&mut policy.admission_deadline, self.admission_deadline);
        set(&mut policy.abandon_interval_min, self.abandon_interval_min);
        policy.abandon_outdated = self.abandon_outdated.unwrap_or(policy.abandon_outdated);
        policy.breaker_failures = self.breaker_failures.unwrap_or(policy.breaker_failures);
        set(&mut policy.stall_after, self.stall_after);
        set(&mut policy.silent_after, self.silent_after);
        policy.promotion_needs =
            self.promotion_needs.map(|PromotionNeeds { group, instances }| policy::PromotionNeeds { group, instances });
        set(&mut policy.breaker_window, self.breaker_window);
        set(&mut policy.breaker_retry_after, self.breaker_retry_after);
        policy.on_drift = match self.on_drift {
            Drift::Observe | Drift::Deregister => OnDrift::Observe,
            Drift::Standby => OnDrift::Standby,
            Drift::Replace => OnDrift::Replace,
        };
        policy.on_bypass = self.on_bypass;
        policy.unavailable_max_percent = self.unavailable_max_percent.unwrap_or(policy.unavailable_max_percent);
        set(&mut policy.withdraw_after, self.withdraw_after);
        set(&mut policy.return_after, self.return_after);
        policy.common_cause_min = self.common_cause_min.unwrap_or(policy.common_cause_min);
        policy.common_cause_percent = self.common_cause_percent.unwrap_or(policy.common_cause_percent);
        set(&mut policy.common_cause_window, self.common_cause_window);
        policy.survivors_guard = self.survivors_guard.unwrap_or(policy.survivors_guard);
        policy.ready_min = self.ready_min;
        policy
    }
}

/// `[groups.NAME.promotion_needs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionNeeds {
    /// The group where a release must have been proven.
    pub group: GroupName,
    /// By how many of its instances.
    #[serde(default = "one")]
    pub instances: usize,
}

/// `[limits]`: see [`policy::Limits`] for each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is documented where it is used: `policy::Limits`")]
pub struct Limits {
    pub report_age_max: Option<Length>,
    pub serving_report_age_max: Option<Length>,
    pub describe_age_max: Option<Length>,
    pub describe_every: Option<Length>,
    pub heartbeat_every: Option<Length>,
    pub listen_min: Option<Length>,
    pub propagation_max: Option<Length>,
    pub call_timeout: Option<Length>,
    pub backoff_min: Option<Length>,
    pub backoff_max: Option<Length>,
    pub undescribed_after: Option<Length>,
    pub alert_repeat_every: Option<Length>,
    pub calls_per_turn_max: Option<usize>,
}

impl Limits {
    fn policy(&self) -> policy::Limits {
        let mut limits = policy::Limits::default();
        set(&mut limits.report_age_max, self.report_age_max);
        set(&mut limits.serving_report_age_max, self.serving_report_age_max);
        set(&mut limits.describe_age_max, self.describe_age_max);
        set(&mut limits.describe_every, self.describe_every);
        set(&mut limits.heartbeat_every, self.heartbeat_every);
        set(&mut limits.listen_min, self.listen_min);
        set(&mut limits.propagation_max, self.propagation_max);
        set(&mut limits.call_timeout, self.call_timeout);
        set(&mut limits.backoff_min, self.backoff_min);
        set(&mut limits.backoff_max, self.backoff_max);
        set(&mut limits.undescribed_after, self.undescribed_after);
        set(&mut limits.alert_repeat_every, self.alert_repeat_every);
        limits.calls_per_turn_max = self.calls_per_turn_max.unwrap_or(limits.calls_per_turn_max);
        limits
    }
}

fn set(value: &mut Duration, written: Option<Length>) {
    if let Some(Length(length)) = written {
        *value = length;
    }
}

/// The policy that was written, with the defaults for what was not.
pub(super) fn policy(groups: BTreeMap<GroupName, Group>, limits: &Limits) -> Result<Policy, ConfigError> {
    let limits = limits.policy();
    for (key, length) in [
        ("limits.report_age_max", limits.report_age_max),
        ("limits.serving_report_age_max", limits.serving_report_age_max),
        ("limits.describe_age_max", limits.describe_age_max),
        ("limits.describe_every", limits.describe_every),
        ("limits.heartbeat_every", limits.heartbeat_every),
        ("limits.call_timeout", limits.call_timeout),
        ("limits.backoff_min", limits.backoff_min),
        ("limits.alert_repeat_every", limits.alert_repeat_every),
    ] {
        if length.is_zero() {
            return Err(refused(key, "must not be zero"));
        }
    }
    if limits.backoff_max < limits.backoff_min {
        return Err(refused("limits.backoff_max", "must not be less than `backoff_min`"));
    }
    if limits.calls_per_turn_max == 0 {
        return Err(refused("limits.calls_per_turn_max", "must not be zero"));
    }
    if let Some((name, _)) = groups.iter().find(|(_, group)| group.on_drift == Drift::Deregister) {
        let because =
            "`deregister` is not there yet: use `standby`, which deregisters and drains too, `replace` or `observe`";
        return Err(refused(&format!("groups.{name}.on_drift"), because));
    }
    let groups: BTreeMap<_, _> = groups.into_iter().map(|(name, group)| (name, group.policy())).collect();
    for (name, group) in &groups {
        if *name == GroupName::controller() {
            return Err(refused(&format!("groups.{name}"), "that is what the controller calls itself"));
        }
        if name.0.is_empty() || group.hook.is_empty() || group.admission_deadline.is_zero() {
            return Err(refused(&format!("groups.{name}"), "name, `hook` and `admission_deadline` must not be empty"));
        }
        if group.breaker_failures == 0 || group.breaker_window.is_zero() || group.breaker_retry_after.is_zero() {
            let because = "`breaker_failures`, `breaker_window` and `breaker_retry_after` must not be zero";
            return Err(refused(&format!("groups.{name}"), because));
        }
        if group.ready_min == Some(0) {
            return Err(refused(
                &format!("groups.{name}.ready_min"),
                "must not be zero: `survivors_guard = \"off\"` keeps nobody",
            ));
        }
        if group.unavailable_max_percent > 100 {
            return Err(refused(&format!("groups.{name}.unavailable_max_percent"), "must not be more than 100"));
        }
        if group.common_cause_min < 2 || group.common_cause_percent > 100 || group.common_cause_window.is_zero() {
            let because = "`common_cause_min` must be 2 or more, `common_cause_percent` 100 or less, `common_cause_window` not zero";
            return Err(refused(&format!("groups.{name}"), because));
        }
    }
    for (name, needs) in groups.iter().filter_map(|(name, group)| Some((name, group.promotion_needs.as_ref()?))) {
        if needs.group == *name || !groups.contains_key(&needs.group) || needs.instances == 0 {
            let because = "`group` must be another gated group, and `instances` must not be zero";
            return Err(refused(&format!("groups.{name}.promotion_needs"), because));
        }
    }
    Ok(Policy { groups, limits, sinks: Vec::new() })
}
