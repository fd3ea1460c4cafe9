//! A controller: the real fold and `decide`, and the least that is needed around them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use portcullis::{
    action::AttemptKey,
    decide::{Decision, Memo, decide},
    instance::{GroupName, InstanceId, WaitId},
    observation::{Answer, Observation},
    observed::Observed,
    policy::{GroupPolicy, Limits, Mode, OnDrift, Policy, SurvivorsGuard},
    record::{Key, Record},
    timestamp::Timestamp,
};

use crate::planted::Bug;

#[derive(Debug)]
pub(crate) struct Controller {
    /// Tells one life from the next: an answer to the last one's call is nobody's.
    pub(crate) life: u64,
    pub(crate) alive: bool,
    /// Cut off from the store: it cannot renew its lease, nor see records.
    pub(crate) cut_off_until: u64,
    /// How far its wall clock is ahead of the world's.
    pub(crate) skew: u64,
    /// When it was last set: what it measures across that moment is wrong.
    pub(crate) clock_set_at: u64,
    /// The end of its lease by the monotonic clock, which nobody sets.
    pub(crate) leads_until: u64,
    pub(crate) observed: Observed,
    /// In a share of the runs, since it costs half as much again.
    memo: Option<Memo>,
    pub(crate) policy: Policy,
    pub(crate) wake_at: Option<u64>,
    pub(crate) turn_pending: bool,
    /// What was sent and is not answered, to find what is sent twice.
    pub(crate) under_way: BTreeMap<AttemptKey, u64>,
    /// Ends of waits that it knows were taken.
    pub(crate) taken: BTreeMap<(InstanceId, WaitId), u64>,
    /// When it was last told that the cloud throttles, and what it called in the second since then. The same call twice in a second
    /// is known to it as one: what is remembered is the last attempt at each.
    pub(crate) pressed: Option<(u64, BTreeSet<AttemptKey>)>,
    /// Whether it forgot an instance that a part of a description did not list.
    pub(crate) forgot: bool,
    pub(crate) bug: Option<Bug>,
}

impl Controller {
    pub(crate) fn new(policy: Policy, bug: Option<Bug>) -> Self {
        Self {
            life: 0,
            alive: true,
            cut_off_until: 0,
            skew: 0,
            clock_set_at: 0,
            leads_until: 0,
            observed: Observed::default(),
            memo: None,
            policy,
            wake_at: None,
            turn_pending: false,
            under_way: BTreeMap::new(),
            taken: BTreeMap::new(),
            pressed: None,
            forgot: false,
            bug,
        }
    }

    /// It decides with a memo, and that is compared.
    pub(crate) fn remembering(mut self) -> Self {
        self.memo = Some(Memo::default());
        self
    }

    /// All that it knew is lost.
    pub(crate) fn crashes(&mut self) {
        let (policy, life, bug, skew) = (self.policy.clone(), self.life + 1, self.bug, self.skew);
        let (clock_set_at, memo) = (self.clock_set_at, self.memo.as_ref().map(|_| Memo::default()));
        *self = Self { life, skew, clock_set_at, memo, alive: false, ..Self::new(policy, bug) };
    }

    pub(crate) fn folds(&mut self, observation: Observation, now: u64) {
        let part = matches!(&observation, Observation::Described(description) if !description.complete);
        let known = self.observed.instances.len();
        let observation = match self.bug {
            Some(bug) => bug.observation(observation, self.local(now)),
            None => observation,
        };
        self.notes(&observation, now);
        let local = self.local(now);
        match (self.bug, &observation) {
            (Some(Bug::ForgottenByTheMemo), Observation::Reported(_)) => self.observed.fold(observation, local),
            _ => match &mut self.memo {
                Some(memo) => memo.fold(&mut self.observed, observation, local),
                None => self.observed.fold(observation, local),
            },
        }
        self.forgot |= part && self.observed.instances.len() < known;
    }

