//! Bugs, planted: what a careless change could do, done to what goes into the real `decide` or comes out of it. Each must be
//! found, or the simulation proves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use portcullis::{
    action::{Action, AttemptKey, Protection, Told},
    decide::{Decision, decide},
    instance::LifecycleState,
    observation::Observation,
    observed::{Instance, Observed},
    outcome::Status,
    policy::{OnDrift, Policy, SurvivorsGuard},
    pressure::Pressure,
    record::{AdmissionRecord, Key, ProtectionRecord, Record, Stage, Way, WithdrawalRecord, Word},
    report::{Cause, Evidence, Readiness},
    timestamp::Timestamp,
};

use crate::{cloud::IN_PLACE, world::SKEW_MAX};
use knowledge::*;

mod knowledge;

/// What is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `hold`: no deadline is ever reached.
    HoldForever,
    /// `hold`: the moments at which a decision changes by itself are not told.
    NeverWake,
    /// `admit`: any report will do.
    AdmitOnAnyReport,
    /// `admit`: what could not be told counts as passed.
    UnknownCountsAsReady,
    /// `admit`: evidence of another wait, or from before it, counts.
    IgnoreWait,
    /// `admit`: a report counts however old it is.
    StaleReportAccepted,
    /// `admit`: whatever release was ever seen is accepted.
    RetiredAccepted,
    /// `admit`: no description is asked for before CONTINUE.
    SkipRedescribe,
    /// `admit`: CONTINUE goes out before its record.
    NoWriteAhead,
    /// `admitted`: that CONTINUE was taken is forgotten.
    DoubleContinue,
    /// `waits`: an instance that comes back from another boot is taken for the same.
    IgnoreBoot,
    /// `give_up`: before the deadline.
    AbandonEarly,
    /// `pacing`: none.
    AbandonUnpaced,
    /// `give_up`: without listening first.
    AbandonAfterRestartAtOnce,
    /// `retry`: what is under way is forgotten.
    ForgetInFlight,
    /// `decide`: the lease is not looked at.
    ActWithoutLease,
    /// The lease ends by somebody else's clock, when it is taken as when it is looked at before an attempt.
    LeaseByAnothersClock,
    /// `heartbeat`: none.
    NoHeartbeat,
    /// `describe`: only when somebody noticed something.
    DescribeOnNoticeOnly,
    /// `reported`: the report that came last counts, whenever its checking began.
    LastReportCounts,
    /// `described`: absence in a part of a description counts.
    PartIsWhole,
    /// `breaker`: it never opens.
    BreakerNeverOpens,
    /// `breaker`: once open, it never tries again.
    BreakerNeverTries,
    /// `stalled`: since when too few serve begins anew with each description.
    ShortForgotten,
    /// `silent`: an agent that never spoke is not missed.
    NeverMissed,
    /// `tell`: what is on record counts as told.
    RecordedIsTold,
    /// `tell`: nobody is told that it is over.
    EndUntold,
    /// `operator`: a word never ends.
    WordForEver,
    /// `operator`: a word on one wait is taken for one on any.
    WordForAnyWait,
    /// `operator`: a word that holds is not heard.
    HoldIgnored,
    /// `operator`: a pause is not heard.
    PauseIgnored,
    /// `withdraw`: any number may be out.
    WithdrawNoBudget,
    /// `withdraw`: nobody need be left.
    WithdrawBelowFloor,
    /// `freeze`: many that fail alike are many failures.
    CommonCauseIgnored,
    /// `drift`: whoever says nothing is taken to fail.
    WithdrawOnSilence,
    /// `report`: what lies outside of the instance counts.
    WithdrawForOthers,
    /// `withdrawn`: whoever speaks has proven itself.
    ReturnsUnproven,
    /// `withdrawn`: whoever stands by is ours to bring back.
    ReturnsWhatOthersWithdrew,
    /// `withdrawn`: nobody comes back.
    ReturnsNobody,
    /// `admit`: that a group is detached is not heard.
    DetachIgnored,
    /// `admit`: a group that is attached again is not gated again.
    DetachedForEver,
    /// `budget`: that the cloud throttles is not heard.
    ThrottlingIgnored,
    /// `in_place`: what gets traffic counts as let in.
    SlipIgnored,
    /// `in_place`: an admission stands, however old the last report is.
    StandsForEver,
    /// `survivors`: nobody is protected.
    GuardNeverProtects,
    /// `survivors`: nobody is let go.
    GuardNeverReleases,
    /// `survivors`: whatever is protected is taken for ours.
    GuardClearsUsers,
    /// `survivors`: calls go out before their record.
    GuardWritesBehind,
    /// `survivors`: what was sent is forgotten.
    GuardForgetsCalls,
    /// `memo`: that an instance reported is not seen.
    ForgottenByTheMemo,
    /// `bypass`: it is told, and no more.
    BypassIgnored,
    /// `bypass`: whoever comes past the gate has no time to prove itself.
    BypassAtOnce,
    /// `bypass`: whoever was there before the gate came past it.
    AdoptionForgotten,
    /// `outdated`: whatever it was launched from.
    OutdatedIsAny,
    /// `outdated`: without the time that a launch takes.
    OutdatedAtOnce,
}

