//! Has whoever came into service past the gate prove itself there, in the time that one at the gate has; else it is taken out of
//! traffic like one that drifted: within the same limits, on record first, and brought back on proof.
//!
//! Nobody held it, so that nobody looked: it was attached, came back from standby, or was let in by the hook's default result. Silence
//! counts here, and so does what cannot be told, though neither is ever drift: one that serves was proven once, and fell silent; this
//! one has never shown anything, and whoever attaches a machine without an agent gets the very thing that the gate is there against.
//! It gets `admission_deadline` since it serves, or since this controller listens: after each start of ours, the time begins anew.
//!
//! Many of them that are silent, or fail alike, are one failure (`freeze`), and where few are proven nobody leaves (`withdraw`). What two
//! speakers dispute is for people, and where no release is promoted there is nothing to prove.
//!
//! Two kinds are let be for good, on one record for the group: **those that were there** when it was first described with this policy, since the
//! gate came after them; and those that have **proven themselves** since, who are the business of `drift` from then on. Nobody is
//! taken out before that record exists. Both are told as `bypassed`, as ever.
//!
//! Planted bugs (tests/simulation): `bypass_ignored`, `bypass_at_once`, `adoption_forgotten`.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{
    case::Case,
    failure::{self, Failure},
    gated::Gated,
    proof,
    withdraw::Fleet,
};
use crate::{
    action::Action,
    instance::{GroupName, InstanceId, LifecycleState},
    observed::Observed,
    reason::Reason,
    record::{AdoptionRecord, Key, Record, Way},
    report::Readiness,
    timestamp::Timestamp,
};

/// It serves, came past the gate, and was not proven in its time: since then.
pub(super) fn unproven(case: &Case<'_>) -> Option<Failure> {
    let way = way(case)?;
    let since = due_at(case).filter(|at| *at <= case.now)?;
    let missing = missing(case)?;
    let (causes, because) = (missing.causes().into_iter().collect(), format!("{}; {missing}", Reason::Bypassed));
    Some(Failure { since, causes, because, way, bypassed: true })
}

/// When its time is over, if it has to prove itself.
pub(super) fn due_at(case: &Case<'_>) -> Option<Timestamp> {
    let asked = is_bypassed(case) && case.wait().is_none_or(|wait| wait.over);
    let (serving_since, listening_since) = (case.instance.serving_since?, case.observed.listening_since?);
    let counts = asked && way(case).is_some() && !case.accepted().is_empty();
    let adopted = adopted(case.observed, &case.instance.group)?;
    (counts && case.dispute().is_none() && !is_adopted(case, adopted))
        .then(|| serving_since.max(listening_since) + case.policy.admission_deadline)
}

/// Without our hook whoever comes in place of one that is replaced comes past the gate too, and so on without end.
fn way(case: &Case<'_>) -> Option<Way> {
    let is_gated = case.is_in_place() || case.hook().is_some();
    failure::way(case.policy.on_bypass).filter(|way| is_gated || *way != Way::Replace)
}

/// It serves, and no admission is on record.
pub(super) fn is_bypassed(case: &Case<'_>) -> bool {
    case.instance.state == LifecycleState::InService && case.admission().is_none()
}

/// What its last word lacks; nothing, once that showed all that counts at launch.
fn missing(case: &Case<'_>) -> Option<Reason> {
    let Some(evidence) = &case.instance.evidence else {
        return Some(Reason::NoReport { since: case.instance.serving_since? });
    };
    if case.wait().is_some_and(|wait| evidence.challenged_at < wait.since) {
        return Some(Reason::OutdatedReport);
    }
    if !case.accepted().contains(&evidence.manifest) {
        return Some(Reason::WrongRelease { manifest: evidence.manifest });
    }
    if evidence.is_well() {
        return None;
    }
    match &evidence.readiness {
        Readiness::NotReady { causes } => Some(proof::failing(causes)),
        Readiness::Ready => Some(proof::failing(&evidence.drift)),
    }
}

