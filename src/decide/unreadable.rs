//! Fails closed where a record is there and cannot be read: a newer controller wrote it, before somebody went back to this one, or
//! it is damaged. What it said is not known, and it may have said no.
//!
//! So what waits is held, kept from its hook's timeout, and nothing is done to it or to what serves that could not be taken back: no
//! CONTINUE, no ABANDON, no withdrawal, no return. The record is not touched: whoever wrote it may come back. Where a group only
//! observes, only what must be written to let an instance in counts.
//!
//! What no safety hangs on (who was told of an alert, what a trial found) is written anew: to be silent would be worse.

use alloc::{string::String, vec::Vec};

use super::{case::Case, hold::kept, opinion::Opinion};
use crate::{
    action::Action,
    instance::{GroupName, InstanceId},
    observed::Observed,
    policy::{Mode, Policy},
    reason::Reason,
    record::{Key, Record, Stage},
};

/// Answers for a waiting instance, once its wait is on record: a hold needs one.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let record = of(case.observed, case.policy.mode, &case.instance.group, case.id)?;
    let is_unknown = case.observed.unreadable.contains_key(&Key::Wait(case.id.clone()));
    let opinion = Opinion::held(case, Reason::Unreadable { record });
    match case.wait() {
        _ if !case.instance.state.is_waiting() => None,
        Some(wait) if !wait.over => Some(kept(case, wait, opinion)),
        Some(_) if case.is_in_place() => Some(opinion),
        None if is_unknown => Some(opinion),
        Some(_) | None => None,
    }
}

/// Takes back what other rules wish for.
pub(super) fn veto(wishes: &mut Vec<Action>, observed: &Observed, policy: &Policy) {
    if observed.unreadable.is_empty() {
        return;
    }
    let is_readable = |group: &GroupName, id: &InstanceId| {
        let mode = policy.groups.get(group).map_or(Mode::Enforce, |group| group.mode);
        of(observed, mode, group, id).is_none()
    };
    wishes.retain_mut(|wish| match wish {
        Action::Describe(_) | Action::KeepWaiting(_) | Action::Tell { .. } => true,
        Action::Admit(held) | Action::GiveUp(held) => is_readable(&held.group, &held.instance),
        Action::Withdraw(departure) | Action::Return(departure) => is_readable(&departure.group, &departure.instance),
        Action::Protect(protection) => !observed.unreadable.contains_key(&Key::Protection(protection.group.clone())),
        Action::Record { key, revision, record } => match (observed.unreadable.get(key), &key, record) {
            (Some(there), Key::Alert(_) | Key::Trial(_), _) => {
                *revision = Some(*there);
                true
            }
            // What is on record to be done is done as soon as all can be read.
            (None, Key::Withdrawal(id), Record::Withdrawal(record)) => {
                record.stage != Stage::Out || is_readable(&record.group, id)
            }
            (there, ..) => there.is_none(),
        },
    });
}