impl Bug {
    pub(crate) const ALL: &[Self] = &[
        Self::HoldForever,
        Self::NeverWake,
        Self::AdmitOnAnyReport,
        Self::UnknownCountsAsReady,
        Self::IgnoreWait,
        Self::StaleReportAccepted,
        Self::RetiredAccepted,
        Self::SkipRedescribe,
        Self::NoWriteAhead,
        Self::DoubleContinue,
        Self::IgnoreBoot,
        Self::AbandonEarly,
        Self::AbandonUnpaced,
        Self::AbandonAfterRestartAtOnce,
        Self::ForgetInFlight,
        Self::ActWithoutLease,
        Self::LeaseByAnothersClock,
        Self::NoHeartbeat,
        Self::DescribeOnNoticeOnly,
        Self::LastReportCounts,
        Self::PartIsWhole,
        Self::BreakerNeverOpens,
        Self::BreakerNeverTries,
        Self::ShortForgotten,
        Self::NeverMissed,
        Self::RecordedIsTold,
        Self::EndUntold,
        Self::WordForEver,
        Self::WordForAnyWait,
        Self::HoldIgnored,
        Self::PauseIgnored,
        Self::WithdrawNoBudget,
        Self::WithdrawBelowFloor,
        Self::CommonCauseIgnored,
        Self::WithdrawOnSilence,
        Self::WithdrawForOthers,
        Self::ReturnsUnproven,
        Self::ReturnsWhatOthersWithdrew,
        Self::ReturnsNobody,
        Self::DetachIgnored,
        Self::DetachedForEver,
        Self::ThrottlingIgnored,
        Self::SlipIgnored,
        Self::StandsForEver,
        Self::GuardNeverProtects,
        Self::GuardNeverReleases,
        Self::GuardClearsUsers,
        Self::GuardWritesBehind,
        Self::GuardForgetsCalls,
        Self::ForgottenByTheMemo,
        Self::BypassIgnored,
        Self::BypassAtOnce,
        Self::AdoptionForgotten,
        Self::OutdatedIsAny,
        Self::OutdatedAtOnce,
    ];

    /// With which seed the search begins: the one that found it lately. It saves time, and nothing else: where it no longer finds it,
    /// others do, and the test prints which.
    pub(crate) const fn found_lately(self) -> u64 {
        match self {
            Self::StandsForEver => 395,
            Self::WithdrawNoBudget => 376,
            Self::WithdrawForOthers => 336,
            Self::GuardNeverProtects => 259,
            Self::LastReportCounts => 145,
            Self::CommonCauseIgnored => 114,
            Self::BypassIgnored => 88,
            Self::DetachedForEver => 35,
            Self::NeverWake => 26,
            Self::IgnoreBoot => 22,
            Self::BreakerNeverTries => 16,
            Self::AbandonAfterRestartAtOnce => 15,
            Self::StaleReportAccepted | Self::OutdatedAtOnce => 12,
            Self::WithdrawOnSilence => 11,
            Self::GuardClearsUsers => 10,
            Self::OutdatedIsAny => 9,
            Self::UnknownCountsAsReady => 7,
            Self::IgnoreWait
            | Self::AbandonUnpaced
            | Self::NoHeartbeat
            | Self::BreakerNeverOpens
            | Self::RecordedIsTold => 6,
            Self::RetiredAccepted => 5,
            Self::BypassAtOnce | Self::AdoptionForgotten => 4,
            _ => 0,
        }
    }

    /// What is folded in place of what was observed.
    pub(crate) fn observation(self, observation: Observation, now: Timestamp) -> Observation {
        match (self, observation) {
            (Self::LastReportCounts, Observation::Reported(evidence)) => {
                Observation::Reported(Evidence { challenged_at: now, received_at: now, ..evidence })
            }
            (Self::RecordedIsTold, Observation::Stored { key, revision, record: Some(Record::Alert(mut record)) }) => {
                for sink in ["mail", "pager"] {
                    record.told.entry(sink.into()).or_insert(record.since);
                }
                Observation::Stored { key, revision, record: Some(Record::Alert(record)) }
            }
            (Self::LeaseByAnothersClock, Observation::Lease { epoch, until }) => {
                Observation::Lease { epoch, until: until + Duration::from_millis(SKEW_MAX) }
            }
            (Self::PartIsWhole, Observation::Described(mut description)) => {
                description.complete = true;
                Observation::Described(description)
            }
            (_, observation) => observation,
        }
    }

