//! Stops withdrawing from a group in which many begin to fail for one cause: that is one failure, and not many, and to take them out
//! one after the other would empty the fleet. One alert names the cause; an operator decides.
//!
//! Enough of a group, within `common_cause_window`, those that were withdrawn in it included. It goes on when none that serves fails for
//! the cause any more, or on an operator's word; what began to fail before that does not count again. All of it follows from the records
//! and the reports, and holds across restarts: of those that it has not heard yet, a controller believes nothing good; and who failed by
//! the last word on record is taken to have begun then, which may freeze once more than needed.
//!
//! Causes are compared, not texts: `app: missing`, whatever the files and the instance.
//!
//! Planted bug (tests/simulation): `common_cause_ignored`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use super::{
    drift,
    gated::Gated,
    withdraw::{Fleet, share},
};
use crate::{
    action::Action,
    instance::InstanceId,
    policy::GroupPolicy,
    record::{FreezeRecord, Key, Record},
    timestamp::Timestamp,
};

/// Nothing is withdrawn from a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// What many have in common.
    pub cause: String,
    /// How many of those that serve.
    pub count: usize,
    /// Since when.
    pub since: Timestamp,
}

/// Whether nothing is withdrawn from a group; what should be on record is added to `wishes`.
pub(super) fn of(fleet: &Fleet<'_>, wishes: &mut Vec<Action>, wakes: &mut BTreeSet<Timestamp>) -> Option<Freeze> {
    let Gated { name, policy, observed, now, .. } = *fleet.gated;
    let (revision, record) = match observed.records.get(&Key::Freeze(name.clone())) {
        Some((revision, Record::Freeze(record))) => (Some(*revision), Some(record)),
        _ => (None, None),
    };
    let mut write = |record: FreezeRecord| {
        wishes.push(Action::Record { key: Key::Freeze(name.clone()), revision, record: Record::Freeze(record) });
    };
    let frozen = match record.filter(|record| record.over_at.is_none()) {
        Some(record) if is_over(fleet, &record.cause, wakes) => {
            write(FreezeRecord { over_at: Some(now), ..record.clone() });
            None
        }
        Some(record) => Some((record.cause.clone(), record.since)),
        None => {
            let since = record.and_then(|record| record.over_at);
            let cause = common(&failures(fleet, since, wakes), fleet, policy);
            cause.map(|cause| {
                write(FreezeRecord { cause: cause.clone(), since: now, over_at: None, warrant: None });
                (cause, now)
            })
        }
    };
    frozen.map(|(cause, since)| Freeze { count: failing(fleet, &cause), cause, since })
}

/// Whether none that serves fails for the cause, by the last word of each. After a start, whoever has not spoken yet gets the time
/// to do so.
fn is_over(fleet: &Fleet<'_>, cause: &str, wakes: &mut BTreeSet<Timestamp>) -> bool {
    let Gated { policy, observed, now, .. } = *fleet.gated;
    let Some(listening_since) = observed.listening_since else { return false };
    let heard_at = listening_since + policy.silent_after;
    let unheard = fleet.serving().any(|case| case.instance.evidence.is_none()) && now < heard_at;
    if unheard {
        wakes.insert(heard_at);
    }
    !unheard && failing(fleet, cause) == 0
}

/// How many that serve fail for it.
fn failing(fleet: &Fleet<'_>, cause: &str) -> usize {
    let evidence = fleet.serving().filter_map(|case| case.instance.evidence.as_ref());
    evidence.filter(|evidence| drift::causes(evidence).contains(cause)).count()
}

/// Everybody who began to fail since then and within the window, or was withdrawn for it, and why.
fn failures(
    fleet: &Fleet<'_>,
    since: Option<Timestamp>,
    wakes: &mut BTreeSet<Timestamp>,
) -> BTreeMap<InstanceId, BTreeSet<String>> {
    let mut lately = |at: Timestamp| {
        let ends_at = at + fleet.gated.policy.common_cause_window;
        wakes.insert(ends_at);
        Some(at) > since && fleet.gated.now < ends_at
    };
    let mut failures: BTreeMap<InstanceId, BTreeSet<String>> = BTreeMap::new();
    for case in fleet.serving() {
        let (evidence, began_at) = (case.instance.evidence.as_ref(), case.instance.drifting_since);
        if let (Some(evidence), true) = (evidence, began_at.is_some_and(&mut lately)) {
            failures.insert(case.id.clone(), drift::causes(evidence));
        }
    }
    for (id, record) in &fleet.gated.members.withdrawals {
        if lately(record.at) {
            failures.entry((*id).clone()).or_default().extend(record.causes.iter().cloned());
        }
    }
    failures
}

