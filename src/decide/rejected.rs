//! Answers for a waiting instance whose rejection is on record: final for this wait, so that ABANDON is due.
//!
//! ABANDON is sent only for a short time after the rejection's record, the instance's turn. When it was not taken in that time,
//! the instance waits for another turn, with a new record: so abandons of a group are as far apart as they should be, whatever
//! was lost and however often the controller was restarted.
//!
//! Between two turns nothing is under way, and that may take long (a breaker keeps whom it may not replace): whoever is proven by
//! then is admitted after all, unless an operator has a say in it. To end what is ready helps nobody.

use alloc::boxed::Box;

use super::{case::Case, complete::complete, heartbeat, hold, opinion::Opinion, outdated, pacing, proof::proof};
use crate::{
    action::Action,
    reason::Reason,
    record::{Key, Record, RejectionRecord, WaitRecord},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.instance.state.is_waiting())?;
    let gated = case.enforces() && case.detached().is_none();
    let rejection = case.rejection().filter(|rejection| gated || rejection.warrant.is_some())?;
    let last = hold::reason(case, wait);
    let opinion = Opinion::rejected(case, reason(case, wait, rejection, &last))
        .by(case, wait)
        .until(case, super::proof::stale_at(case));
    let taken_at = case.give_ups(wait).and_then(|attempts| attempts.accepted_at);
    if let Some(taken_at) = taken_at
        && case.instance.described_at < taken_at + case.limits.propagation_max
    {
        let stale = case.instance.described_at < taken_at;
        return Some(opinion.and(stale.then(|| Action::Describe(case.instance.group.clone()))));
    }
    let between_turns = case.now >= pacing::turn_ends_at(rejection, case.limits) && taken_at.is_none();
    let says_nothing = rejection.warrant.is_none() && case.operator(wait).is_none() && case.pause().is_none();
    if between_turns && says_nothing && proof(case, wait, case.limits.report_age_max).is_ok() {
        return None;
    }
    Some(heartbeat::with(case, wait, pursue(case, wait, rejection, opinion)))
}

fn pursue(case: &Case<'_>, wait: &WaitRecord, rejection: &RejectionRecord, opinion: Opinion) -> Opinion {
    let turn_ends_at = pacing::turn_ends_at(rejection, case.limits);
    if case.now < turn_ends_at {
        let call = Action::GiveUp(case.held(wait));
        return complete(case, wait, call, rejection.at, opinion).until(case, turn_ends_at);
    }
    let next_turn = pacing::next_turn(case);
    if case.now < next_turn {
        return opinion.until(case, next_turn);
    }
    opinion.wishing(another_turn(case, rejection))
}

/// Why it was rejected stays as it was: it is one failure, however often ABANDON is sent.
fn another_turn(case: &Case<'_>, rejection: &RejectionRecord) -> Action {
    let key = Key::Rejection(case.id.clone());
    let record = RejectionRecord { at: case.now, ..rejection.clone() };
    Action::Record { revision: case.revision(&key), key, record: Record::Rejection(record) }
}

