//! Asserts what a balancer should do, where a balancer holds the instances: it forgets what it was told when it restarts, and
//! others may tell it otherwise.
//!
//! What was let in is let in again. That the balancer holds it after a restart is no new wait: nothing happened to the instance,
//! and its agent, which speaks once a minute by now, would learn of a new wait so late that every restart would be an outage. But
//! the newest report must pass, for a release that is still accepted, and be younger than that minute and a half; whatever it
//! lacks, a new wait begins, with a proof of its own. (A reboot or a deploy in place in the meantime is in that report.)
//!
//! What is held and gets traffic all the same has slipped. Its wait is not over, since nobody let it in: it is held again. What
//! serves without ever having waited is let be, and told (`serving`): a gate that took it out could empty the fleet.
//!
//! Planted bugs (tests/simulation): `slip_ignored`, `stands_for_ever`.

use super::{case::Case, complete::complete, opinion::Opinion, serving};
use crate::{
    action::Action,
    instance::LifecycleState,
    reason::Reason,
    record::{WaitRecord, Word},
    report::Readiness,
    timestamp::Timestamp,
};

/// Answers for what a balancer should be told again.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    if !case.is_in_place() {
        return None;
    }
    let wait = case.wait()?;
    if slipped(case) {
        return Some(hold_again(case, wait));
    }
    let somewhere_held = match case.instance.state {
        LifecycleState::PendingWait => wait.over,
        LifecycleState::PendingProceed => true,
        LifecycleState::Pending
        | LifecycleState::WarmedPendingWait
        | LifecycleState::InService
        | LifecycleState::EnteringStandby
        | LifecycleState::Standby
        | LifecycleState::Terminating
        | LifecycleState::Other(_) => false,
    };
    let since = stands(case, wait).filter(|_| somewhere_held)?;
    let opinion = Opinion::admitted(case, serving::reason(case)).past_the_hook();
    Some(complete(case, wait, Action::Admit(case.held(wait)), since, opinion).until(case, stands_until(case)))
}

/// Whether it gets traffic in a wait that nobody ended.
pub(super) fn slipped(case: &Case<'_>) -> bool {
    let gets_traffic = matches!(case.instance.state, LifecycleState::InService | LifecycleState::PendingProceed);
    let is_held = case.wait().is_some_and(|wait| !wait.over) && case.admission().is_none();
    case.is_in_place() && case.enforces() && case.detached().is_none() && gets_traffic && is_held
}

/// Once a description: what the balancer took a moment ago is not to be seen in one from before.
fn hold_again(case: &Case<'_>, wait: &WaitRecord) -> Opinion {
    let hold = Action::KeepWaiting(case.held(wait));
    let settled_at = case.attempts(&hold.key()).map(|attempts| attempts.settled_at(case.limits));
    let opinion = Opinion::held(case, Reason::Slipped).by(case, wait);
    complete(case, wait, hold, settled_at.unwrap_or_default(), opinion)
}

/// Whether its admission holds still; if so, a description since when is good enough to act on.
fn stands(case: &Case<'_>, wait: &WaitRecord) -> Option<Timestamp> {
    let admission = case.admission()?;
    // What was drained for what fails has to prove itself anew.
    if case.withdrawal().is_some() && case.instance.state == LifecycleState::PendingWait {
        return None;
    }
    match case.operator(wait) {
        Some(said) if said.word == Word::Admit => return Some(said.at),
        Some(_) => return None,
        None => {}
    }
    if !case.enforces() {
        return Some(admission.at);
    }
    if case.pause().is_some() || case.dispute().is_some() {
        return None;
    }
    let evidence = case.instance.evidence.as_ref()?;
    let passes = evidence.readiness == Readiness::Ready && case.accepted().contains(&evidence.manifest);
    let is_young = case.now.since(evidence.received_at) <= case.limits.serving_report_age_max;
    let is_proven = admission.manifest.is_some() && evidence.challenged_at >= wait.since;
    (passes && is_young && is_proven).then_some(admission.at)
}