    /// What the invariants need to know of what it was told.
    fn notes(&mut self, observation: &Observation, now: u64) {
        match observation {
            Observation::Sent { attempt, .. } => {
                self.under_way.insert(attempt.clone(), now);
                if let Some((at, calls)) = &mut self.pressed
                    && now < *at + 1_000
                {
                    calls.insert(attempt.clone());
                }
                if let AttemptKey::Admit(id, wait) = attempt {
                    self.taken.remove(&(id.clone(), *wait));
                }
            }
            Observation::Answered { attempt, answer, .. } => {
                self.under_way.remove(attempt);
                if *answer == Answer::Throttled && attempt.is_call() {
                    self.pressed = Some((now, BTreeSet::new()));
                }
                if let (AttemptKey::Admit(id, wait), Answer::Accepted) = (attempt, answer) {
                    self.taken.insert((id.clone(), *wait), now);
                }
            }
            Observation::Described(description) if description.complete => {
                self.under_way.remove(&AttemptKey::Describe(description.group.clone()));
            }
            Observation::Stored { key, .. } => drop(self.under_way.remove(&AttemptKey::Record(key.clone()))),
            Observation::Described(_)
            | Observation::Noticed(_)
            | Observation::Reported(_)
            | Observation::Unproven(_)
            | Observation::Lease { .. }
            | Observation::Throttled { .. }
            | Observation::Unreadable { .. }
            | Observation::Certificate(_)
            | Observation::Tick => {}
        }
    }

    /// As the controller's loop does: what is remembered must be what would be decided from scratch.
    pub(crate) fn turns(&mut self, now: u64) -> Decision {
        let decision = self.decides(now);
        let local = self.local(now);
        if let Some(memo) = &mut self.memo {
            assert_eq!(memo.turn(&self.observed, &self.policy, local), decision, "turn == decide");
        }
        decision
    }

    pub(crate) fn decides(&self, now: u64) -> Decision {
        match self.bug {
            None | Some(Bug::ForgottenByTheMemo) => decide(&self.observed, &self.policy, self.local(now)),
            Some(bug) => bug.decide(&self.observed, &self.policy, self.local(now)),
        }
    }

    /// The wait that it would name in a challenge.
    pub(crate) fn present_wait(&self, id: &InstanceId) -> WaitId {
        match self.observed.records.get(&Key::Wait(id.clone())) {
            Some((_, Record::Wait(wait))) if !wait.over => wait.wait,
            _ => WaitId(0),
        }
    }

    /// What its wall clock shows.
    pub(crate) const fn local(&self, now: u64) -> Timestamp {
        Timestamp(now + self.skew)
    }

    /// The last look before an action is attempted, which would hide a decision that does not look: whether the lease lasts until the answer, by the monotonic clock.
    pub(crate) fn may_act(&self, now: u64) -> bool {
        let last_moment = now + self.policy.limits.call_timeout.as_millis() as u64;
        matches!(self.bug, Some(Bug::LeaseByAnothersClock | Bug::ActWithoutLease)) || last_moment <= self.leads_until
    }
}

/// Everything ten times as fast as by default: a run stays short, and the proportions stay as they are.
pub(crate) fn policy(
    groups: &BTreeSet<GroupName>,
    observing: &BTreeSet<GroupName>,
    survivors_guard: SurvivorsGuard,
    on_drift: &BTreeMap<GroupName, OnDrift>,
) -> Policy {
    let seconds = Duration::from_secs;
    let limits = Limits {
        report_age_max: seconds(10),
        serving_report_age_max: seconds(30),
        describe_age_max: seconds(4),
        describe_every: seconds(6),
        heartbeat_every: seconds(30),
        listen_min: seconds(15),
        call_timeout: seconds(4),
        backoff_min: Duration::from_millis(500),
        backoff_max: seconds(4),
        propagation_max: seconds(12),
        undescribed_after: seconds(30),
        alert_repeat_every: seconds(120),
        calls_per_turn_max: 8,
    };
    let group = |name: &GroupName| GroupPolicy {
        promotion_needs: None,
        mode: if observing.contains(name) { Mode::Observe } else { Mode::Enforce },
        hook: crate::cloud::HOOK.into(),
        admission_deadline: seconds(100),
        abandon_interval_min: seconds(30),
        stall_after: seconds(60),
        silent_after: seconds(60),
        breaker_failures: 2,
        breaker_window: seconds(150),
        breaker_retry_after: seconds(100),
        survivors_guard,
        on_drift: on_drift[name],
        withdraw_after: seconds(6),
        return_after: seconds(6),
        common_cause_window: seconds(40),
        ready_min: None,
        ..GroupPolicy::default()
    };
    Policy {
        groups: groups.iter().map(|name| (name.clone(), group(name))).collect(),
        limits,
        sinks: vec!["mail".into(), "pager".into()],
    }
}
