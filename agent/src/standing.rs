//! How the instance stands: the one value that the rounds write and the probes read. Pure; who asks whom is elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use portcullis::{
    digest::Digest,
    manifest::{Manifest, Scope},
    outcome::{Outcome, Status},
    report::{Cause, Readiness, judge},
    text,
    timestamp::Timestamp,
    verdict::Verdict,
};
use serde::Serialize;

use crate::{manifests::Release, watch::Sight};

/// All that a probe can be told. Replaced whole; a reader holds no lock that a check or a round waits for.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// What makes ready.
    by: By,
    /// Admitted in this boot, and not withdrawn since.
    pub(crate) admitted: bool,
    /// Has passed since the agent was started.
    proven: bool,
    /// The last verification; `None` while no release is known.
    pub(crate) checked: Option<Arc<Checked>>,
    /// The controller's last word, and its reason.
    pub(crate) answer: Option<(Verdict, String)>,
    /// What keeps the agent from going on, for people.
    pub(crate) trouble: Option<String>,
    /// Since when what serves has not been as it should be.
    pub(crate) drift_since: Option<Timestamp>,
    /// How much of the trees is watched between rounds.
    pub(crate) sight: Option<Sight>,
    /// What is wrong with how it was set up.
    pub(crate) warnings: Vec<String>,
}

/// What makes an instance ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The controller's word.
    Admission,
    /// That it has passed once: no controller, and drift is merely told.
    FirstPass,
    /// That it passed last: no controller, and drift makes unready.
    LastPass,
}

/// What is new about a verification of one that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// It is not as it should be, in a way that was not known.
    Drift,
    /// All is as it should be again.
    Mended,
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
    /// What templates were rendered with.
    pub(crate) facts: BTreeMap<String, String>,
    /// What it proves before admission, as the controller will judge it.
    pub(crate) status: Status,
    /// Why it does not pass.
    pub(crate) causes: Vec<Cause>,
    /// What of that is drift while it serves: not what lies outside the instance.
    pub(crate) drift: Vec<Cause>,
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
    pub(crate) fn new(by: By, warnings: Vec<String>) -> Self {
        Self {
            by,
            admitted: false,
            proven: false,
            checked: None,
            answer: None,
            trouble: None,
            drift_since: None,
            sight: None,
            warnings,
        }
    }

    /// What `/readyz` says. With a controller it is latched: drift, a restart of the agent, or a controller that is gone must
    /// not let a load balancer that asks here eject a fleet behind the budget's back. Without one the same holds, but for the
    /// restart: what was proven is remembered by nobody; and but for those who want it otherwise.
    pub(crate) fn why_not_ready(&self) -> Option<Why> {
        let is_ready = match self.by {
            By::Admission => self.admitted,
            By::FirstPass => self.proven,
            By::LastPass => self.checked.as_ref().is_some_and(|checked| checked.status == Status::Pass),
        };
        (!is_ready).then(|| self.why())
    }

    /// Whether it has been let into service, so that what is wrong with it is drift.
    pub(crate) const fn serves(&self) -> bool {
        match self.by {
            By::Admission => self.admitted,
            By::FirstPass | By::LastPass => self.proven,
        }
    }

    /// Whether what was proven stays believed when it is no longer known what is wanted.
    pub(crate) const fn is_latched(&self) -> bool {
        match self.by {
            By::Admission => self.admitted,
            By::FirstPass => self.proven,
            By::LastPass => false,
        }
    }

    /// Takes a verification.
    pub(crate) fn took(&mut self, checked: Checked) -> Option<Noticed> {
        let known = self.checked.take().filter(|known| known.manifest == checked.manifest);
        let noticed = match (self.serves(), checked.drift.is_empty(), self.drift_since) {
            (false, _, _) | (true, true, None) => None,
            (true, true, Some(_)) => Some(Noticed::Mended),
            (true, false, None) => Some(Noticed::Drift),
            (true, false, Some(_)) => {
                (!known.is_some_and(|known| same(&known.outcomes, &checked.outcomes))).then_some(Noticed::Drift)
            }
        };
        self.drift_since = match noticed {
            Some(Noticed::Mended) => None,
            Some(Noticed::Drift) => self.drift_since.or(Some(checked.began_at)),
            None => self.drift_since.filter(|_| self.serves()),
        };
        self.proven |= checked.status == Status::Pass;
        self.checked = Some(Arc::new(checked));
        noticed
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
        let mut lines = self.news();
        if let Some(sight @ Sight::Whole { .. }) = &self.sight {
            lines.push(sight.to_string());
        }
        lines
    }

    /// The same without what is as it should be.
    pub(crate) fn news(&self) -> Vec<String> {
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
        lines.extend(self.drift_since.map(|since| format!("drift since {since}")));
        lines.extend(self.trouble.iter().cloned());
        if let Some(sight @ Sight::None { .. }) = &self.sight {
            lines.push(format!("warning: {sight}; drift is noticed when it is time to check again, and not before"));
        }
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
            facts: &checked.facts,
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
    /// What templates were rendered with, where there are any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    facts: &'a BTreeMap<String, String>,
    outcomes: &'a [Outcome],
}

