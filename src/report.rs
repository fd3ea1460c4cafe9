//! What an agent says, and what the controller makes of it: readiness is recomputed from the controller's own copy of the
//! manifest, never taken from the report.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    facts::{Facts, INSTANCE},
    instance::{BootId, GroupName, InstanceId, WaitId},
    manifest::{Manifest, Scope},
    outcome::{Difference, Outcome, Problem, Status},
    secrets, text,
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
    /// What did not pass of all that counts while the instance serves: see [`drift`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Cause>,
    /// How some of the texts differ, for people: see [`diffs`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diffs: Vec<TextDiff>,
}

impl Evidence {
    /// Whether something failed that counts while the instance serves.
    pub fn is_drifted(&self) -> bool {
        self.drift.iter().any(|cause| cause.status == Status::Fail)
    }

    /// Whether all passed that counts, at launch or while the instance serves.
    pub fn is_well(&self) -> bool {
        self.readiness == Readiness::Ready && self.drift.is_empty()
    }
}

/// How a text differs from what the manifest has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDiff {
    /// The tree.
    pub tree: String,
    /// The path, escaped.
    pub path: String,
    /// The diff, each line of it escaped; cut.
    pub diff: String,
}

/// The diffs that are kept of a report: the first [`DIFFS_MAX`], each cut at [`DIFF_KEPT_BYTES_MAX`], and none that looks like a
/// secret, whatever the agent thought of it.
pub fn diffs(outcomes: &[Outcome]) -> Vec<TextDiff> {
    let all =
        outcomes.iter().flat_map(|outcome| outcome.differences.iter().map(move |difference| (outcome, difference)));
    all.filter_map(|(outcome, difference)| kept(outcome, difference)).take(DIFFS_MAX).collect()
}

fn kept(outcome: &Outcome, difference: &Difference) -> Option<TextDiff> {
    let diff = difference.diff.as_deref().filter(|diff| secrets::by_content(diff).is_none())?;
    let lines = cut(diff, DIFF_KEPT_BYTES_MAX).split_terminator('\n').map(text::visible_line);
    Some(TextDiff {
        tree: text::visible(&outcome.check),
        path: text::visible(&difference.path),
        diff: lines.collect::<Vec<_>>().join("\n"),
    })
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
    /// How many differences have this problem, listed or not; 0 where there are none.
    pub count: u64,
    /// The first [`EXAMPLES_MAX`] paths, escaped; `.` is the root itself.
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
    /// Templates were rendered with another instance's id.
    #[error("the fact `instance` is not the instance that reports")]
    OtherInstance,
    /// A fact that no template needs, or that is none.
    #[error("no template needs such a fact as `{}`", crate::text::visible(.0))]
    UnaskedFact(String),
    /// A tree passed whose template cannot have been rendered.
    #[error("`{tree}` passed without the fact `{fact}`, which its templates need")]
    MissingFact {
        /// The tree.
        tree: String,
        /// What it needs.
        fact: String,
    },
}