/// The cause that most have in common, if they are enough.
fn common(
    failures: &BTreeMap<InstanceId, BTreeSet<String>>,
    fleet: &Fleet<'_>,
    policy: &GroupPolicy,
) -> Option<String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    failures.values().flatten().for_each(|cause| *counts.entry(cause).or_default() += 1);
    let (cause, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let enough = count >= policy.common_cause_min && share(count, fleet.size()) >= policy.common_cause_percent;
    enough.then(|| cause.clone())
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::{
        decide::{decide, fixtures::*},
        record::Stage,
    };

    const TEN: [&str; 10] = ["i-0", "i-1", "i-2", "i-3", "i-4", "i-5", "i-6", "i-7", "i-8", "i-9"];

    fn told(scene: &Scene, now: u64) -> String {
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let frozen = decision.freezes.get(&web());
        let frozen = frozen.map_or_else(|| "-".into(), |freeze| format!("{} on {}", freeze.cause, freeze.count));
        let records = decision.actions.iter().filter_map(|action| match action {
            Action::Record { record: Record::Freeze(record), .. } if record.over_at.is_some() => Some("over"),
            Action::Record { record: Record::Freeze(_), .. } => Some("on record"),
            _ => None,
        });
        [frozen.as_str()].into_iter().chain(records).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn enough_of_a_group_within_the_window() {
        let two = || drifting(&TEN, &["i-1", "i-2"], 1_000);
        let frozen = "app: fail on 2, on record";
        for (number, (scene, expected)) in [
            (drifting(&TEN, &["i-1"], 1_000), "-"),
            (two(), frozen),
            (two().observing(), "-"),
            (drifting(&TEN, &["i-1"], 1_000).drifts("i-2", 701, 999), frozen),
            (drifting(&TEN, &["i-1"], 1_000).drifts("i-2", 700, 999), "-"),
            // One that was withdrawn is counted too.
            (drifting(&TEN, &["i-1"], 1_000).withdrawal("i-2", Stage::Over, 701), "app: fail on 1, on record"),
            (drifting(&TEN, &["i-1"], 1_000).withdrawal("i-2", Stage::Out, 700), "-"),
            (
                drifting(&TEN, &["i-1"], 1_000)
                    .withdrawal("i-2", Stage::Over, 701)
                    .change("i-2", |record| record.causes = ["db: fail".into()].into()),
                "-",
            ),
            // Since it went on, only what came after counts.
            (two().frozen(300, Some(940)), "-"),
            (two().frozen(300, Some(939)), frozen),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(told(&scene, 1_000), expected, "row {number}");
        }
    }

    #[test]
    fn a_few_of_many_are_not_many() {
        let mut scene = drifting(&TEN, &["i-1", "i-2"], 1_000);
        scene.facts().desired = 11;
        assert_eq!(told(&scene, 1_000), "-");
        scene.group_policy().common_cause_percent = 18;
        assert_eq!(told(&scene, 1_000), "app: fail on 2, on record");
        scene.group_policy().common_cause_min = 3;
        assert_eq!(told(&scene, 1_000), "-");
    }

    #[test]
    fn it_goes_on_when_none_fails_for_it() {
        let frozen = |drifted: &[&str]| drifting(&TEN, drifted, 1_000).frozen(300, None);
        let silent = |mut scene: Scene| {
            for instance in scene.observed.instances.values_mut() {
                (instance.evidence, instance.drifting_since) = (None, None);
            }
            scene
        };
        for (number, (scene, now, expected)) in [
            (frozen(&["i-1", "i-2"]), 1_000, "app: fail on 2"),
            (frozen(&["i-1"]), 1_000, "app: fail on 1"),
            // Silent since: it still failed by its last word.
            (frozen(&["i-1"]), 5_000, "app: fail on 1"),
            (frozen(&[]), 1_000, "-, over"),
            (silent(frozen(&["i-1"])).listening_since(Some(at(900))), 1_199, "app: fail on 0"),
            (silent(frozen(&["i-1"])).listening_since(Some(at(900))), 1_200, "-, over"),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(told(&scene, now), expected, "row {number}");
        }
    }
}
