//! Serving instances are no longer as their release wants them, by their agents' last word. What cannot be told is told too: it
//! is no failure, and nobody is withdrawn for it, but somebody should know. Checks of scope `launch` do not count: what they look at
//! lies outside of the instance; but after another boot it has to prove itself again, like one that waits. Who was taken out of
//! traffic for it is told for as long as it is out.

use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    instance::{InstanceId, LifecycleState},
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
    let causes = Tally::of(drifted.chain(withdrawn(scope)));
    (!causes.is_empty()).then_some(Alert::Drifted { causes })
}

/// Those that are out of traffic for it: the group stays smaller until somebody mends them, and nothing else says so.
fn withdrawn(scope: &Scope<'_>) -> impl Iterator<Item = (InstanceId, Vec<String>)> {
    let stand_by = scope
        .members()
        .filter(|(_, instance)| matches!(instance.state, LifecycleState::EnteringStandby | LifecycleState::Standby));
    stand_by.filter_map(|(id, _)| match &scope.rulings.get(id)?.reason {
        Reason::Withdrawn { because, .. } => Some((id.clone(), vec![format!("out of traffic: {because}")])),
        _ => None,
    })
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
    use crate::{
        instance::LifecycleState::{InService, Standby},
        outcome::Status,
        record::Stage,
    };

    #[test]
    fn table() {
        let serving = || in_state(InService).wait(1, true).admission(1);
        let stands_by = |stage| {
            let scene = drifting(&["i-1", "i-2"], &[], 100).withdrawal("i-1", stage, 50);
            scene.in_the_state("i-1", Standby).listening_since(Some(at(60)))
        };
        check(
            "drifted",
            &[
                (serving(), 100, "-"),
                (serving().reported(ready()), 100, "-"),
                (
                    serving().reported(not_ready(&[Status::Fail])),
                    100,
                    "no longer as the release wants it: app: fail on 1 (i-1)",
                ),
                (
                    serving().reported(not_ready(&[Status::Unknown])),
                    100,
                    "no longer as the release wants it: app: unknown on 1 (i-1)",
                ),
                (waiting().reported(not_ready(&[Status::Fail])), 100, "-"),
                (serving().reported(not_ready(&[Status::Fail]).outside()), 100, "-"),
                (
                    serving().reported(not_ready(&[Status::Fail]).outside().of_boot("other")),
                    100,
                    "no longer as the release wants it: booted again, and not proven since on 1 (i-1)",
                ),
                (serving().reported(ready().of_boot("other")), 100, "-"),
                // That it was taken out does not end it.
                (stands_by(Stage::Out), 100, "no longer as the release wants it: out of traffic: app: fail on 1 (i-1)"),
                (stands_by(Stage::Over), 100, "-"),
            ],
        );
    }
}
