//! Holds a waiting instance whose evidence is missing, failing or too old, and says until when.
//!
//! A hold is never the end: the wake-up it asks for is the earliest moment at which this answer could change (deadline, evidence
//! going stale, heartbeat due). What happens at the deadline is `give_up`'s business.
//!
//! Planted bugs (tests/simulation): `hold_forever`, `no_heartbeat`.

use super::{
    case::Case,
    heartbeat,
    opinion::Opinion,
    proof::{proof, stale_at},
};
use crate::{reason::Reason, record::WaitRecord};

/// Answers for every waiting instance that the rules before it left.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.instance.state.is_waiting())?;
    let opinion = Opinion::held(case, reason(case, wait)).until(case, case.deadline(wait));
    Some(kept(case, wait, opinion))
}

/// Why it is not admitted.
pub(super) fn reason(case: &Case<'_>, wait: &WaitRecord) -> Reason {
    proof(case, wait, case.limits.report_age_max).map_or_else(|reason| reason, |proof| proof.reason())
}

/// What all holds have in common.
pub(super) fn kept(case: &Case<'_>, wait: &WaitRecord, opinion: Opinion) -> Opinion {
    heartbeat::with(case, wait, opinion.by(case, wait)).until(case, stale_at(case))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{instance::LifecycleState, outcome::Status};

    #[test]
    fn every_reason_to_hold() {
        let reported = |evidence| waiting().reported(evidence);
        check(
            rule,
            &[
                (waiting(), 1, "held no_report, until 600"),
                (reported(ready()).disputed(), 100, "held identity_disputed, until 125+"),
                (waiting().accepting(&[]), 1, "held no_release, until 600"),
                (reported(not_ready(&[Status::Unknown, Status::Fail])), 100, "held checks_failing, until 125+"),
                (reported(not_ready(&[Status::Unknown])), 100, "held checks_unknown, until 125+"),
                (reported(not_ready(&[])), 100, "held checks_unknown, until 125+"),
                (reported(not_ready(&[Status::Fail])), 125, "held checks_failing, until 125+"),
                (reported(not_ready(&[Status::Fail])), 126, "held stale_report, until 600"),
                (reported(ready()), 126, "held stale_report, until 600"),
                (reported(ready().of_wait(2)), 100, "held outdated_report, until 125+"),
                (reported(ready().of_wait(0)), 126, "held outdated_report, until 600"),
                (reported(ready().challenged(before(1))), 100, "held outdated_report, until 125+"),
                (reported(ready().challenged(at(0))), 126, "held stale_report, until 600"),
                (reported(ready().of_release("retired")), 100, "held wrong_release, until 125+"),
                (in_state(LifecycleState::InService).wait(1, false), 100, "not ours"),
                (in_state(LifecycleState::PendingWait), 100, "not ours"),
            ],
        );
    }

    #[test]
    fn a_hold_has_a_deadline() {
        let deadline = |scene: &Scene| rule(&scene.case(at(1))).and_then(|opinion| opinion.ruling?.deadline);
        assert_eq!(deadline(&waiting()), Some(at(1_200)));
        let mut patient = waiting();
        patient.group_policy().admission_deadline = core::time::Duration::from_secs(300);
        assert_eq!(deadline(&patient), Some(at(300)));
        check(rule, &[(patient, 1, "held no_report, until 300")]);
    }

    #[test]
    fn the_hook_is_kept_from_timing_out() {
        check(
            rule,
            &[
                (waiting(), 599, "held no_report, until 600"),
                (waiting(), 600, "held no_report, keep i-1, until 1200"),
                (waiting().beaten(600, Some(crate::observation::Answer::Accepted)), 600, "held no_report, until 1200"),
                (waiting().beaten(500, Some(crate::observation::Answer::Accepted)), 600, "held no_report, until 1100"),
                (waiting().beaten(600, Some(unknown())), 601, "held no_report, keep i-1, until 1200"),
                (waiting().in_place(), 600, "held no_report, until 1200"),
                (waiting().in_place(), 1_300, "held no_report"),
                (waiting().hook_timeout(90), 29, "held no_report, until 30"),
                (waiting().hook_timeout(90), 30, "held no_report, keep i-1, until 1200"),
                // It waited when this controller came, who knows since when.
                (waiting().listening_since(Some(before(14))), 1, "held no_report, keep i-1, until 1200"),
                (waiting().listening_since(Some(before(15))), 1, "held no_report, until 600"),
                (waiting().listening_since(Some(at(500))), 500, "held no_report, keep i-1, until 1200"),
                (
                    waiting().listening_since(Some(at(500))).beaten(501, Some(crate::observation::Answer::Accepted)),
                    501,
                    "held no_report, until 1101",
                ),
            ],
        );
    }
}