/// The first record that cannot be read of all that bear on an instance.
fn of(observed: &Observed, mode: Mode, group: &GroupName, id: &InstanceId) -> Option<String> {
    if observed.unreadable.is_empty() {
        return None;
    }
    let to_let_in = [Key::Wait(id.clone()), Key::Admission(id.clone())];
    let to_refuse = [
        Key::Rejection(id.clone()),
        Key::Dispute(id.clone()),
        Key::Override(id.clone()),
        Key::Withdrawal(id.clone()),
        Key::Group(group.clone()),
        Key::Pause(group.clone()),
        Key::Detach(group.clone()),
        Key::Breaker(group.clone()),
        Key::Freeze(group.clone()),
    ];
    let enforced = to_refuse.into_iter().filter(|_| mode == Mode::Enforce);
    to_let_in.into_iter().chain(enforced).find(|key| observed.unreadable.contains_key(key)).map(|key| key.path())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{
        super::{decide, fixtures::*},
        *,
    };
    use crate::{alert::AlertKey, instance::LifecycleState, observation::Observation, record::Key};

    fn without(scene: Scene, key: Key) -> Scene {
        let mut scene = scene;
        scene.observed.fold(Observation::Unreadable { key, revision: 99 }, at(100));
        scene
    }

    #[test]
    fn what_waits_is_held() {
        let all = [
            Key::Admission(i1()),
            Key::Rejection(i1()),
            Key::Dispute(i1()),
            Key::Override(i1()),
            Key::Withdrawal(i1()),
            Key::Group(web()),
            Key::Pause(web()),
            Key::Detach(web()),
            Key::Breaker(web()),
            Key::Freeze(web()),
        ];
        for key in all {
            let (scene, record) = (without(proven(), key.clone()), key.path());
            check(rule, &[(scene.clone(), 100, "held unreadable_record, until 125+")]);
            let ruling = rule(&scene.case(at(100))).and_then(|opinion| opinion.ruling).expect("it is ruled on");
            assert_eq!(ruling.reason, Reason::Unreadable { record });
        }
        check(
            rule,
            &[
                (proven(), 100, "not ours"),
                // Without it nobody knows which wait to keep.
                (without(proven(), Key::Wait(i1())), 100, "held unreadable_record"),
                (without(proven(), Key::Override("i-2".into())), 100, "not ours"),
                (without(proven(), Key::Pause("db".into())), 100, "not ours"),
                (without(proven(), Key::Trial(i1())), 100, "not ours"),
                // Its wait is put on record first; but what a balancer holds again needs none to be held.
                (without(proven().wait(2, true), Key::Override(i1())), 100, "not ours"),
                (without(proven().in_place().wait(2, true), Key::Override(i1())), 100, "held unreadable_record"),
                (without(proven().observing(), Key::Pause(web())), 100, "not ours"),
                (without(proven().observing(), Key::Admission(i1())), 100, "held unreadable_record, until 125+"),
                (without(in_state(LifecycleState::InService), Key::Override(i1())), 100, "not ours"),
            ],
        );
    }

    #[test]
    fn nothing_is_done_that_cannot_be_taken_back() {
        let actions = |scene: &Scene, now| -> Vec<String> {
            let actions = decide(&scene.observed, &scene.policy, at(now)).actions;
            actions.iter().map(said).filter(|said| !said.starts_with("protect")).collect()
        };
        let out = || drifting(&["i-1", "i-2"], &["i-1"], 110).withdrawal("i-1", Stage::Out, 100);
        assert_eq!(actions(&out(), 110), ["withdraw i-1"]);
        assert_eq!(actions(&without(out(), Key::Freeze(web())), 110), Vec::<&str>::new());
        // Nor is it put on record: it would be done as soon as all can be read, and an operator may have let it in.
        let drifts = || drifting(&["i-1", "i-2"], &["i-1"], 110);
        assert_eq!(actions(&drifts(), 110), ["withdrawal/i-1 out"]);
        for key in [Key::Admission(i1()), Key::Dispute(i1()), Key::Freeze(web())] {
            assert_eq!(actions(&without(drifts(), key.clone()), 110), Vec::<&str>::new(), "{key:?}");
        }
        assert_eq!(actions(&without(drifts(), Key::Admission("i-2".into())), 110), ["withdrawal/i-1 out"]);
        assert_eq!(actions(&without(out(), Key::Withdrawal(i1())), 110), Vec::<&str>::new());
        assert_eq!(actions(&proven(), 100), ["admit i-1"]);
        assert_eq!(actions(&without(proven(), Key::Pause(web())), 100), Vec::<&str>::new());
    }

    /// Another controller wrote it before this one led: it may have had its turn a moment before.
    #[test]
    fn a_turn_that_cannot_be_read_is_waited_for() {
        let both = || waiting().beside("i-2", LifecycleState::PendingWait).wait_of("i-2", 1, at(5), false);
        let both = || without(both(), Key::Rejection("i-2".into())).listening_since(Some(at(1_700)));
        let gives_up = |scene: Scene, now| {
            let actions = decide(&scene.observed, &scene.policy, at(now)).actions;
            actions.iter().map(said).any(|said| said == "rejection/i-1")
        };
        assert!(!gives_up(both().described(2_088), 2_089));
        assert!(gives_up(both().described(2_089), 2_090));
        assert!(gives_up(both().moved("i-2", "db").described(2_000), 2_001));
    }

    /// It said something once; that counts no more. What is written over it is known again, and so is what is gone.
    #[test]
    fn what_can_be_read_again_counts_again() {
        let mut scene = without(proven(), Key::Admission(i1()));
        assert!(!scene.observed.records.contains_key(&Key::Admission(i1())));
        for (revision, there) in [(98, true), (99, true), (100, false)] {
            let record = None;
            scene.observed.fold(Observation::Stored { key: Key::Admission(i1()), revision, record }, at(100));
            assert_eq!(scene.observed.unreadable.contains_key(&Key::Admission(i1())), there, "{revision}");
        }
        scene.observed.fold(Observation::Unreadable { key: Key::Admission(i1()), revision: 100 }, at(100));
        assert!(scene.observed.unreadable.is_empty(), "an older one that came late");
    }

    /// Who was told of an alert is not worth its silence.
    #[test]
    fn what_no_safety_hangs_on_is_written_anew() {
        let alert = || Key::Alert(AlertKey { group: web(), code: "disputed".into() });
        let mut scene = without(waiting().disputed(), alert());
        scene.policy.sinks.push("pager".into());
        let actions = decide(&scene.observed, &scene.policy, at(100)).actions;
        let revisions = actions.iter().filter_map(|action| match action {
            Action::Record { key, revision, .. } if *key == alert() => Some(*revision),
            _ => None,
        });
        assert_eq!(revisions.collect::<Vec<_>>(), [Some(99)]);
    }
}
