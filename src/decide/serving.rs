//! Answers for instances past the gate: they serve, and nothing is done to them; what is told is how they came there.

use alloc::boxed::Box;
use core::time::Duration;

use super::{
    case::Case,
    opinion::Opinion,
    proof::{is_behind, proof},
};
use crate::{instance::LifecycleState, reason::Reason};

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    match case.instance.state {
        LifecycleState::InService | LifecycleState::PendingProceed => {
            let opinion = Opinion::admitted(case, reason(case));
            Some(if case.admission().is_some() { opinion.past_the_hook() } else { opinion })
        }
        LifecycleState::Pending
        | LifecycleState::PendingWait
        | LifecycleState::Standby
        | LifecycleState::Terminating
        | LifecycleState::Other(_) => None,
    }
}

/// Why it was admitted, by its record; where that holds no proof, because the group only observed, by what it proves now.
pub(super) fn reason(case: &Case<'_>) -> Reason {
    let bypassed = |case: &Case<'_>| match case.enforces() {
        true => Reason::Bypassed,
        false => ungated_or(case, Reason::Bypassed),
    };
    let Some(admission) = case.admission() else {
        return bypassed(case);
    };
    if let Some(manifest) = admission.manifest {
        return Reason::Proven { manifest, behind: is_behind(case.accepted(), &manifest) };
    }
    let Some(wait) = case.wait() else {
        return bypassed(case);
    };
    match proof(case, wait, Duration::MAX) {
        Ok(proof) => proof.reason(),
        Err(otherwise) => ungated_or(case, otherwise),
    }
}

/// What an observing group makes of a reason to hold.
pub(super) fn ungated_or(case: &Case<'_>, otherwise: Reason) -> Reason {
    if case.accepted().is_empty() {
        return Reason::Ungated;
    }
    Reason::ObservedOnly { otherwise: Box::new(otherwise) }
}
