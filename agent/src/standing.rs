//! How the instance stands: the one value that the rounds write and the probes read. Pure; who asks whom is elsewhere.

use std::sync::Arc;

use portcullis::{
    digest::Digest,
    outcome::{Outcome, Status},
    report::{Cause, Readiness, judge},
    text,
    timestamp::Timestamp,
    verdict::Verdict,
};
use serde::Serialize;

use crate::manifests::Release;

/// All that a probe can be told. Replaced whole; a reader holds no lock that a check or a round waits for.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Whether a controller admits, or the last verification alone makes ready.
    pub(crate) gated: bool,
    /// Admitted in this boot, and not withdrawn since.
    pub(crate) admitted: bool,
    /// The last verification; `None` while no release is known.
    pub(crate) checked: Option<Arc<Checked>>,
    /// The controller's last word, and its reason.
    pub(crate) answer: Option<(Verdict, String)>,
    /// What keeps the agent from going on, for people.
    pub(crate) trouble: Option<String>,
    /// What is wrong with how it was set up.
    pub(crate) warnings: Vec<String>,
}

/// One verification.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) release: String,
    pub(crate) manifest: Digest,
    /// When it began, by this machine's clock.
    pub(crate) began_at: Timestamp,
    pub(crate) took_ms: u64,
    pub(crate) outcomes: Vec<Outcome>,
    /// What it proves before admission, as the controller will judge it.
    pub(crate) status: Status,
    /// Why it does not pass.
    pub(crate) causes: Vec<Cause>,
}

/// Why an instance is not ready, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// No release to check by is known.
    NoManifest,
    /// At least one check failed.
    ChecksFailing,
    /// No check failed, but not all could be told.
    ChecksUnknown,
    /// It passed, and waits for the controller's word.
    Held,
    /// The controller has given it up.
    Rejected,
    /// The controller has taken it out of traffic.
    Withdrawn,
}

/// What an answer did to the admission of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Latch {
    Kept,
    Set,
    Dropped,
}

impl Standing {
    pub(crate) fn new(gated: bool, warnings: Vec<String>) -> Self {
        Self { gated, admitted: false, checked: None, answer: None, trouble: None, warnings }
    }

    /// What `/readyz` says. With a controller it is latched: drift, a restart of the agent, or a controller that is gone must
    /// not let a load balancer that asks here eject a fleet behind the budget's back.
    pub(crate) fn why_not_ready(&self) -> Option<Why> {
        let passed = self.checked.as_ref().is_some_and(|checked| checked.status == Status::Pass);
        let is_ready = if self.gated { self.admitted } else { passed };
        (!is_ready).then(|| self.why())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.why_not_ready().is_none()
    }

    fn why(&self) -> Why {
        match (&self.answer, &self.checked) {
            (Some((Verdict::Withdrawn, _)), _) => Why::Withdrawn,
            (Some((Verdict::Rejected, _)), _) => Why::Rejected,
            (_, None) => Why::NoManifest,
            (_, Some(checked)) => match checked.status {
                Status::Fail => Why::ChecksFailing,
                Status::Unknown => Why::ChecksUnknown,
                Status::Pass => Why::Held,
            },
        }
    }

    /// Takes the answer to a report that said `status`. Only an admission of what passed sets the latch (a group that merely
    /// observes admits everything); only a withdrawal drops it.
    pub(crate) fn answered(&mut self, verdict: Verdict, reason: String, status: Status) -> Latch {
        self.answer = Some((verdict, reason));
        self.trouble = None;
        match verdict {
            Verdict::Admitted if status == Status::Pass && !self.admitted => {
                self.admitted = true;
                Latch::Set
            }
            Verdict::Withdrawn if self.admitted => {
                self.admitted = false;
                Latch::Dropped
            }
            Verdict::Admitted | Verdict::Held | Verdict::Rejected | Verdict::Withdrawn => Latch::Kept,
        }
    }

