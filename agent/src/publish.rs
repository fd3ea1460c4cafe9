//! Asking for a challenge, and answering it with a report.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis::{
    api::{Answer, Challenged},
    challenge,
    outcome::{DIFFERENCES_MAX, Outcome},
    report::{self, Report},
    signature::SigningKey,
};
use tokio::time::sleep;

use crate::{
    controller::{Controller, ControllerError, signed},
    standing::Checked,
    state::Binding,
};

/// Asks for a challenge: before the first read, so that it proves when the checking was done.
pub(crate) async fn challenge(
    controller: &Controller,
    key: &SigningKey,
    binding: &Binding,
) -> Result<Challenged, ControllerError> {
    let request = challenge::Request {
        audience: binding.whom.audience.clone(),
        binding: binding.binding.clone(),
        boot_id: binding.whom.boot_id.clone(),
    };
    controller.challenge(signed(challenge::PAYLOAD_TYPE, &request, key)).await
}

/// Answers `challenged` with what was checked. When no answer comes, the same bytes are sent once more: a report that did
/// arrive gets its stored answer.
pub(crate) async fn report(
    controller: &Controller,
    key: &Arc<SigningKey>,
    binding: &Binding,
    challenged: Challenged,
    checked: &Checked,
) -> Result<Answer, ControllerError> {
    let report = Report {
        audience: binding.whom.audience.clone(),
        binding: binding.binding.clone(),
        instance: binding.whom.instance.clone(),
        boot_id: binding.whom.boot_id.clone(),
        group: challenged.group,
        wait: challenged.wait,
        manifest: checked.manifest,
        challenge: challenged.challenge,
        facts: BTreeMap::new(),
        outcomes: checked.outcomes.clone(),
    };
    let envelope = sealed(report, Arc::clone(key)).await;
    match controller.report(envelope.clone()).await {
        Err(ControllerError::Unreachable(_)) => {
            sleep(RESEND_PAUSE).await;
            controller.report(envelope).await
        }
        answered => answered,
    }
}

/// Megabytes of differences take a while to write and sign: beside the thread that answers probes.
async fn sealed(report: Report, key: Arc<SigningKey>) -> Vec<u8> {
    let seal = move || signed(report::PAYLOAD_TYPE, &fitting(report, REPORT_BYTES_MAX), &key);
    tokio::task::spawn_blocking(seal).await.expect("writing and signing a report cannot fail")
}

/// Cuts the lists of differences until the report fits: `differences_total` still counts them all, and a report that is
/// refused for its size would leave the controller with nothing.
fn fitting(mut report: Report, bytes_max: usize) -> Report {
    let mut listed = DIFFERENCES_MAX;
    while listed > 0 && serde_json::to_vec(&report).is_ok_and(|payload| payload.len() > bytes_max) {
        listed /= 4;
        for outcome in &mut report.outcomes {
            outcome.differences.truncate(listed);
            cut(outcome);
        }
    }
    report
}

/// A reason of a command is its output: bounded already, but there may be a thousand.
fn cut(outcome: &mut Outcome) {
    if let Some(reason) = &mut outcome.reason {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    }
}

/// A controller takes bodies of 4 MiB, and base64 adds a third.
const REPORT_BYTES_MAX: usize = 5 << 19;
const RESEND_PAUSE: Duration = Duration::from_secs(1);
/// In a report that would not fit otherwise.
const REASON_BYTES_MAX: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use portcullis::{
        digest::Digest,
        instance::WaitId,
        outcome::{Difference, Problem, Status},
    };

    use super::*;

    #[test]
    fn a_report_is_cut_until_it_fits() {
        let difference =
            Difference { path: "p".repeat(4_000), problem: Problem::Missing, expected: None, actual: None };
        let outcome = Outcome {
            check: "app".into(),
            kind: "tree".into(),
            status: Status::Fail,
            reason: Some("1000 of 2000 entries differ".into()),
            differences: vec![difference; DIFFERENCES_MAX],
            differences_total: Some(1_500),
            took_ms: 1,
        };
        let report = Report {
            audience: "a".into(),
            binding: "b".into(),
            instance: "i".into(),
            boot_id: "b".into(),
            group: "g".into(),
            wait: WaitId(1),
            manifest: Digest::of(b""),
            challenge: "c".into(),
            facts: BTreeMap::new(),
            outcomes: vec![outcome; 3],
        };
        let cut = fitting(report, REPORT_BYTES_MAX);
        assert!(serde_json::to_vec(&cut).unwrap().len() <= REPORT_BYTES_MAX);
        assert_eq!(cut.outcomes[0].differences.len(), 62);
        assert_eq!(cut.outcomes[0].differences_total, Some(1_500));
    }
}
