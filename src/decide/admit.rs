//! Admits a waiting instance on proof, or on an operator's word: on it alone, or on its group as a whole (`detach`); in a group that
//! only observes, on no proof too, telling what would have been.
//!
//! The admission goes on record before CONTINUE is sent, or after a crash between the two a serving instance looks as if it had
//! bypassed the gate. Then the group is described once more: between report and CONTINUE the instance may have moved on. Any
//! description asked for since the agent began to pass will do, else every new report would ask for another one.
//!
//! Planted bugs (tests/simulation): `admit_on_any_report`, `ignore_wait`, `stale_report_accepted`, `retired_accepted`,
//! `skip_redescribe`, `no_write_ahead`.

use super::{
    case::Case,
    complete::{complete, is_described},
    heartbeat,
    opinion::Opinion,
    proof::{Proof, proof, stale_at},
    serving::ungated_or,
};
use crate::{
    action::Action,
    reason::Reason,
    record::{AdmissionRecord, Key, Record, WaitRecord, Warrant, Word},
    timestamp::Timestamp,
};

/// Answers for every waiting instance that may go into service.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.instance.state.is_waiting())?;
    let said = case.operator(wait).filter(|said| said.word == Word::Admit);
    let detached = case.detached().map(|detached| (&detached.warrant, detached.at));
    let word = said.map(|said| (&said.warrant, said.at)).or(detached);
    let (granted, reason) = match (proof(case, wait, case.limits.report_age_max), word) {
        (Ok(proof), _) => (Granted::of(case, &proof), proof.reason()),
        (Err(_), Some((warrant, at))) => {
            (Granted::on_a_word(case, wait, warrant, at), Reason::OperatorAdmits { warrant: warrant.clone() })
        }
        (Err(_), None) if case.enforces() => return None,
        (Err(otherwise), None) => (Granted::NOTHING, ungated_or(case, otherwise)),
    };
    let opinion = if is_recorded(case, &granted) {
        proceed(case, wait, &granted, reason)
    } else {
        Opinion::held(case, Reason::AdmissionNotRecorded).wishing(write(case, wait, granted))
    };
    let word_ends_at = said.map_or(Timestamp(0), |said| said.until);
    Some(heartbeat::with(case, wait, opinion).until(case, stale_at(case)).until(case, word_ends_at))
}

/// What goes on record, and since when it is so. Nothing, where a group only observes.
struct Granted {
    boot: Option<crate::instance::BootId>,
    manifest: Option<crate::digest::Digest>,
    since: Timestamp,
    warrant: Option<Warrant>,
}

impl Granted {
    const NOTHING: Self = Self { boot: None, manifest: None, since: Timestamp(0), warrant: None };

    /// An observing group asks for no description after the report: it would admit without one.
    fn of(case: &Case<'_>, proof: &Proof<'_>) -> Self {
        let evidence = proof.evidence;
        let since = if case.enforces() { proof.since } else { Timestamp(0) };
        Self { boot: Some(evidence.boot.clone()), manifest: Some(evidence.manifest), since, warrant: None }
    }

    /// An operator's word proves nothing. The boot that speaks is kept all the same: from another one, the wait is another.
    fn on_a_word(case: &Case<'_>, wait: &WaitRecord, warrant: &Warrant, since: Timestamp) -> Self {
        let speaks = case.instance.evidence.as_ref().filter(|evidence| evidence.wait == wait.wait);
        let boot = speaks.map(|evidence| evidence.boot.clone());
        Self { boot, manifest: None, since, warrant: Some(warrant.clone()) }
    }
}

/// An observing group is not delayed by a second record when the proof comes after all.
fn is_recorded(case: &Case<'_>, granted: &Granted) -> bool {
    case.admission().is_some_and(|admission| {
        let observes = !case.enforces() && granted.warrant.is_none();
        observes
            || (admission.boot == granted.boot
                && admission.manifest == granted.manifest
                && admission.warrant == granted.warrant)
    })
}

fn proceed(case: &Case<'_>, wait: &WaitRecord, granted: &Granted, reason: Reason) -> Opinion {
    let tried = case.admits(wait);
    let opinion = if let Some(because) = tried.and_then(|attempts| attempts.refused.as_ref()) {
        Opinion::held(case, Reason::Refused { because: because.clone(), wanted: reason.into() })
    } else if tried.is_some() || is_described(case, Some(wait), granted.since) {
        Opinion::admitted(case, reason)
    } else {
        Opinion::held(case, Reason::AwaitingDescription)
    };
    complete(case, wait, Action::Admit(case.held(wait)), granted.since, opinion)
}

