//! Gives up a waiting instance whose content is wrong and whose group launches from another template by now: the fix is there, this one
//! does not have it, and its place in the group is needed for one that does.
//!
//! Only what fails is given up, never what is unknown or silent, nor for what lies outside of the instance (scope `launch`), which the
//! new template would not mend; and not before it has waited longer than a launch that goes well (`stall_after`), since content may
//! still be on its way. It must have waited already when the other template was first seen: so whatever the cloud says of templates,
//! nobody is launched and given up in a circle.
//!
//! It goes in its turn (`pacing`), and not while an open breaker keeps it for a look; but it opens none, since it says nothing of what
//! is launched now. At its deadline it is `give_up`'s.
//!
//! Planted bugs (tests/simulation): `outdated_is_any`, `outdated_at_once`.

use super::{case::Case, give_up, hold, opinion::Opinion, proof};
use crate::{
    reason::Reason,
    record::{RejectionRecord, WaitRecord},
    report::Evidence,
    timestamp::Timestamp,
};

/// Answers for every waiting instance that fails and was launched from another template than its group launches from now.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.enforces() && case.instance.state.is_waiting() && !case.is_in_place())?;
    let present = present(case, wait).filter(|_| case.policy.abandon_outdated && case.admission().is_none())?;
    let Err(last @ Reason::ChecksFailing { .. }) = proof::proof(case, wait, case.limits.report_age_max) else {
        return None;
    };
    let fails = case.instance.evidence.as_ref().is_some_and(Evidence::is_drifted);
    let due_at = due_at(case, wait).filter(|_| fails)?;
    if case.now < due_at {
        return Some(
            hold::kept(case, wait, Opinion::held(case, last)).until(case, due_at).until(case, case.deadline(wait)),
        );
    }
    let (present, last) = (present.into(), last.into());
    Some(hold::kept(case, wait, give_up::in_turn(case, wait, Reason::Outdated { present, last })))
}

/// What its group launches from now, if that is not what it was launched from, and was not yet seen when it began to wait.
fn present<'a>(case: &Case<'a>, wait: &WaitRecord) -> Option<&'a str> {
    let since = case.observed.groups.get(&case.instance.group)?.template_since.filter(|since| wait.since < *since)?;
    let present = case.facts.launch_template.as_deref()?;
    let own = case.facts.instances.iter().find(|one| one.instance == *case.id)?.launch_template.as_deref()?;
    (own != present && since <= case.now).then_some(present)
}

/// A launch that goes well takes no longer; and agents must be heard first.
fn due_at(case: &Case<'_>, wait: &WaitRecord) -> Option<Timestamp> {
    let heard_at = case.observed.listening_since? + case.limits.listen_min;
    Some(heard_at.max(wait.since + case.policy.stall_after))
}