/// Whether the facts that templates were rendered with are those of the instance that reports, as far as that is known here:
/// its id is. What passed must have had all its facts, and nothing else travels.
///
/// # Errors
/// When the facts contradict the instance, the manifest or the outcomes.
pub fn judge_facts(manifest: &Manifest, report: &Report) -> Result<(), NotAReport> {
    let needed = manifest.facts();
    let unasked = |(name, value): &(&String, &String)| {
        !needed.contains(name.as_str()) || Facts::default().insert(name, value).is_err()
    };
    if let Some((name, _)) = report.facts.iter().find(unasked) {
        return Err(NotAReport::UnaskedFact(name.clone()));
    }
    if report.facts.get(INSTANCE).is_some_and(|instance| instance != report.instance.as_str()) {
        return Err(NotAReport::OtherInstance);
    }
    let passed =
        |name: &str| report.outcomes.iter().any(|outcome| outcome.check == name && outcome.status == Status::Pass);
    for tree in manifest.trees.iter().filter(|tree| passed(&tree.name)) {
        if let Some(fact) = tree.facts().into_iter().find(|fact| !report.facts.contains_key(*fact)) {
            return Err(NotAReport::MissingFact { tree: tree.name.clone(), fact: fact.into() });
        }
    }
    Ok(())
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
        if outcome.status == Status::Pass && has_differences(outcome) {
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

/// What did not pass of all that counts while an instance serves: not what lies outside of it (scope `launch`), for no instance is
/// better off for being withdrawn when a database is down.
pub fn drift(manifest: &Manifest, outcomes: &[Outcome]) -> Vec<Cause> {
    let wanted = wanted(manifest);
    let counts = |outcome: &&Outcome| {
        let scope = wanted.get(outcome.check.as_str()).map(|(_, scope)| *scope);
        outcome.status != Status::Pass && scope.is_some_and(|scope| scope != Scope::Launch)
    };
    outcomes.iter().filter(counts).flat_map(causes_of).collect()
}

fn has_differences(outcome: &Outcome) -> bool {
    !outcome.differences.is_empty()
        || outcome.differences_total > Some(0)
        || outcome.differences_by_problem.values().any(|&count| count > 0)
}

/// Kind and scope of all that a manifest wants, by name.
fn wanted(manifest: &Manifest) -> BTreeMap<&str, (&'static str, Scope)> {
    let trees = manifest.trees.iter().map(|tree| (tree.name.as_str(), ("tree", Scope::Both)));
    let checks = manifest.checks.iter().map(|check| (check.name.as_str(), (check.kind.name(), check.scope)));
    trees.chain(checks).collect()
}

/// One cause for each problem of an outcome, or one for the whole when there is none. Lists are cut: what is not listed counts too.
fn causes_of(outcome: &Outcome) -> Vec<Cause> {
    let mut by_problem: BTreeMap<Problem, Cause> = BTreeMap::new();
    for difference in &outcome.differences {
        let cause = by_problem.entry(difference.problem).or_insert_with(|| cause(outcome, Some(difference.problem)));
        cause.count += 1;
        if cause.examples.len() < EXAMPLES_MAX {
            let path = if difference.path.is_empty() { "." } else { &difference.path };
            cause.examples.push(text::visible(path));
        }
    }
    for (&problem, &count) in outcome.differences_by_problem.iter().filter(|(_, count)| **count > 0) {
        let cause = by_problem.entry(problem).or_insert_with(|| cause(outcome, Some(problem)));
        cause.count = cause.count.max(count);
    }
    if by_problem.is_empty() {
        return alloc::vec![cause(outcome, None)];
    }
    by_problem.into_values().collect()
}

fn cause(outcome: &Outcome, problem: Option<Problem>) -> Cause {
    let detail = outcome.reason.as_deref().map(|reason| text::visible(cut(reason, DETAIL_BYTES_MAX)));
    Cause { check: outcome.check.clone(), status: outcome.status, problem, count: 0, examples: Vec::new(), detail }
}

/// The longest start of `text` that is no longer than `bytes_max` and ends at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Of one report: who wants to see more looks at the instance.
pub const DIFFS_MAX: usize = 3;
/// Of one diff.
pub const DIFF_KEPT_BYTES_MAX: usize = 2 << 10;

/// Enough for a person to see what is wrong; a report of 1,000 checks stays a small record.
const DETAIL_BYTES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::manifest::{Check, Tree};

    /// One tree (`app`), one command that counts at launch (`db`), and one that counts while serving (`load`).
    fn manifest() -> Manifest {
        let check = |name: &str, scope| Check { scope, ..Check::command(name, ["true"]) };
        Manifest {
            product: "shop".into(),
            release: "1".into(),
            sequence: 1,
            trees: vec![Tree::new("app", "/srv")],
            checks: vec![check("db", Scope::Launch), check("load", Scope::Serving)],
        }
    }

    fn outcome(check: &str, kind: &str, status: Status) -> Outcome {
        Outcome::new(check, kind, status, None)
    }

    fn three(app: Status, db: Status, load: Status) -> Vec<Outcome> {
        vec![outcome("load", "command", load), outcome("app", "tree", app), outcome("db", "command", db)]
    }

    fn differing(problems: &[(&str, Problem)]) -> Outcome {
        let difference = |(path, problem): &(&str, Problem)| Difference::new(path, *problem);
        Outcome { differences: problems.iter().map(difference).collect(), ..outcome("app", "tree", Status::Fail) }
    }

    #[test]
    fn only_what_passed_is_ready() {
        use Status::{Fail, Pass, Unknown};
        for (app, db, load, to_blame) in [
            (Pass, Pass, Pass, vec![]),
            (Pass, Pass, Fail, vec![]), // of scope `serving`
            (Pass, Pass, Unknown, vec![]),
            (Fail, Pass, Pass, vec![("app", Fail)]),
            (Unknown, Pass, Pass, vec![("app", Unknown)]),
            (Pass, Unknown, Fail, vec![("db", Unknown)]),
            (Fail, Unknown, Pass, vec![("app", Fail), ("db", Unknown)]),
        ] {
            let causes = match judge(&manifest(), &three(app, db, load)) {
                Ok(Readiness::Ready) => vec![],
                Ok(Readiness::NotReady { causes }) => causes,
                Err(error) => panic!("{error}"),
            };
            let causes: Vec<_> = causes.iter().map(|cause| (cause.check.as_str(), cause.status)).collect();
            assert_eq!(causes, to_blame);
        }
    }

    #[test]
    fn what_lies_outside_is_no_drift() {
        use Status::{Fail, Pass, Unknown};
        for (app, db, load, drift) in [
            (Pass, Pass, Pass, vec![]),
            (Pass, Fail, Pass, vec![]), // of scope `launch`
            (Pass, Pass, Fail, vec![("load", Fail)]),
            (Unknown, Fail, Fail, vec![("load", Fail), ("app", Unknown)]),
        ] {
            let causes = super::drift(&manifest(), &three(app, db, load));
            let causes: Vec<_> = causes.iter().map(|cause| (cause.check.as_str(), cause.status)).collect();
            assert_eq!(causes, drift);
        }
        assert_eq!(drift(&manifest(), &[outcome("other", "tree", Fail)]), []);
    }

    #[test]
    fn outcomes_are_exactly_those_of_the_manifest() {
        let all = || three(Status::Pass, Status::Pass, Status::Pass);
        let with = |outcome| [all(), vec![outcome]].concat();
        let instead = |outcome: Outcome| {
            let others = all().into_iter().filter(|known| known.check != outcome.check);
            others.chain([outcome.clone()]).collect::<Vec<_>>()
        };
        let passing = || outcome("app", "tree", Status::Pass);
        let differing = Outcome { status: Status::Pass, ..differing(&[("a", Problem::Extra)]) };
        for (outcomes, error) in [
            (vec![], NotAReport::Missing("app".into())),
            (all()[..2].to_vec(), NotAReport::Missing("db".into())),
            (all()[1..].to_vec(), NotAReport::Missing("load".into())),
            (with(passing()), NotAReport::Repeated("app".into())),
            (with(outcome("other", "tree", Status::Pass)), NotAReport::Unasked("other".into())),
            (instead(outcome("app", "command", Status::Pass)), NotAReport::Kind("app".into())),
            (instead(differing), NotAReport::Contradiction("app".into())),
            (instead(Outcome { differences_total: Some(1), ..passing() }), NotAReport::Contradiction("app".into())),
        ] {
            assert_eq!(judge(&manifest(), &outcomes), Err(error));
        }
        let by_problem = [(Problem::Extra, 1)].into();
        let counted = instead(Outcome { differences_by_problem: by_problem, ..passing() });
        assert_eq!(judge(&manifest(), &counted), Err(NotAReport::Contradiction("app".into())));
        let none_differs = instead(Outcome { differences_total: Some(0), ..passing() });
        assert_eq!(judge(&manifest(), &none_differs), Ok(Readiness::Ready));
    }

    #[test]
    fn facts_are_those_of_the_instance_and_of_the_manifest() {
        let mut manifest = manifest();
        let template = crate::facts::Template::parse("{{ instance }} {{ zone }}").unwrap();
        let kind = crate::manifest::EntryKind::Template { template };
        manifest.trees[0].entries.push(crate::manifest::Entry { path: b"a".to_vec(), kind, mode: None, owner: None });
        let missing = |fact: &str| Err(NotAReport::MissingFact { tree: "app".into(), fact: fact.into() });
        let unasked = |fact: &str| Err(NotAReport::UnaskedFact(fact.into()));
        let (pass, unknown) = (Status::Pass, Status::Unknown);
        for (app, facts, judged) in [
            (pass, &[("instance", "i-1"), ("zone", "b")][..], Ok(())),
            (pass, &[("instance", "i-2"), ("zone", "b")], Err(NotAReport::OtherInstance)),
            (unknown, &[("instance", "i-2")], Err(NotAReport::OtherInstance)),
            (pass, &[("instance", "i-1")], missing("zone")),
            (pass, &[], missing("instance")),
            (unknown, &[("instance", "i-1")], Ok(())),
            (unknown, &[], Ok(())),
            (pass, &[("instance", "i-1"), ("zone", "b"), ("rack", "7")], unasked("rack")),
            (pass, &[("instance", "i-1"), ("zone", "b\nc")], unasked("zone")),
        ] {
            let report = Report {
                audience: "a".into(),
                binding: "b".into(),
                instance: "i-1".into(),
                boot_id: "b".into(),
                group: "g".into(),
                wait: WaitId(1),
                manifest: Digest::of(b""),
                challenge: "c".into(),
                facts: facts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
                outcomes: three(app, pass, pass),
            };
            assert_eq!(judge_facts(&manifest, &report), judged, "{facts:?}");
        }
    }

    #[test]
    fn a_few_diffs_are_kept_short_and_safe() {
        let with =
            |path: &str, diff: &str| Difference { diff: Some(diff.into()), ..Difference::new(path, Problem::Content) };
        let long = "+x\n".repeat(2_000);
        let app = Outcome {
            differences: vec![
                Difference::new("none", Problem::Missing),
                with("key", "-a\n+-----BEGIN PRIVATE KEY-----\n"),
                with("a\u{1b}", "-a\n+\tb\u{1b}[2J\n"),
                with("b", &long),
                with("c", "+c\n"),
                with("d", "+d\n"),
            ],
            ..outcome("app", "tree", Status::Fail)
        };
        let kept = diffs(&[outcome("db", "command", Status::Pass), app]);
        let told: Vec<_> = kept.iter().map(|kept| (&*kept.tree, &*kept.path, kept.diff.len())).collect();
        assert_eq!(told, [("app", "a\\u{1b}", 15), ("app", "b", 2_048), ("app", "c", 2)]);
        assert_eq!(kept[0].diff, "-a\n+\tb\\u{1b}[2J");
    }

    /// An agent lists a thousand, and fewer still when a report would be too large.
    #[test]
    fn what_is_not_listed_counts_too() {
        let by_problem = [(Problem::Missing, 40), (Problem::Extra, 1_090), (Problem::Mode, 0)];
        let listed = differing(&[("a", Problem::Missing), ("b", Problem::Missing)]);
        let app = Outcome { differences_by_problem: by_problem.into(), ..listed };
        let told = causes_of(&app).iter().map(alloc::string::ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told, ["app: missing: a, b and 38 more", "app: extra: 1090, none of them listed"]);
        let older = Outcome { differences_by_problem: BTreeMap::new(), ..app };
        assert_eq!(
            alloc::format!("{}", causes_of(&older)[0]),
            "app: missing: a, b",
            "an agent that does not count them"
        );
    }

    #[test]
    fn the_root_has_a_name_too() {
        let causes = causes_of(&differing(&[("", Problem::Missing), ("a", Problem::Missing)]));
        assert_eq!(alloc::format!("{}", causes[0]), "app: missing: ., a");
    }

    #[test]
    fn causes_are_grouped_by_problem_and_bounded() {
        let many: Vec<_> = core::iter::repeat_n(("b", Problem::Missing), EXAMPLES_MAX + 2).collect();
        let app = differing(&[&[("a", Problem::Content)][..], &many].concat());
        let words = "x".repeat(DETAIL_BYTES_MAX - 1) + "éé";
        let app = Outcome { reason: Some(words), ..app };
        let outcomes = [three(Status::Pass, Status::Pass, Status::Pass)[..1].to_vec(), vec![app]].concat();
        let outcomes = [outcomes, vec![outcome("db", "command", Status::Pass)]].concat();
        let Ok(Readiness::NotReady { causes }) = judge(&manifest(), &outcomes) else { panic!("not ready") };
        let told: Vec<_> = causes.iter().map(|cause| (cause.problem, cause.count, cause.examples.len())).collect();
        let (missing, content) = (Some(Problem::Missing), Some(Problem::Content));
        assert_eq!(told, [(missing, EXAMPLES_MAX as u64 + 2, EXAMPLES_MAX), (content, 1, 1)]);
        assert_eq!(causes[0].detail.as_ref().map(String::len), Some(DETAIL_BYTES_MAX - 1));
    }
}
