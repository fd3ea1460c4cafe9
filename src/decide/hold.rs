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