impl Checked {
    /// Judges outcomes as the controller will. Outcomes that are not those of the manifest prove nothing.
    pub(crate) fn new(release: &Release, outcomes: Vec<Outcome>, began_at: Timestamp, took_ms: u64) -> Self {
        Self::by(release.digest, &release.outline, outcomes, began_at, took_ms)
    }

    fn by(manifest: Digest, outline: &Manifest, outcomes: Vec<Outcome>, began_at: Timestamp, took_ms: u64) -> Self {
        let (status, causes) = match judge(outline, &outcomes) {
            Ok(Readiness::Ready) => (Status::Pass, Vec::new()),
            Ok(Readiness::NotReady { causes }) => {
                let worst = causes.iter().map(|cause| cause.status).max();
                (worst.unwrap_or(Status::Unknown), causes)
            }
            Err(_) => (Status::Unknown, Vec::new()),
        };
        let outside = |cause: &&Cause| {
            let mut checks = outline.checks.iter();
            checks.any(|check| check.name == cause.check && check.scope == Scope::Launch)
        };
        let drift = causes.iter().filter(|cause| !outside(cause)).cloned().collect();
        let (release, facts) = (outline.release.clone(), BTreeMap::new());
        Self { release, manifest, began_at, took_ms, outcomes, facts, status, causes, drift }
    }
}

/// Whether two rounds came to the same: the same checks did not pass, and the same is wrong with the same paths. What exactly
/// is there instead is another matter: a log that nobody ignored is other bytes each time.
pub(crate) fn same(some: &[Outcome], others: &[Outcome]) -> bool {
    let alike = |(one, other): (&Outcome, &Outcome)| {
        let paths = one.differences.iter().map(|difference| (&difference.path, difference.problem));
        (&one.check, one.status, one.differences_total) == (&other.check, other.status, other.differences_total)
            && paths.eq(other.differences.iter().map(|difference| (&difference.path, difference.problem)))
    };
    some.len() == others.len() && some.iter().zip(others).all(alike)
}