/// Wishes to have on record, with such a policy, who was there before, and who has proven itself since.
pub(super) fn adopt(fleet: &Fleet<'_>, wishes: &mut Vec<Action>) {
    let Gated { name, policy, observed, now, .. } = *fleet.gated;
    if !policy.withdraws() || failure::way(policy.on_bypass).is_none() {
        return;
    }
    let adopted = adopted(observed, name);
    let joins = |case: &&Case<'_>| match adopted {
        None => was_there(case),
        Some(adopted) => has_proven_itself(case) && !is_adopted(case, adopted),
    };
    if adopted.is_none() && !is_seen_whole(fleet.gated) {
        return;
    }
    let joining: Vec<_> = fleet.members().filter(joins).map(|case| (case.id.clone(), now)).collect();
    if adopted.is_some() && joining.is_empty() {
        return;
    }
    let stays =
        |(id, _): &(&InstanceId, &Timestamp)| observed.instances.contains_key(*id) || !is_seen_whole(fleet.gated);
    let known = adopted.into_iter().flatten().filter(stays).map(|(id, at)| (id.clone(), *at));
    let instances = known.chain(joining).collect();
    let key = Key::Adoption(name.clone());
    let revision = observed.records.get(&key).map(|(revision, _)| *revision);
    wishes.push(Action::Record { key, revision, record: Record::Adoption(AdoptionRecord { instances }) });
}

/// Whoever is in a part that cannot be seen may have been there as well, and would be taken for one that came later.
fn is_seen_whole(gated: &Gated<'_>) -> bool {
    gated.group.and_then(|group| group.facts.as_ref()).is_some_and(|facts| facts.unseen.is_empty())
}

/// Past the gate, or where a gate would have been.
fn was_there(case: &Case<'_>) -> bool {
    let is_past = matches!(
        case.instance.state,
        LifecycleState::InService | LifecycleState::EnteringStandby | LifecycleState::Standby
    );
    is_past && case.admission().is_none() && case.wait().is_none()
}

fn has_proven_itself(case: &Case<'_>) -> bool {
    is_bypassed(case) && case.wait().is_none_or(|wait| wait.over) && case.dispute().is_none() && missing(case).is_none()
}

fn adopted<'a>(observed: &'a Observed, group: &GroupName) -> Option<&'a BTreeMap<InstanceId, Timestamp>> {
    match observed.records.get(&Key::Adoption(group.clone())) {
        Some((_, Record::Adoption(record))) => Some(&record.instances),
        _ => None,
    }
}

