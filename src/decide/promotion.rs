//! What a promotion and a retirement look at: where a release has been proven, and where it still serves.
//!
//! A release that cannot be tested anywhere but in production is tested there. So a group may demand that a release was proven in
//! another group first ([`GroupPolicy::promotion_needs`](crate::policy::GroupPolicy::promotion_needs)): by instances that were
//! admitted on proof of the very same manifest, or that serve and have proven it since. Who was let in on an operator's word
//! proves nothing, nor does whoever has failed in the meantime; who was proven and is gone still counts, for as long as that
//! is on record, since a staging group is often empty at night.

use alloc::collections::BTreeSet;

use crate::{
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState},
    observed::{Instance, Observed},
    record::{AdmissionRecord, Key, Record},
    report::Readiness,
};

/// The instances of `group` that have proven `manifest`, and of which nothing else is known since.
pub fn proven(observed: &Observed, group: &GroupName, manifest: &Digest) -> BTreeSet<InstanceId> {
    let admitted = admissions(observed).filter(|(_, admission)| {
        admission.group == *group && admission.manifest == Some(*manifest) && admission.warrant.is_none()
    });
    let admitted = admitted.map(|(id, _)| id).filter(|id| observed.instances.get(*id).is_none_or(is_well));
    let instances = observed.instances.iter().filter(|(_, instance)| {
        let of_it = |evidence: &&_| is_of(evidence, manifest) && matches!(evidence.readiness, Readiness::Ready);
        instance.group == *group && is_past_the_gate(instance) && instance.evidence.as_ref().filter(of_it).is_some()
    });
    admitted.chain(instances.map(|(id, _)| id)).cloned().collect()
}

/// The instances of `group` that serve with `manifest`, by their newest report, or else by what they were admitted with.
pub fn serving(observed: &Observed, group: &GroupName, manifest: &Digest) -> BTreeSet<InstanceId> {
    let instances = observed.instances.iter().filter(|(_, instance)| instance.group == *group);
    let serving = instances.filter(|(id, instance)| {
        let admission = || match observed.records.get(&Key::Admission((*id).clone())) {
            Some((_, Record::Admission(record))) => record.manifest == Some(*manifest),
            _ => false,
        };
        let has_it = instance.evidence.as_ref().map_or_else(admission, |evidence| is_of(evidence, manifest));
        has_it && (is_past_the_gate(instance) || instance.state == LifecycleState::Standby)
    });
    serving.map(|(id, _)| id.clone()).collect()
}

fn admissions(observed: &Observed) -> impl Iterator<Item = (&InstanceId, &AdmissionRecord)> {
    observed.records.iter().filter_map(|(key, (_, record))| match (key, record) {
        (Key::Admission(id), Record::Admission(record)) => Some((id, record)),
        _ => None,
    })
}

fn is_of(evidence: &crate::report::Evidence, manifest: &Digest) -> bool {
    evidence.manifest == *manifest
}

/// Whether nothing speaks against it.
fn is_well(instance: &Instance) -> bool {
    instance.evidence.as_ref().is_none_or(|evidence| matches!(evidence.readiness, Readiness::Ready))
}

fn is_past_the_gate(instance: &Instance) -> bool {
    matches!(instance.state, LifecycleState::PendingProceed | LifecycleState::InService)
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, proven, serving};
    use crate::{digest::Digest, instance::LifecycleState::*, outcome::Status};

    fn new() -> Digest {
        Digest::of(b"new")
    }

    #[test]
    fn what_counts_as_proven() {
        let serving = || in_state(InService).wait(1, true);
        for (scene, counts, why) in [
            (serving().admission(1), true, "admitted on proof"),
            (serving().admission(1).reported(ready()), true, "and proven since"),
            (serving().admission(1).reported(not_ready(&[Status::Fail])), false, "it drifted"),
            (serving().admission(1).reported(not_ready(&[Status::Unknown])), false, "nobody knows any more"),
            (serving().reported(ready()), true, "an observing group proves as well"),
            (serving().warranted(1, None), false, "on an operator's word"),
            (serving().admission_of(1, Some("boot"), Some("old")), false, "another release"),
            (serving(), false, "bypassed"),
            (waiting().reported(ready()), false, "it has not been let in yet"),
            (gone(serving().admission(1)), true, "it was proven, and is gone"),
        ] {
            assert_eq!(!proven(&scene.observed, &web(), &new()).is_empty(), counts, "{why}");
            assert!(proven(&scene.observed, &"other".into(), &new()).is_empty(), "{why}");
        }
    }

    fn gone(mut scene: Scene) -> Scene {
        scene.observed.instances.clear();
        scene
    }

    #[test]
    fn what_still_serves() {
        let serving_new = |scene: Scene| !serving(&scene.observed, &web(), &new()).is_empty();
        let admitted = |state| in_state(state).wait(1, true).admission(1);
        for (scene, serves, why) in [
            (admitted(InService), true, "by its admission"),
            (admitted(PendingProceed), true, "it is about to"),
            (admitted(Standby), true, "it may come back"),
            (admitted(Terminating), false, "it is on its way out"),
            (waiting().reported(ready()), false, "it only waits"),
            (
                in_state(InService).wait(1, true).reported(not_ready(&[Status::Fail])),
                true,
                "drifted, but of this release",
            ),
            (in_state(InService).wait(1, true).admission_of(1, Some("boot"), Some("old")), false, "another release"),
            (
                in_state(InService).admission_of(1, Some("boot"), Some("old")).reported(ready()),
                true,
                "changed in place",
            ),
        ] {
            assert_eq!(serving_new(scene), serves, "{why}");
        }
    }
}
