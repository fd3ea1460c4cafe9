//! What a group that only observes would have done: for each launch, whether it was proven in time, and if not, why not. Kept on
//! record, so that whoever thinks of enforcing can ask what the last weeks would have been like ([`review`]).
//!
//! One record a launch, written once: when it is proven, or else when the admission deadline passes without. What is gone before
//! that leaves none: nobody knows what would have become of it.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use super::{case::Case, opinion::Opinion, proof::proof};
use crate::{
    action::Action,
    api::{Trial, TrialFailure},
    instance::{GroupName, InstanceId},
    observed::Observed,
    record::{Key, Record, TrialRecord, WaitRecord},
    timestamp::Timestamp,
};

/// Adds the record, once it is known.
pub(super) fn noted(case: &Case<'_>, opinion: Opinion) -> Opinion {
    let Some(wait) = open(case) else { return opinion };
    let (at, causes) = match proof(case, wait, Duration::MAX) {
        Ok(proof) => (proof.since, Vec::new()),
        Err(_) if case.now < case.deadline(wait) => return opinion.until(case, case.deadline(wait)),
        Err(reason) => (case.now, reason.causes()),
    };
    let (key, group) = (Key::Trial(case.id.clone()), case.instance.group.clone());
    let record = Record::Trial(TrialRecord { group, wait: wait.wait, since: wait.since, at, causes });
    opinion.wishing(Action::Record { revision: case.revision(&key), key, record })
}

/// The wait that an observing group let it out of, while nothing is on record of it. Without an admission the gate had no part
/// in it.
fn open<'a>(case: &Case<'a>) -> Option<&'a WaitRecord> {
    let wait = case.wait().filter(|_| !case.enforces() && !case.accepted().is_empty() && case.admission().is_some())?;
    let noted = match case.observed.records.get(&Key::Trial(case.id.clone())) {
        Some((_, Record::Trial(trial))) => trial.wait == wait.wait,
        _ => false,
    };
    (!noted).then_some(wait)
}

/// What `group` would have done with its launches since `since`, had it enforced.
pub fn review(observed: &Observed, group: &GroupName, since: Timestamp) -> Trial {
    let records = observed.records.iter().filter_map(|(key, (_, record))| match (key, record) {
        (Key::Trial(id), Record::Trial(trial)) if trial.group == *group && trial.since >= since => Some((id, trial)),
        _ => None,
    });
    let (mut after_s, mut failed) = (Vec::new(), BTreeMap::<Vec<String>, Vec<InstanceId>>::new());
    for (id, trial) in records {
        match trial.causes.is_empty() {
            true => after_s.push(trial.at.since(trial.since).as_secs()),
            false => failed.entry(trial.causes.clone()).or_default().push(id.clone()),
        }
    }
    after_s.sort_unstable();
    let failures = failed.into_iter().map(|(causes, instances)| TrialFailure { causes, instances });
    let mut failures: Vec<TrialFailure> = failures.collect();
    failures.sort_by_key(|failure| core::cmp::Reverse(failure.instances.len()));
    let at = |percent: usize| after_s.get((after_s.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Trial {
        group: group.clone(),
        since,
        proven: after_s.len() as u64,
        proven_after_s_median: at(50),
        proven_after_s_max: at(100),
        failures,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec, vec::Vec};

    use super::{super::fixtures::*, Opinion, noted, review};
    use crate::{
        action::Action,
        instance::{LifecycleState::InService, WaitId},
        outcome::Status,
        record::{Key, Record, TrialRecord},
        timestamp::Timestamp,
    };

    fn observed() -> Scene {
        in_state(InService).wait(1, true).admission_of(1, None, None).observing()
    }

    fn tried(wait: u64) -> Record {
        Record::Trial(TrialRecord { group: web(), wait: WaitId(wait), since: at(0), at: at(9), causes: vec![] })
    }

    #[test]
    fn table() {
        let told = |scene: &Scene, now: u64| {
            let opinion = noted(&scene.case(at(now)), Opinion::default());
            match opinion.wishes.first() {
                Some(Action::Record { record: Record::Trial(trial), .. }) => {
                    alloc::format!("{} {}", trial.at.since(trial.since).as_secs(), trial.causes.join(", "))
                }
                _ => opinion.wake_at.map_or("-".to_string(), seconds),
            }
        };
        for (scene, now, expected) in [
            (observed().reported(ready()), 100, "95 "),
            (observed().reported(ready()), 9_000, "95 "),
            // As a rule it was let in before its agent spoke first, and is told of no wait.
            (observed().reported(ready().of_wait(0)), 100, "95 "),
            (observed().reported(not_ready(&[Status::Fail]).of_wait(0)), 1_300, "1300 app: fail"),
            (observed().reported(ready().of_wait(2)), 1_300, "1300 outdated_report"),
            (observed(), 100, "1200"),
            (observed(), 1_199, "1200"),
            (observed(), 1_200, "1200 no_report"),
            (observed().reported(not_ready(&[Status::Fail])), 100, "1200"),
            (observed().reported(not_ready(&[Status::Fail])), 1_300, "1300 app: fail"),
            (observed().accepting(&["other"]).reported(ready()), 1_300, "1300 wrong_release"),
            (observed().accepting(&[]), 1_300, "-"),
            (observed().stored(Key::Trial(i1()), tried(1)), 1_300, "-"),
            (observed().stored(Key::Trial(i1()), tried(0)), 1_300, "1300 no_report"),
            (in_state(InService).wait(1, true).admission(1), 1_300, "-"),
            (in_state(InService).wait(1, true).observing(), 1_300, "-"),
        ] {
            assert_eq!(told(&scene, now), expected, "at {now}");
        }
    }

    #[test]
    fn a_review_counts_what_began_since() {
        let trial = |group: &str, since: u64, after: u64, causes: &[&str]| {
            let causes = causes.iter().map(ToString::to_string).collect();
            Record::Trial(TrialRecord {
                group: group.into(),
                wait: WaitId(1),
                since: at(since),
                at: at(since + after),
                causes,
            })
        };
        let mut scene = observed();
        for (id, record) in [
            ("i-1", trial("web", 99, 10, &[])),
            ("i-2", trial("web", 100, 10, &[])),
            ("i-3", trial("web", 100, 30, &[])),
            ("i-4", trial("web", 100, 20, &[])),
            ("i-5", trial("web", 100, 1_200, &["app: missing"])),
            ("i-6", trial("web", 100, 1_200, &["no_report"])),
            ("i-7", trial("web", 100, 1_200, &["no_report"])),
            ("i-8", trial("other", 100, 1_200, &["no_report"])),
        ] {
            scene = scene.stored(Key::Trial(id.into()), record);
        }
        let review = review(&scene.observed, &web(), at(100));
        assert_eq!((review.proven, review.proven_after_s_median, review.proven_after_s_max), (3, Some(20), Some(30)));
        let failed: Vec<_> = review.failures.iter().map(|one| (one.causes.join(", "), one.instances.len())).collect();
        assert_eq!(failed, [("no_report".to_string(), 2), ("app: missing".to_string(), 1)]);
        let none = super::review(&scene.observed, &web(), Timestamp(u64::MAX));
        assert_eq!((none.proven, none.proven_after_s_median, none.failures.len()), (0, None, 0));
    }
}
