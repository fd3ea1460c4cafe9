//! What the evidence of a serving instance is worth: whether it is still proven, and whether it has drifted. The one place that
//! decides that an instance may be withdrawn for what its agent says.
//!
//! Silence is never drift: an old report, one of before its last wait (its content may be another), or one that was made before this
//! controller listened, says nothing of the present. What is unknown is no drift either, nor what lies outside of the instance (scope `launch`), nor what two speakers dispute.
//!
//! An instance that booted again while it serves proves itself again, like one that waits: until then it is not proven. It is
//! withdrawn when something fails that counts while it serves, like any other.

use alloc::{
    collections::BTreeSet,
    string::{String, ToString as _},
};

use super::case::Case;
use crate::{
    outcome::Status,
    reason::Reason,
    report::{Cause, Evidence},
    timestamp::Timestamp,
};

/// Something fails that counts while the instance serves.
pub(super) struct Drift<'a> {
    pub(super) evidence: &'a Evidence,
    /// Since when, without a break.
    pub(super) since: Timestamp,
}

impl Drift<'_> {
    /// What other instances may have in common with it.
    pub(super) fn causes(&self) -> BTreeSet<String> {
        causes(self.evidence)
    }

    /// For people.
    pub(super) fn because(&self) -> String {
        let failed = self.evidence.drift.iter().filter(|cause| cause.status == Status::Fail).cloned();
        Reason::ChecksFailing { causes: failed.collect() }.to_string()
    }
}

/// What fails, whatever the instance.
pub(super) fn causes(evidence: &Evidence) -> BTreeSet<String> {
    evidence.drift.iter().filter(|cause| cause.status == Status::Fail).map(Cause::key).collect()
}

/// Whether and since when it has drifted, by what it said of late to this controller.
pub(super) fn drift<'a>(case: &Case<'a>) -> Option<Drift<'a>> {
    let (since, listening_since) = (case.instance.drifting_since?, case.observed.listening_since?);
    let evidence = spoken(case).filter(|evidence| evidence.received_at >= listening_since)?;
    Some(Drift { evidence, since })
}

/// Whether it is as its release wants it, by what it said of late: all that counts while it serves passed, and after another boot
/// than the one that was admitted, all that counts at launch too.
pub(super) fn is_proven(case: &Case<'_>) -> bool {
    let admitted = case.admission().and_then(|admission| admission.boot.as_ref());
    let same_boot = |evidence: &Evidence| admitted == Some(&evidence.boot);
    spoken(case).is_some_and(|evidence| evidence.drift.is_empty() && (evidence.is_well() || same_boot(evidence)))
}

/// Its last word, while that is fresh enough not to be silence, and nobody else claims to speak for it.
fn spoken<'a>(case: &Case<'a>) -> Option<&'a Evidence> {
    let evidence = case.instance.evidence.as_ref()?;
    let of_now = case.wait().is_none_or(|wait| evidence.challenged_at >= wait.since);
    (of_now && case.dispute().is_none() && silent_at(case) > Some(case.now)).then_some(evidence)
}

/// When its last word becomes silence.
pub(super) fn silent_at(case: &Case<'_>) -> Option<Timestamp> {
    case.instance.evidence.as_ref().map(|evidence| evidence.received_at + case.policy.silent_after)
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, *};
    use crate::report::Readiness;

    fn three(drifted: &[&str]) -> Scene {
        drifting(&["i-1", "i-2", "i-3"], drifted, 100)
    }

    fn said(scene: &Scene, now: u64) -> (bool, bool) {
        let case = scene.case(at(now));
        (is_proven(&case), drift(&case).is_some())
    }

    #[test]
    fn what_counts() {
        let failing = || not_ready(&[Status::Fail]).challenged(at(100)).received(101);
        let unknown = not_ready(&[Status::Unknown]).challenged(at(100)).received(101);
        let (proven, drifted, neither) = ((true, false), (false, true), (false, false));
        for (number, (scene, now, expected)) in [
            (three(&[]), 100, proven),
            (three(&["i-1"]), 100, drifted),
            (three(&["i-1"]).reported(unknown), 102, neither),
            (three(&[]).reported(failing()), 102, drifted),
            // A check of scope `launch`; after another boot, it counts too.
            (three(&[]).reported(failing().outside()), 102, proven),
            (three(&[]).reported(failing().outside().of_boot("other")), 102, neither),
            (three(&[]).reported(ready().challenged(at(100)).received(101).of_boot("other")), 102, proven),
            (three(&[]).reported(failing().of_boot("other")), 102, drifted),
            // One of scope `serving`.
            (three(&[]).reported(Evidence { readiness: Readiness::Ready, ..failing() }), 102, drifted),
            // Silence is neither.
            (three(&[]), 398, proven),
            (three(&[]), 399, neither),
            (three(&["i-1"]), 398, drifted),
            (three(&["i-1"]), 399, neither),
            // What it said before this controller listened is no drift: it may have healed since.
            (three(&["i-1"]).listening_since(Some(at(99))), 100, drifted),
            (three(&["i-1"]).listening_since(Some(at(100))), 100, neither),
            (three(&["i-1"]).listening_since(None), 100, neither),
            (three(&[]).wait_of("i-1", 2, at(98), true), 100, proven),
            (three(&[]).wait_of("i-1", 2, at(99), true), 100, neither),
            (three(&["i-1"]).wait_of("i-1", 2, at(99), true), 100, drifted),
            (three(&["i-1"]).wait_of("i-1", 2, at(100), true), 100, neither),
            (three(&[]).disputed(), 100, neither),
            (three(&["i-1"]).disputed(), 100, neither),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(said(&scene, now), expected, "row {number}");
        }
    }
}