fn write(case: &Case<'_>, wait: &WaitRecord, Granted { boot, manifest, warrant, .. }: Granted) -> Action {
    let key = Key::Admission(case.id.clone());
    let group = case.instance.group.clone();
    let record = AdmissionRecord { group, wait: wait.wait, boot, manifest, at: case.now, warrant };
    Action::Record { revision: case.revision(&key), key, record: Record::Admission(record) }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{instance::LifecycleState, observation::Answer, outcome::Status, record::Word};

    #[test]
    fn proof_admits() {
        let recorded = || waiting().reported(ready()).admission(1);
        check(
            rule,
            &[
                (waiting().reported(ready()), 100, "held admission_not_recorded, admission/i-1, until 125+"),
                (recorded().described(94), 100, "held awaiting_description, describe web, until 125+"),
                (recorded().described(95), 100, "admitted proven, admit i-1, until 105+"),
                (recorded().described(95), 105, "admitted proven, admit i-1, until 105+"),
                (recorded().described(95), 106, "held awaiting_description, describe web, until 125+"),
                (recorded().described(120), 125, "admitted proven, admit i-1, until 125+"),
                (recorded().described(120), 126, "not ours"),
                // The next report of an unbroken run asks for no other description.
                (
                    recorded().described(96).reported(ready().challenged(at(97)).received(99)),
                    100,
                    "admitted proven, admit i-1, until 106+",
                ),
                (
                    recorded().accepting(&["newer", "new"]).described(98),
                    100,
                    "admitted proven behind, admit i-1, until 108+",
                ),
                (in_state(LifecycleState::InService).wait(1, false).reported(ready()), 100, "not ours"),
                (in_state(LifecycleState::PendingWait).reported(ready()), 100, "not ours"),
                // Past the deadline, a proof still admits.
                (
                    waiting().reported(ready().received(1_250)).admission(1).described(1_250),
                    1_251,
                    "admitted proven, admit i-1, keep i-1, until 1260+",
                ),
            ],
        );
    }

    #[test]
    fn nothing_less_admits() {
        check(
            rule,
            &[
                (waiting(), 100, "not ours"),
                (waiting().reported(not_ready(&[Status::Fail])), 100, "not ours"),
                (waiting().reported(not_ready(&[Status::Unknown])), 100, "not ours"),
                (waiting().reported(not_ready(&[])), 100, "not ours"),
                (waiting().reported(ready().of_wait(2)), 100, "not ours"),
                (waiting().reported(ready().challenged(before(1))), 100, "not ours"),
                (waiting().reported(ready().of_release("retired")), 100, "not ours"),
                (waiting().reported(ready()).accepting(&[]), 100, "not ours"),
                (proven().disputed(), 100, "not ours"),
                // After the record was written, the proof must still hold; and it must be the one on record.
                (proven().reported(not_ready(&[Status::Fail]).challenged(at(96))), 100, "not ours"),
                (proven().accepting(&["newer"]), 100, "not ours"),
                (
                    proven().admission_of(1, Some("boot"), Some("old")),
                    100,
                    "held admission_not_recorded, admission/i-1, until 125+",
                ),
                (
                    proven().admission_of(1, Some("other"), Some("new")),
                    100,
                    "held admission_not_recorded, admission/i-1, until 125+",
                ),
                (proven().admission(2), 100, "held admission_not_recorded, admission/i-1, until 125+"),
            ],
        );
    }

    /// For its wait and its time; and a proof is worth more.
    #[test]
    fn an_operators_word_admits_without_proof() {
        let said = || waiting().said(Word::Admit, 1, 99, 900);
        let failing = || said().reported(not_ready(&[Status::Fail]));
        check(
            rule,
            &[
                (said(), 100, "held admission_not_recorded, admission/i-1, until 600"),
                (said().warranted(1, None).described(98), 100, "held awaiting_description, describe web, until 600"),
                (said().warranted(1, None).described(99), 100, "admitted operator_admits, admit i-1, until 109+"),
                (
                    said().warranted(1, None).described(899),
                    899,
                    "admitted operator_admits, admit i-1, keep i-1, until 900",
                ),
                (said().warranted(1, None).described(899), 900, "not ours"),
                (waiting().said(Word::Admit, 2, 99, 900), 100, "not ours"),
                (waiting().said(Word::Hold, 1, 99, 900), 100, "not ours"),
                (said().admission(1).described(99), 100, "held admission_not_recorded, admission/i-1, until 600"),
                (proven().said(Word::Admit, 1, 97, 900), 100, "admitted proven, admit i-1, until 108+"),
                // The boot that speaks is kept, so that another one is another wait.
                (failing().warranted(1, None), 100, "held admission_not_recorded, admission/i-1, until 125+"),
                (
                    failing().warranted(1, Some("boot")).described(99),
                    100,
                    "admitted operator_admits, admit i-1, until 109+",
                ),
                (said().observing(), 100, "held admission_not_recorded, admission/i-1, until 600"),
                (
                    said().observing().warranted(1, None).described(99),
                    100,
                    "admitted operator_admits, admit i-1, until 109+",
                ),
            ],
        );
    }

    /// Proof or not, deadline or not, rejected or not: until somebody ends it.
    #[test]
    fn a_detached_group_lets_in_all_that_waits() {
        let left = || waiting().detached(50, None);
        check(
            rule,
            &[
                (left(), 100, "held admission_not_recorded, admission/i-1, until 600"),
                (left().warranted(1, None).described(49), 100, "held awaiting_description, describe web, until 600"),
                (left().warranted(1, None).described(99), 100, "admitted operator_admits, admit i-1, until 109+"),
                (
                    left().warranted(1, None).described(1_300),
                    1_300,
                    "admitted operator_admits, admit i-1, keep i-1, until 1310+",
                ),
                (waiting().detached(50, Some(99)).warranted(1, None).described(99), 100, "not ours"),
                (proven().detached(50, None), 100, "admitted proven, admit i-1, until 108+"),
                (left().accepting(&[]), 100, "held admission_not_recorded, admission/i-1, until 600"),
                (
                    left().observing().warranted(1, None).described(99),
                    100,
                    "admitted operator_admits, admit i-1, until 109+",
                ),
            ],
        );
    }

    #[test]
    fn continue_is_tried_again_with_care() {
        check(
            rule,
            &[
                (proven().continued(99, None), 100, "admitted proven, until 125+"),
                (proven().continued(99, None).described(128), 124, "admitted proven, until 125+"),
                (proven().continued(99, Some(Answer::Throttled)), 99, "admitted proven, until 100"),
                (
                    proven().continued(99, Some(Answer::NoActiveAction)),
                    100,
                    "admitted proven, describe web, until 125+",
                ),
                (
                    proven().continued(99, Some(Answer::NoActiveAction)).described(99),
                    100,
                    "admitted proven, admit i-1, until 109+",
                ),
                (proven().continued(99, Some(unknown())).described(99), 100, "admitted proven, admit i-1, until 109+"),
                (
                    proven().continued(99, Some(refused())).described(99),
                    100,
                    "held refused(proven), admit i-1, until 109+",
                ),
                (proven().abandoned(99, Some(unknown())), 100, "held awaiting_description, describe web, until 125+"),
            ],
        );
    }

    #[test]
    fn an_observing_group_admits_all_and_tells() {
        let admitted = |scene: Scene| scene.observing().admission_of(1, None, None).described(98);
        check(
            rule,
            &[
                (waiting().observing(), 1, "held admission_not_recorded, admission/i-1, until 600"),
                (admitted(waiting()), 100, "admitted observed_only(no_report), admit i-1, until 108+"),
                (admitted(waiting()), 109, "held awaiting_description, describe web, until 600"),
                (admitted(waiting()).accepting(&[]), 100, "admitted ungated, admit i-1, until 108+"),
                (
                    admitted(waiting()).reported(not_ready(&[Status::Fail])),
                    100,
                    "admitted observed_only(checks_failing), admit i-1, until 108+",
                ),
                (admitted(waiting()).reported(ready().received(99)), 100, "admitted proven, admit i-1, until 108+"),
                (admitted(waiting()), 1_300, "held awaiting_description, describe web, keep i-1"),
            ],
        );
    }
}
