//! An operator's word on a waiting instance, or on its whole group, before the rules have theirs.
//!
//! *Hold* outweighs a proof and a deadline; *reject* is a rejection like any other, but at once: one person's word on one
//! instance is no relaunch loop, so that it waits for no turn (it still delays those of others). *Admit* is `admit`'s, since a
//! proof is worth more where there is one. A paused group keeps what waits: nothing is admitted and nothing given up, except
//! on a word about the instance itself. Where a group only observes, there is nothing to pause: it never keeps anybody waiting.
//!
//! A detached group does without the gate: all that waits is let in (by `admit`), nothing is given up, and a pause means nothing.
//! A word about the instance itself still counts.
//! Where a balancer holds them, nothing can be ended: to reject is to hold, for as long as the word counts.
//!
//! A word is for one wait, and ends: nobody remembers at noon what was said at night. What is rejected stays so.
//!
//! Planted bugs (tests/simulation): `word_for_ever`, `word_for_any_wait`, `hold_ignored`, `pause_ignored`,
//! `detach_ignored`, `detached_for_ever`.

use super::{case::Case, give_up, hold::kept, opinion::Opinion};
use crate::{
    reason::Reason,
    record::{OverrideRecord, PauseRecord, WaitRecord, Word},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.instance.state.is_waiting() && case.rejection().is_none())?;
    match case.operator(wait) {
        Some(said) if said.word == Word::Hold || (said.word == Word::Reject && case.is_in_place()) => {
            Some(holds(case, wait, said))
        }
        Some(said) if said.word == Word::Reject => Some(rejects(case, wait, said)),
        Some(_) => None,
        None => {
            case.pause().filter(|_| case.enforces() && case.detached().is_none()).map(|pause| paused(case, wait, pause))
        }
    }
}

fn holds(case: &Case<'_>, wait: &WaitRecord, said: &OverrideRecord) -> Opinion {
    let reason = Reason::OperatorHolds { warrant: said.warrant.clone(), until: said.until };
    kept(case, wait, Opinion::held(case, reason)).until(case, said.until)
}

fn rejects(case: &Case<'_>, wait: &WaitRecord, said: &OverrideRecord) -> Opinion {
    let last = Reason::OperatorRejects { warrant: said.warrant.clone() };
    let record = give_up::write(case, wait, &last, Some(said.warrant.clone()));
    let opinion = Opinion::held(case, Reason::RejectionNotRecorded { last: last.into() });
    kept(case, wait, opinion.wishing(record)).until(case, said.until)
}

fn paused(case: &Case<'_>, wait: &WaitRecord, pause: &PauseRecord) -> Opinion {
    let reason = Reason::Paused { warrant: pause.warrant.clone(), until: pause.until };
    kept(case, wait, Opinion::held(case, reason)).until(case, pause.until)
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{instance::LifecycleState, observation::Answer, record::Word};

    /// Ready, or past its deadline: the word is the same.
    #[test]
    fn a_word_outweighs_the_rules() {
        let late = || waiting().beaten(1_150, Some(Answer::Accepted));
        check(
            rule,
            &[
                (waiting(), 100, "not ours"),
                (proven().said(Word::Hold, 1, 50, 900), 100, "held operator_holds, until 125+"),
                (proven().in_place().said(Word::Reject, 1, 50, 900), 100, "held operator_holds, until 125+"),
                (late().said(Word::Hold, 1, 50, 1_900), 1_300, "held operator_holds, until 1750"),
                (late().said(Word::Hold, 1, 50, 1_700), 1_300, "held operator_holds, until 1700"),
                (late().said(Word::Hold, 1, 50, 1_300), 1_300, "not ours"),
                (late().said(Word::Hold, 2, 50, 1_900), 1_300, "not ours"),
                (late().rejection("i-1", 1, 1_200).said(Word::Hold, 1, 50, 1_900), 1_300, "not ours"),
                (waiting().said(Word::Hold, 1, 50, 900).observing(), 100, "held operator_holds, until 600"),
                (waiting().said(Word::Hold, 1, 50, 900), 600, "held operator_holds, keep i-1, until 900"),
                (
                    proven().said(Word::Reject, 1, 99, 900),
                    100,
                    "held rejection_not_recorded(operator_rejects), rejection/i-1, until 125+",
                ),
                (proven().said(Word::Admit, 1, 99, 900), 100, "not ours"),
                (in_state(LifecycleState::InService).wait(1, false).said(Word::Hold, 1, 50, 900), 100, "not ours"),
                (in_state(LifecycleState::PendingWait).said(Word::Hold, 1, 50, 900), 100, "not ours"),
            ],
        );
    }

    #[test]
    fn a_detached_group_is_not_paused() {
        check(
            rule,
            &[
                (proven().paused(900).detached(50, None), 100, "not ours"),
                (proven().paused(900).detached(50, Some(99)), 100, "held paused, until 125+"),
                (waiting().detached(50, None).said(Word::Hold, 1, 60, 900), 100, "held operator_holds, until 600"),
            ],
        );
    }

    #[test]
    fn a_paused_group_keeps_what_waits() {
        let late = || waiting().beaten(1_150, Some(Answer::Accepted));
        check(
            rule,
            &[
                (proven().paused(900), 100, "held paused, until 125+"),
                (proven().paused(100), 100, "not ours"),
                (late().paused(1_400), 1_300, "held paused, until 1400"),
                (late().paused(1_400).rejection("i-1", 1, 1_200), 1_300, "not ours"),
                (proven().paused(900).observing(), 100, "not ours"),
                (proven().paused(900).said(Word::Admit, 1, 99, 900), 100, "not ours"),
                (in_state(LifecycleState::InService).wait(1, true).paused(900), 100, "not ours"),
            ],
        );
    }
}
