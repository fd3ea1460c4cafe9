//! What is proven of an instance, and if nothing, why not. The one place that decides what evidence is worth.

use core::time::Duration;

use super::case::Case;
use crate::{
    digest::Digest,
    instance::WaitId,
    outcome::Status,
    reason::Reason,
    record::WaitRecord,
    report::{Cause, Evidence, Readiness},
    timestamp::Timestamp,
};

/// Evidence that counts.
pub(super) struct Proof<'a> {
    pub(super) evidence: &'a Evidence,
    /// Since when the agent says so without a break.
    pub(super) since: Timestamp,
    /// Whether a newer release is wanted.
    pub(super) behind: bool,
}

impl Proof<'_> {
    pub(super) fn reason(&self) -> Reason {
        Reason::Proven { manifest: self.evidence.manifest, behind: self.behind }
    }
}

/// The proof of `wait`, from a report no older than `age_max`.
///
/// # Errors
/// With the reason why there is none.
pub(super) fn proof<'a>(case: &Case<'a>, wait: &WaitRecord, age_max: Duration) -> Result<Proof<'a>, Reason> {
    let accepted = case.accepted();
    if accepted.is_empty() {
        return Err(Reason::NoRelease);
    }
    if let Some(dispute) = case.dispute() {
        return Err(Reason::IdentityDisputed { at: dispute.at });
    }
    let Some(evidence) = &case.instance.evidence else {
        return Err(Reason::NoReport { since: wait.since });
    };
    // Once it serves it is told of no wait any more: what it says then is about what that wait let in.
    let of_wait = evidence.wait == wait.wait || (wait.over && evidence.wait == WaitId(0));
    if !of_wait || evidence.challenged_at < wait.since {
        return Err(Reason::OutdatedReport);
    }
    if case.now.since(evidence.received_at) > age_max {
        return Err(Reason::StaleReport { received_at: evidence.received_at });
    }
    if !accepted.contains(&evidence.manifest) {
        return Err(Reason::WrongRelease { manifest: evidence.manifest });
    }
    match &evidence.readiness {
        Readiness::NotReady { causes } => Err(failing(causes)),
        Readiness::Ready => Ok(Proof {
            evidence,
            since: case.instance.passing_since.unwrap_or(evidence.received_at),
            behind: is_behind(accepted, &evidence.manifest),
        }),
    }
}

/// When the reason that [`proof`] gives changes by time alone: a report that counts goes stale.
pub(super) fn stale_at(case: &Case<'_>) -> Timestamp {
    let received_at = case.instance.evidence.as_ref().map_or(Timestamp(0), |evidence| evidence.received_at);
    Case::too_old_at(received_at, case.limits.report_age_max)
}

pub(super) fn is_behind(accepted: &[Digest], manifest: &Digest) -> bool {
    accepted.first() != Some(manifest)
}

pub(super) fn failing(causes: &[Cause]) -> Reason {
    let causes = causes.to_vec();
    if causes.iter().any(|cause| cause.status == Status::Fail) {
        Reason::ChecksFailing { causes }
    } else {
        Reason::ChecksUnknown { causes }
    }
}
