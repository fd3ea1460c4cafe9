//! Instances serve that never passed the gate: attached, back from standby, launched before there was a hook, or let in by the
//! hook's default result.

use alloc::{collections::BTreeSet, vec};

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    reason::Reason,
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let bypassed = scope.serving().filter(|(id, _)| is_bypassed(scope.rulings.get(*id).map(|ruling| &ruling.reason)));
    let instances = Tally::of(bypassed.map(|(id, _)| (id.clone(), vec!["bypassed".into()])));
    (!instances.is_empty()).then_some(Alert::Bypassed { instances })
}

/// A group that only observes lets them be, and tells of them all the same.
fn is_bypassed(reason: Option<&Reason>) -> bool {
    match reason {
        Some(Reason::Bypassed) => true,
        Some(Reason::ObservedOnly { otherwise }) => is_bypassed(Some(&**otherwise)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};
    use crate::instance::LifecycleState::{InService, PendingProceed};

    #[test]
    fn table() {
        let serving = || in_state(InService).wait(1, true);
        let told = "in service without having passed the gate: bypassed on 1 (i-1)";
        check(
            "bypassed",
            &[
                (serving(), 100, told),
                (serving().observing(), 100, told),
                (serving().admission(1), 100, "-"),
                (serving().warranted(1, None), 100, "-"),
                (waiting(), 100, "-"),
                (in_state(PendingProceed).wait(1, true), 100, "-"),
                (
                    serving().beside("i-2", InService),
                    100,
                    "in service without having passed the gate: bypassed on 2 (i-1, i-2)",
                ),
            ],
        );
    }
}
