//! Reports: what agents say. The newest checking counts, whatever order the reports come in.

use super::{Instance, Observed};
use crate::{
    instance::InstanceId,
    report::{Evidence, Readiness},
    timestamp::Timestamp,
};

impl Observed {
    /// Evidence of an instance that was not described yet is kept for when it is.
    pub(super) fn reported(&mut self, evidence: Evidence) {
        if let Some(instance) = self.instances.get_mut(&evidence.instance) {
            return instance.heard(evidence);
        }
        if self.early.get(&evidence.instance).is_none_or(|known| overrules(&evidence, known)) {
            self.early.insert(evidence.instance.clone(), evidence);
        }
        if self.early.len() > EARLY_MAX {
            self.forget_earliest();
        }
    }

    /// As if nothing had been heard of it.
    pub(super) fn unproven(&mut self, id: &InstanceId) {
        self.early.remove(id);
        if let Some(instance) = self.instances.get_mut(id) {
            (instance.evidence, instance.passing_since) = (None, None);
            (instance.well_since, instance.drifting_since) = (None, None);
        }
    }

    fn forget_earliest(&mut self) {
        let earliest = self.early.values().min_by_key(|evidence| evidence.received_at);
        let earliest = earliest.map(|evidence| evidence.instance.clone());
        earliest.into_iter().for_each(|id| drop(self.early.remove(&id)));
    }
}

impl Instance {
    pub(super) fn heard(&mut self, evidence: Evidence) {
        if self.evidence.as_ref().is_some_and(|known| !overrules(&evidence, known)) {
            return;
        }
        let goes_on = self.evidence.as_ref().is_some_and(|known| same_run(&evidence, known));
        let run = |known: Option<Timestamp>| known.filter(|_| goes_on).unwrap_or(evidence.received_at);
        self.passing_since = (evidence.readiness == Readiness::Ready).then(|| run(self.passing_since));
        self.well_since = evidence.is_well().then(|| run(self.well_since));
        self.drifting_since = evidence.is_drifted().then(|| run(self.drifting_since));
        self.evidence = Some(evidence);
    }
}

/// A checking that began later overrules one that began earlier. Where both began at once (a report that came twice), "not
/// ready" overrules "ready": an older pass never overrules a newer fail.
fn overrules(new: &Evidence, known: &Evidence) -> bool {
    let ready = |evidence: &Evidence| evidence.readiness == Readiness::Ready;
    match age(new).cmp(&age(known)) {
        core::cmp::Ordering::Greater => true,
        core::cmp::Ordering::Equal => ready(known) && !ready(new),
        core::cmp::Ordering::Less => false,
    }
}

const fn age(evidence: &Evidence) -> (Timestamp, Timestamp) {
    (evidence.challenged_at, evidence.received_at)
}

fn same_run(new: &Evidence, known: &Evidence) -> bool {
    new.boot == known.boot && new.wait == known.wait && new.manifest == known.manifest
}