    /// What is decided in place of what would have been.
    pub(crate) fn decide(self, observed: &Observed, policy: &Policy, now: Timestamp) -> Decision {
        let (mut known, mut policy, unbent) = (observed.clone(), policy.clone(), policy);
        self.bend_policy(&mut policy);
        self.bend_knowledge(&mut known, now);
        let mut decision = decide(&known, &policy, now);
        match self {
            Self::NeverWake => decision.wake_at = None,
            Self::WithdrawOnSilence | Self::WithdrawForOthers | Self::WithdrawBelowFloor => {
                let bent = decision.actions;
                decision = decide(observed, &policy, now);
                let known: BTreeSet<_> = decision.actions.iter().map(Action::key).collect();
                let more = bent.into_iter().filter(|action| is_withdrawal(action) && !known.contains(&action.key()));
                decision.actions.extend(more);
            }
            // All else that waits so long waits on.
            Self::OutdatedAtOnce => {
                let bent = decision.actions;
                decision = decide(observed, unbent, now);
                let known: BTreeSet<_> = decision.actions.iter().map(Action::key).collect();
                let bent =
                    bent.into_iter().filter(|action| is_of_an_outdated(action) && !known.contains(&action.key()));
                decision.actions.extend(bent);
            }
            Self::EndUntold => {
                decision.actions.retain(|action| !matches!(action, Action::Tell { told: Told::IsOver, .. }));
            }
            Self::NoHeartbeat | Self::SlipIgnored => {
                let is_held = |action: &Action| match (self, action) {
                    (Self::SlipIgnored, Action::KeepWaiting(held)) => held.group.as_str() != IN_PLACE,
                    (_, action) => !matches!(action, Action::KeepWaiting(_)),
                };
                decision.actions.retain(is_held);
            }
            Self::GuardNeverReleases => {
                decision
                    .actions
                    .retain(|action| !matches!(action, Action::Protect(Protection { protected: false, .. })));
            }
            _ => {}
        }
        decision
    }

    fn bend_policy(self, policy: &mut Policy) {
        for group in policy.groups.values_mut() {
            match self {
                Self::HoldForever => group.admission_deadline = Duration::MAX,
                Self::AbandonEarly => group.admission_deadline /= 2,
                Self::BreakerNeverOpens => group.breaker_failures = usize::MAX,
                Self::BreakerNeverTries => group.breaker_retry_after = Duration::MAX,
                Self::GuardNeverProtects => group.survivors_guard = SurvivorsGuard::Off,
                Self::AbandonUnpaced => group.abandon_interval_min = Duration::ZERO,
                Self::WithdrawNoBudget => group.unavailable_max_percent = 100,
                Self::CommonCauseIgnored => group.common_cause_min = usize::MAX,
                Self::OutdatedAtOnce => group.stall_after = Duration::ZERO,
                Self::BypassIgnored => group.on_bypass = OnDrift::Observe,
                Self::ReturnsNobody => group.return_after = Duration::MAX,
                _ => {}
            }
        }
        match self {
            Self::StaleReportAccepted => policy.limits.report_age_max = Duration::from_secs(3_600),
            Self::StandsForEver => policy.limits.serving_report_age_max = Duration::from_secs(3_600),
            Self::AbandonAfterRestartAtOnce => policy.limits.listen_min = Duration::ZERO,
            Self::DescribeOnNoticeOnly => policy.limits.describe_every = Duration::from_secs(3_600),
            _ => {}
        }
    }