fn reason(case: &Case<'_>, wait: &WaitRecord, rejection: &RejectionRecord, last: &Reason) -> Reason {
    let passed = match &rejection.warrant {
        Some(warrant) => Reason::OperatorRejects { warrant: warrant.clone() },
        None => outdated::told(rejection, last)
            .unwrap_or_else(|| Reason::DeadlinePassed { deadline: case.deadline(wait), last: Box::new(last.clone()) }),
    };
    match case.give_ups(wait).and_then(|attempts| attempts.refused.as_ref()) {
        Some(because) => Reason::Refused { because: because.clone(), wanted: Box::new(passed) },
        None => passed,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{instance::LifecycleState, observation::Answer, record::Word};

    fn late() -> Scene {
        rejected().beaten(1_250, Some(Answer::Accepted))
    }

    #[test]
    fn table() {
        let verdict = "rejected deadline_passed(no_report)";
        let send = |until: &str| alloc::format!("{verdict}, give up i-1, until {until}");
        let told = |text: &str| alloc::format!("{verdict}, {text}");
        let rows = [
            (late().described(1_299), 1_300, told("describe web, until 1360")),
            (late(), 1_301, send("1310+")),
            (late().described(1_355), 1_359, send("1360")),
            (late().described(1_355), 1_360, told("until 1690")),
            (late().described(1_355), 1_689, told("until 1690")),
            (late().described(1_355), 1_690, told("rejection/i-1, until 1850")),
            (late().abandoned(1_302, None).described(1_303), 1_304, told("until 1332")),
            (late().abandoned(1_302, Some(Answer::NoActiveAction)), 1_303, told("describe web, until 1360")),
            (late().abandoned(1_302, Some(unknown())).described(1_302), 1_303, send("1312+")),
            (late().continued(1_302, Some(unknown())), 1_303, told("describe web, until 1360")),
            (late().abandoned(1_302, Some(Answer::Accepted)), 1_303, told("describe web")),
            (late().abandoned(1_302, Some(Answer::Accepted)).described(1_302), 1_303, verdict.into()),
            (late().abandoned(1_302, Some(Answer::Accepted)).described(1_361), 1_602, verdict.into()),
            (
                late().abandoned(1_302, Some(Answer::Accepted)).described(1_362),
                1_602,
                told("rejection/i-1, until 1850"),
            ),
            (late().abandoned(1_302, Some(Answer::Accepted)).described(1_362), 1_601, told("until 1602")),
            (
                late().abandoned(1_302, Some(refused())).described(1_302),
                1_303,
                send("1312+").replace("deadline_passed(no_report)", "refused(deadline_passed(no_report))"),
            ),
            (
                late().reported(ready().received(1_301)),
                1_301,
                "rejected deadline_passed(proven), give up i-1, until 1310+".into(),
            ),
            (late().reported(ready().received(1_360)).described(1_355), 1_360, "not ours".into()),
            (
                late().reported(ready().received(1_360)).described(1_355).paused(1_400),
                1_360,
                "rejected deadline_passed(proven), until 1390+".into(),
            ),
            (
                late().reported(ready().received(1_360)).described(1_355).said(Word::Hold, 1, 50, 1_900),
                1_360,
                "rejected deadline_passed(proven), until 1390+".into(),
            ),
            (
                late().reported(ready().received(1_329)).described(1_355),
                1_360,
                "rejected deadline_passed(stale_report), until 1690".into(),
            ),
            (
                late().abandoned(1_302, Some(Answer::Accepted)).reported(ready().received(1_362)).described(1_362),
                1_362,
                "rejected deadline_passed(proven), until 1392+".into(),
            ),
            (
                late().on_a_word().reported(ready().received(1_360)).described(1_355),
                1_360,
                "rejected operator_rejects, until 1390+".into(),
            ),
            (late().observing(), 1_301, "not ours".into()),
            (late().detached(50, None), 1_301, "not ours".into()),
            (late().detached(50, Some(60)), 1_301, send("1310+")),
            (late().detached(50, None).on_a_word(), 1_301, send("1310+").replace(verdict, "rejected operator_rejects")),
            (late().on_a_word(), 1_301, send("1310+").replace(verdict, "rejected operator_rejects")),
            (late().on_a_word().observing(), 1_301, send("1310+").replace(verdict, "rejected operator_rejects")),
            (late().on_a_word().described(1_355), 1_690, "rejected operator_rejects, rejection/i-1, until 1850".into()),
            (late().wait(2, false), 1_301, "not ours".into()),
            (waiting(), 1_301, "not ours".into()),
            (in_state(LifecycleState::Terminating).wait(1, false).rejection("i-1", 1, 1_300), 1_301, "not ours".into()),
        ];
        check(rule, &rows.each_ref().map(|(scene, now, told)| (scene.clone(), *now, told.as_str())));
    }
}
