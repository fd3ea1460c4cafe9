//! What an agent says, and what the controller makes of it: readiness is recomputed from the controller's own copy of the
//! manifest, never taken from the report.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    instance::{BootId, GroupName, InstanceId, WaitId},
    manifest::{Manifest, Scope},
    outcome::{Outcome, Problem, Status},
    timestamp::Timestamp,
};

/// Payload type of [`Report`] in its DSSE envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.portcullis.report.v1+json";

/// How many paths of a cause are kept as examples.
pub const EXAMPLES_MAX: usize = 10;

/// An agent's outcomes for one manifest (PROTOCOL.md §3, 3), signed by the instance's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Which controller it is meant for.
    pub audience: String,
    /// The binding that enrolment gave.
    pub binding: String,
    /// Who speaks.
    pub instance: InstanceId,
    /// Which boot.
    pub boot_id: BootId,
    /// As the challenge answer named it.
    pub group: GroupName,
    /// As the challenge answer named it.
    pub wait: WaitId,
    /// Digest of the manifest that was checked.
    pub manifest: Digest,
    /// The challenge it answers, as it came.
    pub challenge: String,
    /// Facts of this instance that templates were rendered with.
    pub facts: BTreeMap<String, String>,
    /// Every tree and check of the manifest exactly once.
    pub outcomes: Vec<Outcome>,
}

/// What the controller keeps of an accepted report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who spoke.
    pub instance: InstanceId,
    /// The group the instance was seen in.
    pub group: GroupName,
    /// Which boot.
    pub boot: BootId,
    /// Which wait the challenge was issued in.
    pub wait: WaitId,
    /// What was checked.
    pub manifest: Digest,
    /// When the challenge was issued: the checking began after this.
    pub challenged_at: Timestamp,
    /// When the report came, by the controller's clock.
    pub received_at: Timestamp,
    /// What the controller made of the outcomes.
    pub readiness: Readiness,
}

/// What the controller makes of the outcomes of one report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Every tree and check of the manifest passed.
    Ready,
    /// At least one did not.
    NotReady {
        /// One for each check and problem; never empty.
        causes: Vec<Cause>,
    },
}

/// Why an instance is not ready: grouped by check and problem, never by free text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The tree or check.
    pub check: String,
    /// Fail or unknown.
    pub status: Status,
    /// What is wrong with paths of a tree; none for other kinds, or when the agent listed no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How many of the listed differences have this problem; 0 where there are none.
    pub count: u64,
    /// The first [`EXAMPLES_MAX`] paths, escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    /// The agent's own words, escaped and cut: for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A report whose outcomes are not those of the manifest it names: refused, nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAReport {
    /// An outcome is missing.
    #[error("no outcome for `{0}`")]
    Missing(String),
    /// An outcome came twice.
    #[error("more than one outcome for `{0}`")]
    Repeated(String),
    /// An outcome for something the manifest does not have.
    #[error("the manifest has no `{0}`")]
    Unasked(String),
    /// A tree reported as a command, or the like.
    #[error("`{0}` is of another kind")]
    Kind(String),
    /// `pass`, and yet differences.
    #[error("`{0}` passed and yet lists differences")]
    Contradiction(String),
}

/// Recomputes readiness: every tree and check of `manifest` by name exactly once, and each that counts before admission
/// passed. Outcomes of scope `serving` must be there, but don't stand in the way of admission.
///
/// # Errors
/// When the outcomes are not exactly those of the manifest, or contradict themselves.
pub fn judge(manifest: &Manifest, outcomes: &[Outcome]) -> Result<Readiness, NotAReport> {
    let wanted = wanted(manifest);
    let mut seen = BTreeMap::new();
    for outcome in outcomes {
        let Some((kind, _)) = wanted.get(outcome.check.as_str()) else {
            return Err(NotAReport::Unasked(outcome.check.clone()));
        };
        if *kind != outcome.kind {
            return Err(NotAReport::Kind(outcome.check.clone()));
        }
        if outcome.status == Status::Pass && (!outcome.differences.is_empty() || outcome.differences_total > Some(0)) {
            return Err(NotAReport::Contradiction(outcome.check.clone()));
        }
        if seen.insert(outcome.check.as_str(), outcome).is_some() {
            return Err(NotAReport::Repeated(outcome.check.clone()));
        }
    }
    let mut causes = Vec::new();
    for (name, (_, scope)) in &wanted {
        let outcome = seen.get(name).ok_or_else(|| NotAReport::Missing((*name).into()))?;
        if outcome.status != Status::Pass && *scope != Scope::Serving {
            causes.extend(causes_of(outcome));
        }
    }
    Ok(if causes.is_empty() { Readiness::Ready } else { Readiness::NotReady { causes } })
}

/// Kind and scope of all that a manifest wants, by name.
fn wanted(manifest: &Manifest) -> BTreeMap<&str, (&'static str, Scope)> {
    let trees = manifest.trees.iter().map(|tree| (tree.name.as_str(), ("tree", Scope::Both)));
    let checks = manifest.checks.iter().map(|check| (check.name.as_str(), (check.kind.name(), check.scope)));
    trees.chain(checks).collect()
}

/// One cause for each problem an outcome lists, or one for the whole when it lists none.
fn causes_of(outcome: &Outcome) -> Vec<Cause> {
    let mut by_problem: BTreeMap<Problem, Cause> = BTreeMap::new();
    for difference in &outcome.differences {
        let cause = by_problem.entry(difference.problem).or_insert_with(|| cause(outcome, Some(difference.problem)));
        cause.count += 1;
        if cause.examples.len() < EXAMPLES_MAX {
            cause.examples.push(crate::text::visible(&difference.path));
        }
    }
    if by_problem.is_empty() {
        return alloc::vec![cause(outcome, None)];
    }
    by_problem.into_values().collect()
}

fn cause(outcome: &Outcome, problem: Option<Problem>) -> Cause {
    let detail = outcome.reason.as_deref().map(|reason| crate::text::visible(cut(reason, DETAIL_BYTES_MAX)));
    Cause { check: outcome.check.clone(), status: outcome.status, problem, count: 0, examples: Vec::new(), detail }
}

/// The longest start of `text` that is no longer than `bytes_max` and ends at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Enough for a person to see what is wrong; a report of 1,000 checks stays a small record.
const DETAIL_BYTES_MAX: usize = 500;