    /// All there is to say about it, a line each, safe to show.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((verdict, reason)) = &self.answer {
            lines.push(format!("{verdict}: {reason}"));
        }
        if let Some(checked) = &self.checked {
            lines.push(format!(
                "release {} ({}): {}",
                text::visible(&checked.release),
                checked.manifest,
                checked.status
            ));
            lines.extend(checked.causes.iter().map(ToString::to_string));
        }
        lines.extend(self.trouble.iter().cloned());
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }

    /// `GET /v1/report`: what `check --json` prints, when it was, and what the controller made of it.
    pub(crate) fn report(&self) -> Option<Report<'_>> {
        let checked = self.checked.as_deref()?;
        Some(Report {
            ready: checked.status == Status::Pass,
            release: &checked.release,
            manifest: checked.manifest,
            took_ms: checked.took_ms,
            checked_at: checked.began_at.to_string(),
            admitted: self.admitted,
            verdict: self.answer.as_ref().map(|(verdict, _)| *verdict),
            reason: self.answer.as_ref().map(|(_, reason)| reason.as_str()),
            outcomes: &checked.outcomes,
        })
    }
}

/// `GET /v1/report`.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    ready: bool,
    release: &'a str,
    manifest: Digest,
    took_ms: u64,
    checked_at: String,
    admitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    outcomes: &'a [Outcome],
}

impl Checked {
    /// Judges outcomes as the controller will. Outcomes that are not those of the manifest prove nothing.
    pub(crate) fn new(release: &Release, outcomes: Vec<Outcome>, began_at: Timestamp, took_ms: u64) -> Self {
        let (status, causes) = match judge(&release.manifest, &outcomes) {
            Ok(Readiness::Ready) => (Status::Pass, Vec::new()),
            Ok(Readiness::NotReady { causes }) => {
                let worst = causes.iter().map(|cause| cause.status).max();
                (worst.unwrap_or(Status::Unknown), causes)
            }
            Err(_) => (Status::Unknown, Vec::new()),
        };
        let (name, manifest) = (release.manifest.release.clone(), release.digest);
        Self { release: name, manifest, began_at, took_ms, outcomes, status, causes }
    }
}

impl Why {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoManifest => "no_manifest",
            Self::ChecksFailing => "checks_failing",
            Self::ChecksUnknown => "checks_unknown",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: Status) -> Option<Arc<Checked>> {
        Some(Arc::new(Checked {
            release: "r".into(),
            manifest: Digest::of(b""),
            began_at: Timestamp(0),
            took_ms: 1,
            outcomes: Vec::new(),
            status,
            causes: Vec::new(),
        }))
    }

    /// The latch after each answer of a boot, each to a report of that status.
    fn after(answers: &[(Verdict, Status)]) -> Option<&'static str> {
        let mut standing = Standing::new(true, Vec::new());
        for (verdict, status) in answers {
            standing.checked = checked(*status);
            standing.answered(*verdict, String::new(), *status);
        }
        standing.why_not_ready().map(Why::as_str)
    }

    #[test]
    fn admission_is_latched_until_it_is_withdrawn() {
        use Status::{Fail, Pass, Unknown};
        use Verdict::{Admitted, Held, Rejected, Withdrawn};
        for (answers, why) in [
            (&[][..], Some("no_manifest")),
            (&[(Held, Pass)], Some("held")),
            (&[(Held, Fail)], Some("checks_failing")),
            (&[(Held, Unknown)], Some("checks_unknown")),
            (&[(Admitted, Fail)], Some("checks_failing")),
            (&[(Admitted, Unknown)], Some("checks_unknown")),
            (&[(Rejected, Fail)], Some("rejected")),
            (&[(Admitted, Pass)], None),
            (&[(Admitted, Pass), (Held, Fail)], None),
            (&[(Admitted, Pass), (Admitted, Fail)], None),
            (&[(Admitted, Pass), (Rejected, Fail)], None),
            (&[(Admitted, Pass), (Withdrawn, Fail)], Some("withdrawn")),
            (&[(Admitted, Pass), (Withdrawn, Pass), (Held, Pass)], Some("held")),
            (&[(Admitted, Pass), (Withdrawn, Fail), (Admitted, Pass)], None),
        ] {
            assert_eq!(after(answers), why, "{answers:?}");
        }
    }

    #[test]
    fn without_a_controller_the_last_verification_decides() {
        let mut standing = Standing::new(false, Vec::new());
        assert_eq!(standing.why_not_ready(), Some(Why::NoManifest));
        standing.checked = checked(Status::Pass);
        assert!(standing.is_ready());
        standing.checked = checked(Status::Unknown);
        assert_eq!(standing.why_not_ready(), Some(Why::ChecksUnknown));
    }
}