/// Whoever waited since then may have other content.
fn is_adopted(case: &Case<'_>, adopted: &BTreeMap<InstanceId, Timestamp>) -> bool {
    adopted.get(case.id).is_some_and(|at| case.wait().is_none_or(|wait| wait.since <= *at))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec::Vec};

    use super::*;
    use crate::{
        decide::{decide, fixtures::*},
        instance::LifecycleState::{InService, Standby},
        outcome::Status,
        policy::OnDrift,
        record::Stage,
    };

    const THREE: [&str; 3] = ["i-1", "i-2", "i-3"];

    /// `i-1` serves since 100 s and was never admitted; the others were, and are well. Its time is over at 1,300 s.
    fn attached() -> Scene {
        let mut scene = drifting(&THREE, &[], 1_360).without_admission("i-1").serving_since(100).adopted(&[]);
        (scene.group_policy().on_drift, scene.group_policy().on_bypass) = (OnDrift::Observe, OnDrift::Standby);
        scene
    }

    fn says(evidence: crate::report::Evidence) -> Scene {
        attached().reported(evidence.challenged(at(1_358)).received(1_359))
    }

    #[test]
    fn who_is_not_proven_in_its_time() {
        let told = |scene: &Scene, now| {
            unproven(&scene.case(at(now)))
                .map_or_else(|| "-".into(), |failure| failure.causes.into_iter().collect::<Vec<_>>().join(", "))
        };
        let rows = [
            (attached(), 1_299, "-"),
            (attached(), 1_300, "no_report"),
            (says(not_ready(&[Status::Fail])), 1_360, "app: fail"),
            (says(not_ready(&[Status::Unknown])), 1_360, "app: unknown"),
            // Nobody held it, so that what counts at launch was not looked at.
            (says(not_ready(&[Status::Fail]).outside()), 1_360, "app: fail"),
            (says(ready().of_release("retired")), 1_360, "wrong_release"),
            (says(ready()), 1_360, "-"),
            // It has shown that it is well: that it fell silent since is no bypass.
            (says(ready()), 9_000, "-"),
            (attached().listening_since(Some(at(400))), 1_599, "-"),
            (attached().listening_since(Some(at(400))), 1_600, "no_report"),
            (attached().listening_since(None), 1_600, "-"),
            (attached().admission_for("i-1"), 1_300, "-"),
            (attached().warranted(1, None), 1_300, "-"),
            // Another group let it in, for what that one accepts.
            (attached().admission_for("i-1").admitted_by("i-1", "db"), 1_300, "no_report"),
            // The hook's default result let it in; or a wait that is not over.
            (attached().wait(1, true), 1_300, "no_report"),
            (attached().wait(1, false), 1_300, "-"),
            (attached().adopted(&["i-1"]), 1_300, "-"),
            // It waited since, and has other content now.
            (attached().adopted(&["i-1"]).wait_of("i-1", 1, at(1_001), true), 1_300, "no_report"),
            (attached().adopted(&["i-1"]).wait_of("i-1", 1, at(1_000), true), 1_300, "-"),
            (attached().disputed(), 1_300, "-"),
            (attached().accepting(&[]), 1_300, "-"),
            (attached().in_the_state("i-1", Standby), 1_300, "-"),
        ];
        for (number, (scene, now, expected)) in rows.iter().enumerate() {
            assert_eq!(told(scene, *now), *expected, "row {number}");
        }
        let mut observing = attached();
        observing.group_policy().on_bypass = OnDrift::Observe;
        assert_eq!(told(&observing, 1_300), "-");
        let hookless = |on_bypass| {
            let mut scene = attached().hooks(&[]);
            scene.group_policy().on_bypass = on_bypass;
            told(&scene, 1_300)
        };
        assert_eq!((hookless(OnDrift::Replace), hookless(OnDrift::Standby)), ("-".into(), "no_report".into()));
        let mut unrecorded = attached();
        unrecorded.observed.records.remove(&Key::Adoption(web()));
        assert_eq!(told(&unrecorded, 1_300), "-", "who was there before is not known yet");
    }

    /// The withdrawal, and what is said of `i-1`.
    fn done(scene: &Scene, now: u64) -> (Vec<alloc::string::String>, alloc::string::String) {
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let records = decision.actions.iter().filter(|action| {
            matches!(action, Action::Withdraw(_))
                || matches!(action, Action::Record { record: Record::Withdrawal(_) | Record::Freeze(_), .. })
        });
        (records.map(said).collect(), decision.rulings[&i1()].reason.to_string())
    }

    #[test]
    fn it_leaves_like_one_that_drifted() {
        let (nothing, because): ([&str; 0], _) = ([], "in service without having passed the gate; no report since");
        let (done_then, said) = done(&attached(), 1_359);
        assert!(done_then == nothing && said.contains("looked at until") && said.contains(because), "{said}");
        assert_eq!(done(&attached(), 1_360).0, ["withdrawal/i-1 out"]);
        assert_eq!(done(&attached().paused(9_000), 1_360).0, nothing);
        assert_eq!(done(&attached().detached(50, None), 1_360).0, nothing);
        assert_eq!(done(&attached().observing(), 1_360).0, nothing);
        let out = attached().withdrawal("i-1", Stage::Out, 1_350).change("i-1", |record| record.bypassed = true);
        assert_eq!(done(&out, 1_360).0, ["withdraw i-1"]);
        let heard = out.clone().reported(ready().challenged(at(1_358)).received(1_359));
        assert_eq!(done(&heard, 1_360).0, ["withdrawal/i-1 over"]);
        let mut observing = out;
        observing.group_policy().on_bypass = OnDrift::Observe;
        observing.group_policy().on_drift = OnDrift::Standby;
        assert_eq!(done(&observing, 1_360).0, ["withdrawal/i-1 over"], "nobody wants it any more");
        // Another is silent too: that is one failure.
        let (done_then, said) = done(&attached().without_admission("i-2"), 1_360);
        assert!(done_then == ["freeze/web"] && said.contains("many fail for one cause (no_report)"), "{said}");
        // Brought back by hand.
        let by_hand = attached().withdrawal("i-1", Stage::Over, 300);
        let by_hand =
            by_hand.change("i-1", |record| (record.by_hand, record.causes) = (true, ["no_report".into()].into()));
        assert_eq!(done(&by_hand, 1_360).0, nothing);
    }

    /// Of the drift of others nothing was said.
    #[test]
    fn one_policy_is_not_the_other() {
        let drifts = attached().drifts("i-2", 1_290, 1_359);
        assert!(!done(&drifts, 1_360).0.contains(&"withdrawal/i-2 out".into()));
        let mut only_drift = attached();
        (only_drift.group_policy().on_drift, only_drift.group_policy().on_bypass) =
            (OnDrift::Standby, OnDrift::Observe);
        assert_eq!(done(&only_drift, 1_360).1, Reason::Bypassed.to_string());
    }

    #[test]
    fn it_wakes_when_the_time_is_over() {
        let scene = attached().described(1_295);
        let decision = decide(&scene.observed, &scene.policy, at(1_299));
        assert_eq!(decision.wake_at.map(seconds).as_deref(), Some("1300"));
    }

    #[test]
    fn who_is_let_be() {
        let adopted = |scene: &Scene| {
            let decision = decide(&scene.observed, &scene.policy, at(1_360));
            decision.actions.into_iter().find_map(|action| match action {
                Action::Record { record: Record::Adoption(record), revision, .. } => {
                    let ids: Vec<_> =
                        record.instances.iter().map(|(id, since)| (id.to_string(), seconds(*since))).collect();
                    Some((ids, revision))
                }
                _ => None,
            })
        };
        let on = |ids: &[(&str, &str)], revision| {
            Some((ids.iter().map(|(id, at)| ((*id).to_string(), (*at).to_string())).collect::<Vec<_>>(), revision))
        };
        let mut first = attached().without_admission("i-2").in_the_state("i-2", Standby);
        first.observed.records.remove(&Key::Adoption(web()));
        assert_eq!(adopted(&first), on(&[("i-1", "1360"), ("i-2", "1360")], None));
        assert_eq!(adopted(&first.clone().wait(1, true)), on(&[("i-2", "1360")], None), "there was a gate");
        assert_eq!(adopted(&first.clone().observing()), None);
        assert_eq!(adopted(&attached()), None);
        // Who is behind a balancer that cannot be asked may be there too.
        let mut in_part = first.clone();
        in_part.facts().unseen.push("balancer b: no answer".into());
        assert_eq!(adopted(&in_part), None);
        assert_eq!(adopted(&says(ready())), on(&[("i-1", "1360")], Some(7)));
        // Who is gone makes room.
        let mut others = says(ready()).adopted(&["i-2", "i-9"]);
        assert_eq!(adopted(&others), on(&[("i-1", "1360"), ("i-2", "1000")], Some(7)));
        others.facts().unseen.push("balancer b: no answer".into());
        assert_eq!(adopted(&others), on(&[("i-1", "1360"), ("i-2", "1000"), ("i-9", "1000")], Some(7)));
        assert_eq!(adopted(&says(ready()).adopted(&["i-1"])), None);
        assert_eq!(adopted(&says(ready()).disputed()), None);
        assert_eq!(adopted(&says(ready()).beside("i-1", InService).wait(1, false)), None);
    }
}