/// What a rejection that is on record for it is told as.
pub(super) fn told(rejection: &RejectionRecord, last: &Reason) -> Option<Reason> {
    let present = rejection.outdated.clone()?;
    Some(Reason::Outdated { present, last: last.clone().into() })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{super::fixtures::*, *};
    use crate::{
        action::Action,
        decide::decide,
        instance::{InstanceId, LifecycleState::PendingWait},
        observation::{Answer, InstanceFacts},
        outcome::Status,
        record::{Key, Record},
    };

    /// It waits since 0 s and fails; since 300 s its group launches from another template.
    fn outdated() -> Scene {
        failing("i-1", 599).launched_from("i-1", "t:1").template("t:2", 300)
    }

    fn failing(_: &str, seconds: u64) -> Scene {
        let evidence = not_ready(&[Status::Fail]).challenged(at(seconds - 1)).received(seconds);
        waiting().beaten(590, Some(Answer::Accepted)).reported(evidence)
    }

    impl Scene {
        fn template(mut self, name: &str, since: u64) -> Self {
            self.facts().launch_template = Some(name.into());
            self.observed.groups.values_mut().for_each(|group| group.template_since = Some(at(since)));
            self
        }

        fn launched_from(mut self, id: &str, template: &str) -> Self {
            let (instance, state, launch_template) = (InstanceId::from(id), PendingWait, Some(template.into()));
            self.facts().instances.push(InstanceFacts {
                instance,
                state,
                launch_template,
                protected: false,
                healthy: None,
            });
            self
        }
    }

    #[test]
    fn what_fails_and_is_of_another_template() {
        let given_up = "held rejection_not_recorded(outdated), rejection/i-1, until 629+";
        let say = |evidence: Evidence| outdated().reported(evidence.challenged(at(599)).received(600));
        let mut kept = outdated();
        kept.group_policy().abandon_outdated = false;
        let rows = [
            (outdated(), 599, "held checks_failing, until 600"),
            (outdated(), 600, given_up),
            (outdated().observing(), 600, "not ours"),
            (outdated().in_place(), 600, "not ours"),
            (kept, 600, "not ours"),
            (outdated().template("t:1", 300), 600, "not ours"),
            // It began to wait when that was known already.
            (outdated().template("t:2", 0), 600, "not ours"),
            (failing("i-1", 599).template("t:2", 300), 600, "not ours"),
            (failing("i-1", 599).launched_from("i-1", "t:1"), 600, "not ours"),
            (outdated().admission(1), 600, "not ours"),
            // What is unknown, lies outside, was said too long ago, or passes.
            (say(not_ready(&[Status::Unknown])), 600, "not ours"),
            (say(not_ready(&[Status::Fail]).outside()), 600, "not ours"),
            (say(ready()), 600, "not ours"),
            (outdated(), 630, "not ours"),
            (outdated().listening_since(Some(at(560))), 610, "held checks_failing, until 620"),
            (outdated().rejection("i-2", 1, 590), 600, "held abandon_paced(outdated), until 629+"),
        ];
        check(rule, &rows);
    }

    /// Three of them are no three failures of what is launched now; where a breaker is open, they are kept like all others.
    #[test]
    fn it_opens_no_breaker_and_heeds_one() {
        let told = |scene: &Scene| {
            let decision = decide(&scene.observed, &scene.policy, at(600));
            let records = decision.actions.iter().filter_map(|action| match action {
                Action::Record { record: Record::Rejection(record), .. } => Some((said(action), record.clone())),
                _ => None,
            });
            (records.collect::<Vec<_>>(), decision.rulings[&i1()].reason.code())
        };
        let scene = outdated().described(600);
        let (records, code) = told(&scene);
        assert_eq!((records[0].0.as_str(), code), ("rejection/i-1", "rejection_not_recorded"));
        assert_eq!((records[0].1.outdated.as_deref(), records[0].1.causes.len()), (Some("t:2"), 0));
        let before = scene.clone().rejection("i-8", 1, 10).rejection("i-9", 1, 20);
        let breakers = |scene: &Scene| decide(&scene.observed, &scene.policy, at(600)).breakers[&web()].clone();
        assert_eq!(breakers(&before), crate::decide::Breaker::Closed);
        let (records, code) = told(&scene.clone().broken(100, 100, 1_900));
        assert_eq!((records.len(), code), (0, "breaker_open"));
        let on_record = Record::Rejection(RejectionRecord { at: at(600), ..records_of(&scene) });
        let rejected = scene.stored(Key::Rejection(i1()), on_record);
        assert_eq!(decide(&rejected.observed, &rejected.policy, at(600)).rulings[&i1()].reason.code(), "outdated");
    }

    fn records_of(scene: &Scene) -> RejectionRecord {
        let actions = decide(&scene.observed, &scene.policy, at(600)).actions;
        let found = actions.into_iter().find_map(|action| match action {
            Action::Record { record: Record::Rejection(record), .. } => Some(record),
            _ => None,
        });
        found.expect("it is to be rejected")
    }
}
