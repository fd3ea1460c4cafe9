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
        | LifecycleState::WarmedPendingWait
        | LifecycleState::EnteringStandby
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
    if let Some(warrant) = &admission.warrant {
        return Reason::OperatorAdmits { warrant: warrant.clone() };
    }
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

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{instance::LifecycleState, outcome::Status};

    #[test]
    fn how_it_came_to_serve() {
        let serving = || in_state(LifecycleState::InService).wait(1, true);
        let observed = || serving().admission_of(1, None, None).observing();
        check(
            rule,
            &[
                (serving().admission(1), 100, "admitted proven"),
                (serving().admission(1).accepting(&["newer", "new"]), 100, "admitted proven behind"),
                (serving(), 100, "admitted bypassed"),
                (serving().admission(2), 100, "admitted bypassed"),
                (in_state(LifecycleState::InService).admission(2), 100, "admitted proven"),
                (in_state(LifecycleState::InService), 100, "admitted bypassed"),
                (in_state(LifecycleState::InService).admission_of(1, None, None), 100, "admitted bypassed"),
                (serving().observing(), 100, "admitted observed_only(bypassed)"),
                (serving().observing().accepting(&[]), 100, "admitted ungated"),
                (serving().warranted(1, None), 100, "admitted operator_admits"),
                (serving().warranted(1, None).observing(), 100, "admitted operator_admits"),
                (observed(), 100, "admitted observed_only(no_report)"),
                (observed().accepting(&[]), 100, "admitted ungated"),
                (observed().reported(ready()), 9_000, "admitted proven"),
                (observed().reported(ready().of_wait(0)), 9_000, "admitted proven"),
                (
                    observed().reported(ready().of_wait(0).challenged(before(1))),
                    100,
                    "admitted observed_only(outdated_report)",
                ),
                (observed().reported(not_ready(&[Status::Fail])), 9_000, "admitted observed_only(checks_failing)"),
                (in_state(LifecycleState::PendingProceed).wait(1, true).admission(1), 100, "admitted proven"),
                (in_state(LifecycleState::Pending), 100, "not ours"),
                (waiting(), 100, "not ours"),
                (in_state(LifecycleState::Standby), 100, "not ours"),
                (in_state(LifecycleState::Terminating), 100, "not ours"),
                (in_state(LifecycleState::Other("Warmed:Running".into())), 100, "not ours"),
            ],
        );
        let past =
            |scene: Scene| rule(&scene.case(at(100))).and_then(|opinion| Some(opinion.ruling?.continue_accepted));
        assert_eq!((past(serving().admission(1)), past(serving())), (Some(true), Some(false)));
    }
}
