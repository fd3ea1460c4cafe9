//! Instances serve that never passed the gate: attached, back from standby, launched before there was a hook, or let in by the
//! hook's default result; or a balancer lets in what is held.

use alloc::{collections::BTreeSet, vec};

use super::{
    super::{bypass, case::Case},
    Scope,
};
use crate::{
    alert::{Alert, Tally},
    instance::LifecycleState,
    observation::Custody,
    reason::Reason,
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let getting_traffic = scope.members().filter(|(_, instance)| gets_traffic(scope, &instance.state));
    let reason = |id| scope.rulings.get(id).map(|ruling| &ruling.reason);
    let bypassed = getting_traffic.filter(|(id, instance)| {
        let leaves = reason(*id).is_some_and(is_of_withdrawing);
        is_bypassed(reason(*id))
            || (leaves && Case::of(id, instance, scope.gated).is_some_and(|case| bypass::is_bypassed(&case)))
    });
    let causes = |id| match reason(id) {
        Some(Reason::Slipped) => vec!["slipped".into()],
        _ => vec!["bypassed".into()],
    };
    let instances = Tally::of(bypassed.map(|(id, _)| (id.clone(), causes(id))));
    (!instances.is_empty()).then_some(Alert::Bypassed { instances })
}

/// Behind several balancers it does as soon as one of them lets it in.
fn gets_traffic(scope: &Scope<'_>, state: &LifecycleState) -> bool {
    let facts = scope.group.and_then(|group| group.facts.as_ref());
    let in_place = facts.is_some_and(|facts| facts.custody == Custody::InPlace);
    *state == LifecycleState::InService || (in_place && *state == LifecycleState::PendingProceed)
}

/// A group that only observes lets them be, and tells of them all the same.
fn is_bypassed(reason: Option<&Reason>) -> bool {
    match reason {
        Some(Reason::Bypassed | Reason::Slipped) => true,
        Some(Reason::ObservedOnly { otherwise }) => is_bypassed(Some(&**otherwise)),
        _ => false,
    }
}

/// It is to leave for it, or for what else fails: until it does, it serves.
const fn is_of_withdrawing(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::WithdrawalHeldBack { .. } | Reason::WithdrawalNotRecorded { .. } | Reason::Withdrawing { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};
    use crate::{
        instance::LifecycleState::{InService, PendingProceed},
        policy::OnDrift,
    };

    #[test]
    fn table() {
        let serving = || in_state(InService).wait(1, true);
        let leaving = || {
            let mut scene =
                drifting(&["i-1", "i-2"], &[], 1_400).without_admission("i-1").serving_since(0).adopted(&[]);
            scene.group_policy().on_bypass = OnDrift::Standby;
            scene
        };
        let told = "in service without having passed the gate: bypassed on 1 (i-1)";
        check(
            "bypassed",
            &[
                (serving(), 100, told),
                (serving().observing(), 100, told),
                (serving().admission(1), 100, "-"),
                (serving().warranted(1, None), 100, "-"),
                (waiting(), 100, "-"),
                // That it is to be taken out for it does not end it.
                (leaving().paused(9_000), 1_400, told),
                (leaving().paused(9_000).admission_for("i-1").drifts("i-1", 100, 1_399), 1_400, "-"),
                (in_state(PendingProceed).wait(1, true), 100, "-"),
                (in_state(PendingProceed).in_place().wait(1, true), 100, told),
                (
                    in_state(InService).in_place().wait(1, false),
                    100,
                    "in service without having passed the gate: slipped on 1 (i-1)",
                ),
                (
                    serving().beside("i-2", InService),
                    100,
                    "in service without having passed the gate: bypassed on 2 (i-1, i-2)",
                ),
            ],
        );
    }
}