/// Reports of instances never described: they are authentic, so there are no more than bound instances; a bound all the same.
const EARLY_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;
    use crate::{
        digest::Digest,
        instance::{LifecycleState, WaitId},
        observation::Observation,
        outcome::Status,
        report::Cause,
    };

    fn ready(challenged_at: u64, received_at: u64) -> Evidence {
        Evidence {
            instance: "a".into(),
            group: "web".into(),
            boot: "boot 1".into(),
            wait: WaitId(1),
            manifest: Digest::of(b"m"),
            challenged_at: Timestamp(challenged_at),
            received_at: Timestamp(received_at),
            drift: vec![],
            diffs: Default::default(),
            readiness: Readiness::Ready,
        }
    }

    fn failing(challenged_at: u64, received_at: u64) -> Evidence {
        let cause = Cause {
            check: "app".into(),
            status: Status::Fail,
            problem: None,
            count: 0,
            examples: vec![],
            detail: None,
        };
        let drift = vec![cause.clone()];
        Evidence { readiness: Readiness::NotReady { causes: vec![cause] }, drift, ..ready(challenged_at, received_at) }
    }

    #[test]
    fn of_the_same_moment_only_a_fail_overrules_a_pass() {
        let other_boot = |evidence: Evidence| Evidence { boot: "boot 2".into(), ..evidence };
        for (first, second, overruled) in [
            (ready(5, 6), failing(5, 6), true),
            (failing(5, 6), ready(5, 6), false),
            (ready(5, 6), other_boot(ready(5, 6)), false),
            (failing(5, 6), other_boot(failing(5, 6)), false),
        ] {
            let mut instance = instance();
            instance.heard(first.clone());
            instance.heard(second.clone());
            assert_eq!(instance.evidence, Some(if overruled { second } else { first }));
        }
    }

    fn instance() -> Instance {
        Instance {
            group: "web".into(),
            state: LifecycleState::PendingWait,
            protected: false,
            described_at: Timestamp(0),
            evidence: None,
            passing_since: None,
            well_since: None,
            drifting_since: None,
            healthy: None,
            serving_since: None,
        }
    }

    #[test]
    fn the_newest_checking_counts() {
        for (first, second, newest) in [
            (ready(1, 5), failing(2, 6), failing(2, 6)),
            (failing(2, 6), ready(1, 7), failing(2, 6)), // an older pass that came late
            (ready(1, 5), ready(1, 6), ready(1, 6)),
            (ready(1, 6), ready(1, 5), ready(1, 6)),
            (ready(1, 5), failing(1, 5), failing(1, 5)),
            (failing(1, 5), ready(1, 5), failing(1, 5)),
        ] {
            let mut instance = instance();
            instance.heard(first.clone());
            instance.heard(second.clone());
            assert_eq!(instance.evidence, Some(newest.clone()));
            let mut early = Observed::default();
            early.fold(Observation::Reported(first), Timestamp(9));
            early.fold(Observation::Reported(second), Timestamp(9));
            assert_eq!(early.early[&"a".into()], newest);
        }
    }

    #[test]
    fn a_run_is_of_one_boot_wait_and_manifest() {
        let other_boot = Evidence { boot: "boot 2".into(), ..ready(3, 8) };
        let other_wait = Evidence { wait: WaitId(2), ..ready(3, 8) };
        let other_manifest = Evidence { manifest: Digest::of(b"n"), ..ready(3, 8) };
        for (second, passing_since) in [
            (ready(3, 8), Some(5)),
            (ready(1, 5), Some(5)), // twice
            (failing(3, 8), None),
            (failing(0, 8), Some(5)), // older
            (other_boot, Some(8)),
            (other_wait, Some(8)),
            (other_manifest, Some(8)),
        ] {
            let mut instance = instance();
            instance.heard(ready(1, 5));
            instance.heard(second);
            assert_eq!(instance.passing_since, passing_since.map(Timestamp));
        }
        let mut broken = instance();
        broken.heard(failing(1, 5));
        broken.heard(ready(2, 6));
        assert_eq!(broken.passing_since, Some(Timestamp(6)));
    }

    #[test]
    fn a_run_of_drift_and_a_run_of_what_is_well() {
        let of = |since: Option<Timestamp>| since.map(|at| at.0);
        let mut instance = instance();
        let mut seen = vec![];
        let outside = Evidence { drift: vec![], ..failing(4, 9) };
        let meanwhile = Evidence { drift: failing(7, 12).drift, ..ready(7, 12) };
        for evidence in
            [ready(1, 6), failing(2, 7), failing(3, 8), outside, ready(5, 10), ready(6, 11), meanwhile, ready(8, 13)]
        {
            instance.heard(evidence);
            seen.push((of(instance.passing_since), of(instance.well_since), of(instance.drifting_since)));
        }
        assert_eq!(
            seen,
            [
                (Some(6), Some(6), None),
                (None, None, Some(7)),
                (None, None, Some(7)),
                (None, None, None), // a check of scope `launch`
                (Some(10), Some(10), None),
                (Some(10), Some(10), None),
                (Some(10), None, Some(12)), // a check of scope `serving`
                (Some(10), Some(13), None),
            ]
        );
        instance.heard(Evidence { boot: "boot 2".into(), ..failing(9, 14) });
        instance.heard(Evidence { boot: "boot 3".into(), ..failing(10, 15) });
        assert_eq!(of(instance.drifting_since), Some(15));
    }

    #[test]
    fn what_is_no_longer_proven_was_never_heard() {
        let mut observed = Observed::default();
        let unproven = || Observation::Unproven("a".into());
        observed.fold(Observation::Reported(ready(1, 5)), Timestamp(5));
        observed.fold(unproven(), Timestamp(6));
        assert_eq!(observed, Observed::default());
        observed.instances.insert("a".into(), instance());
        let never = observed.clone();
        for evidence in [ready(1, 5), failing(1, 5)] {
            observed.fold(Observation::Reported(evidence), Timestamp(5));
            assert_ne!(observed, never);
            observed.fold(unproven(), Timestamp(6));
            assert_eq!(observed, never);
        }
    }

    #[test]
    fn early_reports_are_bounded() {
        let mut observed = Observed::default();
        for number in 0..=EARLY_MAX as u64 {
            let evidence = Evidence { instance: (*format!("i-{number}")).into(), ..ready(1, number) };
            observed.fold(Observation::Reported(evidence), Timestamp(number));
        }
        assert_eq!(observed.early.len(), EARLY_MAX);
        assert!(!observed.early.contains_key(&"i-0".into()));
    }
}