fn stands_until(case: &Case<'_>) -> Timestamp {
    let received_at = case.instance.evidence.as_ref().map(|evidence| evidence.received_at);
    received_at.map_or(Timestamp(0), |at| Case::too_old_at(at, case.limits.serving_report_age_max))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{
        instance::LifecycleState::{InService, PendingProceed, PendingWait, Standby},
        observation::Answer,
        outcome::Status,
        record::{Stage, Word},
    };

    /// Let in at 100 s, and held again by a restart of its balancer: described at 150 s.
    fn restarted() -> Scene {
        let serving = ready().of_wait(0).challenged(at(140)).received(145);
        in_state(PendingWait).in_place().wait(1, true).admission(1).reported(serving).described(150)
    }

    #[test]
    fn what_was_let_in_is_let_in_again() {
        let again = |until: &str| alloc::format!("admitted proven, admit i-1, until {until}");
        let rows = [
            (restarted(), 151, again("160+")),
            (restarted(), 161, "admitted proven, describe web, until 235+".into()),
            (restarted().described(235), 235, again("235+")),
            (restarted().described(235), 236, "not ours".into()),
            (restarted().in_state(PendingProceed), 151, again("160+")),
            (restarted().in_state(InService), 151, "not ours".into()),
            (restarted().in_state(Standby), 151, "not ours".into()),
            // An attempt takes its time, and what a restart undid is done again.
            (restarted().continued(150, None), 151, "admitted proven, until 180".into()),
            (restarted().continued(100, Some(Answer::Accepted)), 151, again("160+")),
            (
                restarted().continued(151, Some(Answer::Accepted)),
                151,
                "admitted proven, describe web, until 235+".into(),
            ),
            // Another boot and another accepted release speak for themselves.
            (restarted().reported(ready().of_wait(0).of_boot("other").challenged(at(146))), 151, again("160+")),
            (
                restarted().reported(ready().of_wait(0).of_release("old").challenged(at(146)).received(146)),
                151,
                again("160+"),
            ),
            (restarted().wait(1, false), 151, "not ours".into()),
            (restarted().at_launch(), 151, "not ours".into()),
        ];
        check(rule, &rows.each_ref().map(|(scene, now, told)| (scene.clone(), *now, told.as_str())));
    }

    #[test]
    fn nothing_less_is_let_in_again() {
        let newer = |evidence: crate::report::Evidence| restarted().reported(evidence.of_wait(0).challenged(at(146)));
        for scene in [
            newer(not_ready(&[Status::Fail])),
            newer(not_ready(&[Status::Unknown])),
            newer(ready().of_release("retired")),
            restarted().accepting(&["newest"]),
            restarted().disputed(),
            restarted().paused(900),
            restarted().said(Word::Hold, 1, 140, 900),
            restarted().said(Word::Reject, 1, 140, 900),
            restarted().admission_of(1, None, None),
            restarted().warranted(1, None),
            restarted().admission(2),
            restarted().wait(2, true),
            restarted().withdrawal("i-1", Stage::Out, 120),
        ] {
            check(rule, &[(scene, 151, "not ours")]);
        }
        let said = restarted().warranted(1, None).said(Word::Admit, 1, 140, 900);
        check(rule, &[(said, 151, "admitted operator_admits, admit i-1, until 160+")]);
        let observing = restarted().observing().admission_of(1, None, None);
        check(rule, &[(observing, 151, "admitted proven, admit i-1, until 160+")]);
    }

    #[test]
    fn what_slips_is_held_again() {
        let held = || in_state(InService).in_place().wait(1, false).described(150);
        check(
            rule,
            &[
                (held(), 151, "held slipped, keep i-1, until 160+"),
                (held().in_state(PendingProceed), 151, "held slipped, keep i-1, until 160+"),
                (held().reported(ready().received(145)), 151, "held slipped, keep i-1, until 160+"),
                (held(), 161, "held slipped, describe web"),
                (held().beaten(150, None), 151, "held slipped, until 180"),
                (held().beaten(151, Some(Answer::Accepted)), 151, "held slipped, describe web"),
                (held().beaten(149, Some(Answer::Accepted)), 151, "held slipped, keep i-1, until 160+"),
                (held().admission(1), 151, "not ours"),
                (held().wait(1, true), 151, "not ours"),
                (held().observing(), 151, "not ours"),
                (held().detached(50, None), 151, "not ours"),
                (held().at_launch(), 151, "not ours"),
                (held().in_state(PendingWait), 151, "not ours"),
                (in_state(InService).in_place().described(150), 151, "not ours"),
            ],
        );
    }
}