impl Why {
    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        self.line().trim_end()
    }

    /// The word, as a line of its own.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::NoManifest => "no_manifest\n",
            Self::ChecksFailing => "checks_failing\n",
            Self::ChecksUnknown => "checks_unknown\n",
            Self::Held => "held\n",
            Self::Rejected => "rejected\n",
            Self::Withdrawn => "withdrawn\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis::{
        manifest::Tree,
        outcome::{Difference, Problem},
    };

    use super::*;

    fn checked(status: Status) -> Checked {
        of(status, &[])
    }

    /// In which something is wrong with these paths.
    fn of(status: Status, paths: &[&str]) -> Checked {
        let differences = paths.iter().map(|path| Difference::new(path, Problem::Content)).collect();
        let outcome = Outcome { differences, ..Outcome::new("app", "tree", status, None) };
        let tree = Tree::new("app", "/srv/app");
        let outline =
            Manifest { product: "p".into(), release: "r".into(), sequence: 1, trees: vec![tree], checks: Vec::new() };
        Checked::by(Digest::of(b""), &outline, vec![outcome], Timestamp(7), 1)
    }

    /// The latch after each answer of a boot, each to a report of that status.
    fn after(answers: &[(Verdict, Status)]) -> Option<&'static str> {
        let mut standing = Standing::new(By::Admission, Vec::new());
        for (verdict, status) in answers {
            standing.took(checked(*status));
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
    fn what_is_latched() {
        use Verdict::{Admitted, Withdrawn};
        let mut standing = Standing::new(By::Admission, Vec::new());
        for (verdict, status, latch, ready) in [
            (Withdrawn, Status::Pass, Latch::Kept, false),
            (Admitted, Status::Fail, Latch::Kept, false),
            (Admitted, Status::Pass, Latch::Set, true),
            (Admitted, Status::Pass, Latch::Kept, true),
            (Withdrawn, Status::Pass, Latch::Dropped, false),
        ] {
            standing.took(checked(status));
            let came = standing.answered(verdict, String::new(), status);
            assert!(came == latch, "{verdict}, {status}");
            assert_eq!((standing.is_latched(), standing.is_ready()), (ready, ready), "{verdict}, {status}");
        }
        for (by, latched) in [(By::FirstPass, true), (By::LastPass, false)] {
            let mut standing = Standing::new(by, Vec::new());
            assert!(!standing.is_latched());
            standing.took(checked(Status::Pass));
            assert_eq!(standing.is_latched(), latched, "{by:?}");
        }
    }

    /// What lies outside the instance counts at launch only: that it fails later is no drift.
    #[test]
    fn what_counts_at_launch_only_is_no_drift() {
        let spec = |scope: &str| {
            let text =
                format!("[[check]]\nname = \"db\"\nscope = \"{scope}\"\ntcp = {{ connect = \"127.0.0.1:80\" }}\n");
            portcullis::spec::Spec::parse(&text).unwrap().checks
        };
        for (scope, drifts) in [("launch", false), ("both", true)] {
            let checks = [spec(scope), spec("launch")].concat().into_iter().zip(["db", "other"]);
            let checks =
                checks.map(|(check, name)| portcullis::manifest::Check { name: name.into(), ..check }).collect();
            let outline = Manifest { product: "p".into(), release: "r".into(), sequence: 1, trees: Vec::new(), checks };
            let outcomes = [("db", Status::Fail), ("other", Status::Pass)];
            let outcomes = outcomes.map(|(name, status)| Outcome::new(name, "tcp", status, Some("why".into())));
            let checked = Checked::by(Digest::of(b""), &outline, outcomes.into(), Timestamp(7), 1);
            assert_eq!((checked.status, checked.drift.is_empty()), (Status::Fail, !drifts), "{scope}");
        }
    }

    #[test]
    fn what_there_is_to_say() {
        let mut standing = Standing::new(By::Admission, vec!["w".into()]);
        assert!(standing.report().is_none());
        standing.took(of(Status::Fail, &["a"]));
        standing.answered(Verdict::Held, "because".into(), Status::Fail);
        let news = standing.news();
        assert_eq!((news[0].as_str(), news.last().map(String::as_str)), ("held: because", Some("warning: w")));
        assert!(news[1].starts_with("release r (") && news[1].ends_with("): fail"), "{news:?}");
        assert_eq!(standing.reasons(), news);
        assert!(!standing.report().unwrap().ready);
        standing.took(checked(Status::Pass));
        assert!(standing.report().unwrap().ready);
    }

    #[test]
    fn without_a_controller_the_first_pass_decides_or_the_last() {
        use Status::{Fail, Pass, Unknown};
        for (rounds, observed, last) in [
            (&[][..], Some("no_manifest"), Some("no_manifest")),
            (&[Fail], Some("checks_failing"), Some("checks_failing")),
            (&[Fail, Pass], None, None),
            (&[Pass, Fail], None, Some("checks_failing")),
            (&[Pass, Unknown], None, Some("checks_unknown")),
            (&[Pass, Fail, Pass], None, None),
        ] {
            for (by, why) in [(By::FirstPass, observed), (By::LastPass, last)] {
                let mut standing = Standing::new(by, Vec::new());
                for status in rounds {
                    standing.took(checked(*status));
                }
                assert_eq!(standing.why_not_ready().map(Why::as_str), why, "{by:?}: {rounds:?}");
            }
        }
    }

    #[test]
    fn drift_is_noticed_once_and_so_is_its_end() {
        use Status::{Fail, Pass};
        let mut standing = Standing::new(By::FirstPass, Vec::new());
        let noticed = [
            (of(Fail, &["a"]), None),
            (of(Pass, &[]), None),
            (of(Pass, &[]), None),
            (of(Fail, &["a"]), Some(Noticed::Drift)),
            (of(Fail, &["a"]), None),
            (of(Fail, &["a", "b"]), Some(Noticed::Drift)),
            (of(Fail, &["b"]), Some(Noticed::Drift)),
            (of(Pass, &[]), Some(Noticed::Mended)),
            (of(Pass, &[]), None),
        ];
        for (index, (checked, expected)) in noticed.into_iter().enumerate() {
            let drifts = checked.status == Fail && index > 0;
            assert_eq!(standing.took(checked), expected, "{index}");
            assert_eq!(standing.drift_since, drifts.then_some(Timestamp(7)), "{index}");
        }
    }
}