    fn bend_knowledge(self, known: &mut Observed, now: Timestamp) {
        match self {
            Self::RetiredAccepted => accept_all(known),
            Self::NoWriteAhead => record_in_thought(known),
            Self::DoubleContinue => forget(known, |key, answered| answered && matches!(key, AttemptKey::Admit(..))),
            Self::GuardClearsUsers => take_for_ours(known),
            Self::GuardWritesBehind => protect_in_thought(known),
            Self::GuardForgetsCalls => forget(known, |key, _| matches!(key, AttemptKey::Protect(_, true))),
            Self::ForgetInFlight => forget(known, |_, answered| !answered),
            Self::WordForEver | Self::WordForAnyWait | Self::HoldIgnored | Self::PauseIgnored => self.bend_words(known),
            Self::DetachIgnored => known.records.retain(|key, _| !matches!(key, Key::Detach(_))),
            Self::ThrottlingIgnored => known.pressure = Pressure::default(),
            Self::DetachedForEver => detach_for_ever(known),
            Self::ShortForgotten => known.groups.values_mut().for_each(|group| group.short_since = group.asked_at),
            Self::ActWithoutLease => known.lease = Some((0, Timestamp(u64::MAX))),
            Self::ReturnsWhatOthersWithdrew => adopt_all(known),
            Self::AdoptionForgotten => forget_adopted(known),
            Self::OutdatedIsAny => see_another_template(known, now),
            Self::WithdrawBelowFloor => see_twice(known, now),
            _ => {}
        }
        let waits = known.records.clone();
        for (id, instance) in &mut known.instances {
            let wait = match waits.get(&Key::Wait(id.clone())) {
                Some((_, Record::Wait(wait))) => Some((wait.wait, wait.since)),
                _ => None,
            };
            let admitted = match waits.get(&Key::Admission(id.clone())) {
                Some((_, Record::Admission(record))) => record.boot.clone(),
                _ => None,
            };
            self.bend_instance(instance, now);
            let Some(evidence) = &mut instance.evidence else { continue };
            match (self, wait, admitted) {
                (Self::IgnoreWait, Some((wait, since)), _) => {
                    evidence.wait = wait;
                    evidence.challenged_at = evidence.challenged_at.max(since);
                }
                (Self::IgnoreBoot, _, Some(boot)) => evidence.boot = boot,
                _ => bend_evidence(self, evidence),
            }
        }
    }

    fn bend_words(self, known: &mut Observed) {
        let waits = known.records.clone();
        let wait = |id| match waits.get(&Key::Wait(id)) {
            Some((_, Record::Wait(wait))) => Some(wait.wait),
            _ => None,
        };
        known.records.retain(|key, (_, record)| match (self, key, record) {
            (Self::PauseIgnored, Key::Pause(_), _) => false,
            (Self::HoldIgnored, _, Record::Override(said)) => said.word != Word::Hold,
            (Self::WordForEver, _, Record::Override(said)) => {
                said.until = Timestamp(u64::MAX);
                true
            }
            (Self::WordForAnyWait, Key::Override(id), Record::Override(said)) => {
                said.wait = wait(id.clone()).unwrap_or(said.wait);
                true
            }
            _ => true,
        });
    }

    fn bend_instance(self, instance: &mut Instance, now: Timestamp) {
        if self == Self::NeverMissed && instance.evidence.is_none() {
            instance.serving_since = Some(now);
        }
        if self == Self::ReturnsUnproven && instance.state == LifecycleState::Standby {
            instance.well_since = Some(Timestamp(0));
        }
        if self == Self::BypassAtOnce && instance.serving_since.is_some() {
            instance.serving_since = Some(Timestamp(0));
        }
        self.bend_drift(instance, now);
        if self == Self::SkipRedescribe && instance.state == LifecycleState::PendingWait {
            instance.described_at = now;
        }
    }
}

impl Bug {
    /// What is seen of a serving instance that drifted, or did not.
    fn bend_drift(self, instance: &mut Instance, now: Timestamp) {
        let Some(evidence) = &mut instance.evidence else { return };
        let silent = now.since(evidence.received_at) > Duration::from_secs(30);
        let causes = match &evidence.readiness {
            Readiness::NotReady { causes } => causes.clone(),
            Readiness::Ready => vec![],
        };
        match self {
            Self::WithdrawOnSilence if silent => evidence.drift = vec![failure()],
            Self::WithdrawForOthers if !causes.is_empty() => evidence.drift = causes,
            Self::ReturnsUnproven if instance.state == LifecycleState::Standby => {
                (evidence.readiness, evidence.drift) = (Readiness::Ready, vec![]);
                return;
            }
            _ => return,
        }
        evidence.received_at = now;
        instance.drifting_since = Some(Timestamp(0));
    }
}

/// All that such a bug changes: the rest of what it knows is true.
fn is_withdrawal(action: &Action) -> bool {
    matches!(action, Action::Withdraw(_) | Action::Record { key: Key::Withdrawal(_), .. })
}

fn is_of_an_outdated(action: &Action) -> bool {
    matches!(action, Action::Record { record: Record::Rejection(record), .. } if record.outdated.is_some())
}

fn failure() -> Cause {
    let (status, problem, examples, detail) = (Status::Fail, None, vec![], None);
    Cause { check: "app".into(), status, problem, count: 0, examples, detail }
}

fn bend_evidence(bug: Bug, evidence: &mut Evidence) {
    let untold = match &evidence.readiness {
        Readiness::Ready => false,
        Readiness::NotReady { causes } => causes.iter().all(|cause| cause.status == Status::Unknown),
    };
    if bug == Bug::AdmitOnAnyReport || (bug == Bug::UnknownCountsAsReady && untold) {
        evidence.readiness = Readiness::Ready;
    }
}
