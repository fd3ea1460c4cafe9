//! Every limit and deadline of the decisions, each with the reason for its default (DESIGN.md §6).

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::instance::GroupName;

/// What a group does with a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Evaluate, tell what would have been held, admit all the same.
    #[default]
    Observe,
    /// Hold what is not proven.
    Enforce,
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        })
    }
}

/// What a group does with a serving instance that is not as its release wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// Tell, and let it serve.
    #[default]
    Observe,
    /// Take it out of traffic, and bring it back when it is well again.
    Standby,
    /// Have it replaced: that is final.
    Replace,
}

/// When instances that are proven and serve are protected from scale-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurvivorsGuard {
    /// All of them, while new ones are not proven yet.
    #[default]
    WhileImpaired,
    /// So, and `ready_min` of them at all other times too.
    Always,
    /// Never.
    Off,
}

/// The policy of all gated groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The groups that are gated; all others are nobody's business.
    pub groups: BTreeMap<GroupName, GroupPolicy>,
    /// What is common to all.
    pub limits: Limits,
    /// Who is told of alerts, by name.
    pub sinks: Vec<String>,
}

/// The policy of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// Observe or enforce.
    pub mode: Mode,
    /// The name of our launch hook on the group.
    pub hook: String,
    /// An instance that is not ready this long after its wait began is given up. Default 20 min: boot, package and image pulls
    /// fit in well; shorter than the hook's 3600 s, so that the decision stays ours.
    pub admission_deadline: Duration,
    /// At most one instance is abandoned per this time. Default 5 min: a relaunch loop stays slow enough to be looked at.
    pub abandon_interval_min: Duration,
    /// Whether a waiting instance that fails is given up, in its turn, once its group launches from another template. Default true: the
    /// fix is not in it, and a held one may take up the last place in the group. False: it is waited for until its deadline.
    pub abandon_outdated: bool,
    /// So many launches that fail for one cause within `breaker_window` stop the group from replacing what fails. Default 3:
    /// two may be chance.
    pub breaker_failures: usize,
    /// Fewer instances serve than are wanted: after this long somebody is told. Default 10 min: longer than a launch that goes
    /// well, and half the admission deadline.
    pub stall_after: Duration,
    /// A serving instance without a report: after this long somebody is told. Default 5 min, five reports.
    pub silent_after: Duration,
    /// Default 30 min.
    pub breaker_window: Duration,
    /// What is done about drift. Default `observe`: much of it is meant, and a fleet should first be watched for a while. In a group
    /// that only observes, nothing is done whatever this says.
    pub on_drift: OnDrift,
    /// What is done about an instance that came into service past the gate (attached, back from standby, let in by the hook's default
    /// result) and is not proven `admission_deadline` later, be it that it fails, cannot tell, or says nothing. Default `observe`: the
    /// first thing to mend is the way past the gate, and whoever put it into service may know why. See [`OnDrift`]; who served
    /// before there was this policy is let be.
    pub on_bypass: OnDrift,
    /// So much of what is wanted may not serve, whatever the reason, when one is withdrawn; in percent. Default 10: the others carry
    /// that.
    pub unavailable_max_percent: u32,
    /// An instance is withdrawn when it has drifted for this long without a break. Default 60 s, one report of a serving agent: what
    /// heals by itself is left alone, and whoever fails for the same cause gets to say so first.
    pub withdraw_after: Duration,
    /// A withdrawn instance comes back after passing for this long without a break. Default 60 s: twice, and not by luck.
    pub return_after: Duration,
    /// So many instances that begin to fail for one cause within `common_cause_window` … Default 2: one may be chance.
    pub common_cause_min: usize,
    /// … if they are so many in a hundred of the group too, are one failure and not many: nothing is withdrawn. Default 20.
    pub common_cause_percent: usize,
    /// Default 5 min: five reports, and longer than a configuration takes to reach a fleet.
    pub common_cause_window: Duration,
    /// Where a release must have been proven before it is promoted here. Default nowhere: whoever has no group to try it in gates
    /// this one all the same.
    pub promotion_needs: Option<PromotionNeeds>,
    /// Then one is replaced after this time, to see whether it still fails. Default 30 min: slow enough for a person to look
    /// first, quick enough to heal by itself before the night is over.
    pub breaker_retry_after: Duration,
    /// Default `while_impaired`: an old one must not go before a new one is proven, and otherwise scale-in is nobody's business.
    pub survivors_guard: SurvivorsGuard,
    /// See [`ready_min`](Self::ready_min).
    pub ready_min: Option<u32>,
}

impl GroupPolicy {
    /// So many proven instances must go on serving, whatever is done. By default half of those that are wanted, and one at least:
    /// fewer would not carry the load.
    pub fn ready_min(&self, desired: u32) -> u32 {
        self.ready_min.unwrap_or(desired.div_ceil(2).max(1))
    }

    /// How many may not serve where so many are wanted, when one is withdrawn: one at least.
    pub fn unavailable_max(&self, desired: u32) -> usize {
        let unavailable = u64::from(desired).saturating_mul(u64::from(self.unavailable_max_percent)) / 100;
        usize::try_from(unavailable).unwrap_or(usize::MAX).max(1)
    }

