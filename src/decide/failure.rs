//! Why an instance that serves should not: it has drifted (`drift`), or it came past the gate and was never proven (`bypass`). The one
//! place that holds what its group says about either.

use alloc::{collections::BTreeSet, string::String};

use super::{bypass, case::Case, drift};
use crate::{
    policy::OnDrift,
    record::{Way, WithdrawalRecord},
    timestamp::Timestamp,
};

/// What an instance may be taken out of traffic for.
pub(super) struct Failure {
    /// Since when, without a break.
    pub(super) since: Timestamp,
    /// What other instances may have in common with it.
    pub(super) causes: BTreeSet<String>,
    /// For people.
    pub(super) because: String,
    /// How its group wants it taken out.
    pub(super) way: Way,
    /// Whether it is that it came past the gate.
    pub(super) bypassed: bool,
}

/// Why it should be taken out, where its group says so; by now, and by what it said of late.
pub(super) fn failure(case: &Case<'_>) -> Option<Failure> {
    if !case.withdraws() {
        return None;
    }
    drifted(case).or_else(|| bypass::unproven(case))
}

fn drifted(case: &Case<'_>) -> Option<Failure> {
    let way = way(case.policy.on_drift)?;
    let drift = drift::drift(case)?;
    let (since, causes, because) = (drift.since, drift.causes(), drift.because());
    Some(Failure { since, causes, because, way, bypassed: false })
}

/// Whether its group still says so of what a withdrawal is for.
pub(super) fn is_policy(case: &Case<'_>, record: &WithdrawalRecord) -> bool {
    let said = if record.bypassed { case.policy.on_bypass } else { case.policy.on_drift };
    case.withdraws() && way(said).is_some()
}

pub(super) const fn way(said: OnDrift) -> Option<Way> {
    match said {
        OnDrift::Observe => None,
        OnDrift::Standby => Some(Way::Standby),
        OnDrift::Replace => Some(Way::Replace),
    }
}
