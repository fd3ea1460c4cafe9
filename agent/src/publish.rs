//! Asking for a challenge, and answering it with a report.

use std::{sync::Arc, time::Duration};

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
        facts: checked.facts.clone(),
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
    let is_too_large = |report: &Report| serde_json::to_vec(report).is_ok_and(|payload| payload.len() > bytes_max);
    if is_too_large(&report) {
        without_diffs(&mut report.outcomes);
    }
    let mut listed = DIFFERENCES_MAX;
    while listed > 0 && is_too_large(&report) {
        listed /= 4;
        cut_all(&mut report.outcomes, listed);
    }
    report
}

/// The same for outcomes alone.
pub(crate) fn fitting_outcomes(mut outcomes: Vec<Outcome>, bytes_max: usize) -> Vec<Outcome> {
    let is_too_large =
        |outcomes: &[Outcome]| serde_json::to_vec(outcomes).is_ok_and(|payload| payload.len() > bytes_max);
    if is_too_large(&outcomes) {
        without_diffs(&mut outcomes);
    }
    let mut listed = DIFFERENCES_MAX;
    while listed > 0 && is_too_large(&outcomes) {
        listed /= 4;
        cut_all(&mut outcomes, listed);
    }
    outcomes
}

/// What differs is worth more than how.
fn without_diffs(outcomes: &mut [Outcome]) {
    let differences = outcomes.iter_mut().flat_map(|outcome| &mut outcome.differences);
    differences.for_each(|difference| difference.diff = None);
}

fn cut_all(outcomes: &mut [Outcome], listed: usize) {
    for outcome in outcomes {
        outcome.differences.truncate(listed);
        cut(outcome);
    }
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
    use std::collections::BTreeMap;

    use portcullis::{
        digest::Digest,
        instance::WaitId,
        outcome::{Difference, Problem, Status},
    };

    use super::*;

    #[test]
    fn a_report_is_cut_until_it_fits() {
        let outcome = Outcome {
            differences: vec![Difference::new(&"p".repeat(4_000), Problem::Missing); DIFFERENCES_MAX],
            differences_total: Some(1_500),
            ..Outcome::new("app", "tree", Status::Fail, Some("1000 of 2000 entries differ".into()))
        };
        let cut = fitting(report(vec![outcome; 3]), REPORT_BYTES_MAX);
        assert!(serde_json::to_vec(&cut).unwrap().len() <= REPORT_BYTES_MAX);
        assert_eq!(cut.outcomes[0].differences.len(), 62);
        assert_eq!(cut.outcomes[0].differences_total, Some(1_500));
    }

    fn report(outcomes: Vec<Outcome>) -> Report {
        Report {
            audience: "a".into(),
            binding: "b".into(),
            instance: "i".into(),
            boot_id: "b".into(),
            group: "g".into(),
            wait: WaitId(1),
            manifest: Digest::of(b""),
            challenge: "c".into(),
            facts: BTreeMap::new(),
            outcomes,
        }
    }

    #[test]
    fn diffs_go_first() {
        let difference = Difference { diff: Some("d".repeat(4_000)), ..Difference::new("a", Problem::Content) };
        let app = Outcome {
            differences: vec![difference; 3],
            differences_total: Some(3),
            ..Outcome::new("app", "tree", Status::Fail, None)
        };
        let left = |bytes_max| {
            let cut = fitting(report(vec![app.clone()]), bytes_max).outcomes.remove(0).differences;
            (cut.len(), cut.iter().filter(|difference| difference.diff.is_some()).count())
        };
        assert_eq!((left(20_000), left(10_000)), ((3, 3), (3, 0)));
    }
}
