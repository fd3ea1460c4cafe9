//! Whom to protect.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{Guard, Scope};
use crate::{
    decide::Breaker,
    instance::{InstanceId, LifecycleState},
    observation::Custody,
    observed::Instance,
    outcome::Status,
    policy::{Mode, SurvivorsGuard},
    reason::Reason,
    record::{Key, Record},
    report::Readiness,
    timestamp::Timestamp,
};

impl<'a> Scope<'a> {
    /// A group that only observes is left as it is: nobody is held in it, so nobody has to be waited for. Behind a balancer
    /// nothing is scaled in.
    pub(super) fn guard(&self) -> Guard {
        let custody = self.group.facts.as_ref().map(|facts| facts.custody);
        match self.policy.survivors_guard {
            SurvivorsGuard::Off => Guard::Off,
            _ if custody == Some(Custody::InPlace) => Guard::Off,
            _ if self.policy.mode == Mode::Observe => Guard::Off,
            _ if self.is_impaired() => Guard::Impaired,
            SurvivorsGuard::WhileImpaired => Guard::AtRest,
            // Whoever leaves is not to find our protection there for ever.
            SurvivorsGuard::Always if self.gated.detached.is_some() => Guard::AtRest,
            SurvivorsGuard::Always if self.refresh_would_wait() => Guard::StandsAside,
            SurvivorsGuard::Always => Guard::Floor,
        }
    }

    pub(super) fn wanted(&self, guard: Guard) -> BTreeSet<&'a InstanceId> {
        match guard {
            Guard::Off | Guard::AtRest | Guard::StandsAside => BTreeSet::new(),
            // Who was proven when this began stays protected, whatever a check says now: no new one has shown more.
            Guard::Impaired => self
                .serving()
                .filter(|(id, one)| self.is_kept(id) || self.is_proven(id, one))
                .map(|(id, _)| id)
                .collect(),
            Guard::Floor => self.floor(),
        }
    }

    fn is_impaired(&self) -> bool {
        let is_short = self.group.facts.as_ref().is_some_and(crate::observation::GroupFacts::is_short);
        let is_open = matches!(self.breaker, Breaker::Open { .. });
        is_short || is_open || self.members().any(|(_, instance)| is_launched(instance))
    }

    fn refresh_would_wait(&self) -> bool {
        let refresh = self.group.facts.as_ref().and_then(|facts| facts.refresh.as_ref());
        refresh.is_some_and(|refresh| refresh.waits_for_protected)
    }

    /// As many as must serve at least. Those with the wanted release come first, so that a rollout can come to its end; of these,
    /// the ones that are protected already, so that nothing goes to and fro; then those that were admitted first, and have
    /// shown longest that they work.
    fn floor(&self) -> BTreeSet<&'a InstanceId> {
        let proven = self.serving().filter(|(id, instance)| self.is_proven(id, instance));
        let mut proven: Vec<_> =
            proven.map(|(id, _)| (self.is_behind(id), !self.is_kept(id), self.admitted_at(id), id)).collect();
        proven.sort_unstable();
        let desired = self.group.facts.as_ref().map_or(0, |facts| facts.desired);
        proven.into_iter().take(self.policy.ready_min(desired) as usize).map(|(.., id)| id).collect()
    }

    fn serving(&self) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> + use<'a> {
        self.members().filter(|(_, instance)| instance.state == LifecycleState::InService)
    }

    fn is_kept(&self, id: &InstanceId) -> bool {
        self.kept.contains_key(id)
    }

    /// Its last report passed, for a release that is accepted; or it was admitted on proof and no check has failed since. So an
    /// instance from before there was a gate is a survivor too, once its agent has spoken.
    fn is_proven(&self, id: &InstanceId, instance: &Instance) -> bool {
        let last = instance.evidence.as_ref();
        let fails = last.is_some_and(|evidence| match &evidence.readiness {
            Readiness::Ready => false,
            Readiness::NotReady { causes } => causes.iter().any(|cause| cause.status == Status::Fail),
        });
        let passes = last.is_some_and(|evidence| {
            evidence.readiness == Readiness::Ready && self.gated.accepted.contains(&evidence.manifest)
        });
        let admitted = matches!(self.reason(id), Some(Reason::Proven { .. }));
        passes || (admitted && !fails)
    }

    fn is_behind(&self, id: &InstanceId) -> bool {
        !matches!(self.reason(id), Some(Reason::Proven { behind: false, .. }))
    }

    fn reason(&self, id: &InstanceId) -> Option<&'a Reason> {
        self.rulings.get(id).map(|ruling| &ruling.reason)
    }

    fn admitted_at(&self, id: &InstanceId) -> Timestamp {
        match self.observed.records.get(&Key::Admission(id.clone())) {
            Some((_, Record::Admission(record))) => record.at,
            _ => Timestamp(u64::MAX),
        }
    }
}

/// On its way into service.
fn is_launched(instance: &Instance) -> bool {
    match instance.state {
        LifecycleState::Pending | LifecycleState::PendingWait | LifecycleState::PendingProceed => true,
        // A warm pool is filled in good time.
        LifecycleState::WarmedPendingWait
        | LifecycleState::InService
        | LifecycleState::EnteringStandby
        | LifecycleState::Standby
        | LifecycleState::Terminating
        | LifecycleState::Other(_) => false,
    }
}
