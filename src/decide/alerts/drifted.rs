//! Serving instances are no longer as their release wants them, by their agents' last word. What cannot be told is told too: it
//! is no failure, and nobody is withdrawn for it, but somebody should know. Checks of scope `launch` do not count: what they look at
//! lies outside of the instance.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    reason::Reason,
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let drifted = scope.serving().filter_map(|(id, instance)| {
        let causes = instance.evidence.as_ref()?.drift.clone();
        (!causes.is_empty()).then(|| (id.clone(), Reason::ChecksFailing { causes }.told()))
    });
    let causes = Tally::of(drifted);
    (!causes.is_empty()).then_some(Alert::Drifted { causes })
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};
    use crate::{instance::LifecycleState::InService, outcome::Status};

    #[test]
    fn table() {
        let serving = || in_state(InService).wait(1, true).admission(1);
        check(
            "drifted",
            &[
                (serving(), 100, "-"),
                (serving().reported(ready()), 100, "-"),
                (
                    serving().reported(not_ready(&[Status::Fail])),
                    100,
                    "serving, and no longer as the release wants it: app: fail on 1 (i-1)",
                ),
                (
                    serving().reported(not_ready(&[Status::Unknown])),
                    100,
                    "serving, and no longer as the release wants it: app: unknown on 1 (i-1)",
                ),
                (waiting().reported(not_ready(&[Status::Fail])), 100, "-"),
                (serving().reported(not_ready(&[Status::Fail]).outside()), 100, "-"),
            ],
        );
    }
}