    /// Whether anything may take an instance out of traffic.
    pub fn withdraws(&self) -> bool {
        let observes = self.on_drift == OnDrift::Observe && self.on_bypass == OnDrift::Observe;
        self.mode == Mode::Enforce && !observes
    }
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            hook: "portcullis".into(),
            admission_deadline: Duration::from_secs(20 * 60),
            abandon_interval_min: Duration::from_secs(5 * 60),
            stall_after: Duration::from_secs(10 * 60),
            silent_after: Duration::from_secs(5 * 60),
            promotion_needs: None,
            abandon_outdated: true,
            breaker_failures: 3,
            breaker_window: Duration::from_secs(30 * 60),
            breaker_retry_after: Duration::from_secs(30 * 60),
            on_drift: OnDrift::Observe,
            on_bypass: OnDrift::Observe,
            unavailable_max_percent: 10,
            withdraw_after: Duration::from_secs(60),
            return_after: Duration::from_secs(60),
            common_cause_min: 2,
            common_cause_percent: 20,
            common_cause_window: Duration::from_secs(5 * 60),
            survivors_guard: SurvivorsGuard::WhileImpaired,
            ready_min: None,
        }
    }
}

/// A release must have been proven by so many instances of another group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotionNeeds {
    /// The other group; it is gated too.
    pub group: GroupName,
    /// How many of its instances.
    pub instances: usize,
}

/// Limits common to all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A report must be no older than this at CONTINUE. Default 30 s: six reports of a waiting agent.
    pub report_age_max: Duration,
    /// Of a server that was let in and that a restart of its balancer holds again: to let it in once more, a report must be no
    /// older than this. Default 90 s: a serving agent reports every 60 s, and takes its time.
    pub serving_report_age_max: Duration,
    /// A description must be no older than this at CONTINUE. Default 10 s.
    pub describe_age_max: Duration,
    /// A group is described at least this often. Default 15 s (± 20 %, added by the loop): well below any deadline, and 4 calls
    /// a minute and group stay far from AWS's throttling.
    pub describe_every: Duration,
    /// A waiting instance's hook gets a heartbeat this often, or at a third of its timeout when that is less. Default 600 s.
    pub heartbeat_every: Duration,
    /// After a start, nobody is given up for this long: agents whose reports the controller missed get to speak. Default 60 s.
    pub listen_min: Duration,
    /// An attempt without an answer is taken for lost after this. Default 30 s.
    pub call_timeout: Duration,
    /// The first retry comes after this. Default 1 s, doubled each time up to `backoff_max`.
    pub backoff_min: Duration,
    /// Default 30 s.
    pub backoff_max: Duration,
    /// An instance that still waits by a description asked for this long after the cloud took our CONTINUE or ABANDON is
    /// told again. Default 60 s: descriptions lag by seconds, and telling again does no harm.
    pub propagation_max: Duration,
    /// A group that cannot be described: after this long somebody is told. Default 5 min.
    pub undescribed_after: Duration,
    /// An alert that nobody acknowledged is told again after this. Default 30 min.
    pub alert_repeat_every: Duration,
    /// At most this many calls to the cloud are under way at a time (a description counts as three); the rest come in a later
    /// turn. While the cloud throttles, a share of it is the most for each second: halved each time, and growing slowly. Default
    /// 50: a scale-out of hundreds within seconds, and little enough that AWS mostly takes it.
    pub calls_per_turn_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            report_age_max: Duration::from_secs(30),
            serving_report_age_max: Duration::from_secs(90),
            describe_age_max: Duration::from_secs(10),
            describe_every: Duration::from_secs(15),
            heartbeat_every: Duration::from_secs(600),
            listen_min: Duration::from_secs(60),
            call_timeout: Duration::from_secs(30),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            propagation_max: Duration::from_secs(60),
            undescribed_after: Duration::from_secs(5 * 60),
            alert_repeat_every: Duration::from_secs(30 * 60),
            calls_per_turn_max: 50,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_enforces_withdraws() {
        for (mode, on_drift, on_bypass, withdraws) in [
            (Mode::Enforce, OnDrift::Observe, OnDrift::Observe, false),
            (Mode::Enforce, OnDrift::Standby, OnDrift::Observe, true),
            (Mode::Enforce, OnDrift::Replace, OnDrift::Observe, true),
            (Mode::Enforce, OnDrift::Observe, OnDrift::Standby, true),
            (Mode::Observe, OnDrift::Replace, OnDrift::Replace, false),
        ] {
            let policy = GroupPolicy { mode, on_drift, on_bypass, ..GroupPolicy::default() };
            assert_eq!(policy.withdraws(), withdraws);
        }
    }

    #[test]
    fn how_many_may_not() {
        for (desired, percent, unavailable_max) in
            [(0, 10, 1), (1, 10, 1), (19, 10, 1), (20, 10, 2), (200, 10, 20), (9, 0, 1), (7, 100, 7)]
        {
            let policy = GroupPolicy { unavailable_max_percent: percent, ..GroupPolicy::default() };
            assert_eq!(policy.unavailable_max(desired), unavailable_max, "{percent} % of {desired}");
        }
    }

    #[test]
    fn how_many_must_serve() {
        let policy = GroupPolicy::default();
        for (desired, ready_min) in [(0, 1), (1, 1), (2, 1), (3, 2), (9, 5), (10, 5)] {
            assert_eq!(policy.ready_min(desired), ready_min, "of {desired}");
        }
        let own = GroupPolicy { ready_min: Some(7), ..policy };
        assert_eq!(own.ready_min(10), 7);
    }
}
