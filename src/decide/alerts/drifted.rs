//! Serving instances are no longer as their release wants them, by their agents' last word. What cannot be told is told too: it
//! is no failure, and nobody is withdrawn for it, but somebody should know. Checks of scope `launch` do not count: what they look at
//! lies outside of the instance; but after another boot it has to prove itself again, like one that waits.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    instance::InstanceId,
    reason::Reason,
    record::{Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let drifted = scope.serving().filter_map(|(id, instance)| {
        let evidence = instance.evidence.as_ref()?;
        let mut told = Reason::ChecksFailing { causes: evidence.drift.clone() }.told();
        if told.is_empty() && !evidence.is_well() && has_booted(scope, id, evidence) {
            told.push("booted again, and not proven since".into());
        }
        (!told.is_empty()).then(|| (id.clone(), told))
    });
    let causes = Tally::of(drifted);
    (!causes.is_empty()).then_some(Alert::Drifted { causes })
}

/// Whether it is not the boot that was admitted: then all counts again that counts at launch.
fn has_booted(scope: &Scope<'_>, id: &InstanceId, evidence: &Evidence) -> bool {
    let admission = scope.observed.records.get(&Key::Admission(id.clone()));
    matches!(admission, Some((_, Record::Admission(admission)))
        if admission.boot.as_ref().is_some_and(|boot| *boot != evidence.boot))
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
                (
                    serving().reported(not_ready(&[Status::Fail]).outside().of_boot("other")),
                    100,
                    "serving, and no longer as the release wants it: booted again, and not proven since on 1 (i-1)",
                ),
                (serving().reported(ready().of_boot("other")), 100, "-"),
            ],
        );
    }
}
