//! What an operator should know of a set-up before the night in which it matters: whether the gate is there at all, whether the
//! controller may act, and what would empty the fleet behind its back. `portcullis doctor` shows it.
//!
//! A check looks at [`Facts`], which the controller gathers, and says what it found and how to mend it. What could not be asked
//! is a finding too: no check is well for want of an answer. To add a check is to add a file and a line in its list.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{
    check::certificate::margin::Validity,
    instance::GroupName,
    policy::{GroupPolicy, Policy},
    text,
    timestamp::Timestamp,
};

mod certificate;
mod clock;
mod hook;
mod maintenance;
mod permission;
mod probe;
mod scaling;
mod suspended;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Whether the cloud has the group.
    Group,
    /// Our launch hook, and others'.
    Hook,
    /// Whether the cloud terminates before it launches.
    Maintenance,
    /// Scaling that stands still while a hook waits.
    Scaling,
    /// Suspended processes.
    Suspended,
    /// Health checks that would eject the fleet.
    Probe,
    /// What the controller may do.
    Permission,
    /// The controller's clock.
    Clock,
    /// The controller's own certificates.
    Certificate,
}

impl Topic {
    /// The stable word for people and machines.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Hook => "hook",
            Self::Maintenance => "maintenance",
            Self::Scaling => "scaling",
            Self::Suspended => "suspended",
            Self::Probe => "probe",
            Self::Permission => "permission",
            Self::Clock => "clock",
            Self::Certificate => "certificate",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it should be.
    Well,
    /// Nothing is wrong, and somebody should know.
    Note,
    /// It could not be told.
    Unclear,
    /// Something is to be mended.
    Mend,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which group; none for the controller itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// What was looked at.
    pub topic: Topic,
    /// How it is.
    pub state: State,
    /// What is the matter, for people; empty where all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// All that the checks look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// When they were gathered, by the controller's clock.
    pub at: Timestamp,
    /// What the cloud says; none where the provider has none to ask.
    pub cloud: Option<Cloud>,
    /// The certificates of the controller's listeners, or why one could not be read.
    pub certificates: BTreeMap<String, Result<Validity, String>>,
}

/// What the cloud says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cloud {
    /// How far the controller's clock is ahead of the cloud's; none when the cloud did not tell the time.
    pub ahead_ms: Option<i64>,
    /// The gated groups.
    pub groups: BTreeMap<GroupName, Group>,
}

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The call, as a permission is named: `autoscaling:DescribePolicies`.
    pub call: String,
    /// Whether the controller may not make it; else the answer did not come.
    pub denied: bool,
    /// The other side's words.
    pub because: String,
}

/// One group, question by question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its settings; none when there is no such group.
    pub settings: Result<Option<Settings>, Trouble>,
    /// Its hooks, of both kinds.
    pub hooks: Result<Vec<Hook>, Trouble>,
    /// Its simple scaling policies, by name.
    pub simple_scaling: Result<Vec<String>, Trouble>,
    /// The health checks of its target groups.
    pub probes: Result<Vec<Probe>, Trouble>,
    /// What came of calls that would change something, about an instance that there is not.
    pub rehearsed: Vec<Result<(), Trouble>>,
}

/// The settings of a group, as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Of its instance maintenance policy.
    pub healthy_percent_min: Option<u32>,
    /// Suspended processes, by AWS's names.
    pub suspended: Vec<String>,
    /// Whether the balancer's health checks make the group replace an instance.
    pub replaces_by_target_health: bool,
}

/// A lifecycle hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// Whether it holds launches; else it holds terminations.
    pub launching: bool,
    /// Without a heartbeat for this long, the default result is applied.
    pub heartbeat_timeout_s: u64,
    /// After this long it is applied whatever the heartbeats.
    pub global_timeout_s: u64,
    /// Whether the default result is ABANDON.
    pub abandons_by_default: bool,
}

/// The health check of a target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The target group's name.
    pub target_group: String,
    /// A port, or `traffic-port`.
    pub port: String,
    /// The path, where it is one of HTTP.
    pub path: Option<String>,
}

/// Looks at everything: at least one finding for each topic of each gated group, and of the controller itself.
pub fn examine(facts: &Facts, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, policy) in &policy.groups {
        let group = facts.cloud.as_ref().and_then(|cloud| cloud.groups.get(name));
        if let Some(group) = group {
            findings.extend(of_group(&Scope { name, facts: group, policy }));
        }
    }
    for (topic, look) in OF_THE_CONTROLLER {
        findings.extend(told(None, topic, look(facts)));
    }
    findings
}

/// What it all comes to: the worst, where a note is as good as well.
pub fn overall(findings: &[Finding]) -> State {
    let states = findings.iter().map(|finding| finding.state).filter(|state| *state != State::Note);
    states.max().unwrap_or(State::Well)
}

/// One group, and what it should be like.
struct Scope<'a> {
    name: &'a GroupName,
    facts: &'a Group,
    policy: &'a GroupPolicy,
}

/// A finding without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Symptom {
    state: State,
    what: String,
    mend: Option<String>,
}

/// Nothing at all is well.
type Looked<'a> = Result<Vec<Symptom>, &'a Trouble>;

type OfAGroup = for<'a> fn(&Scope<'a>) -> Looked<'a>;

const OF_A_GROUP: [(Topic, OfAGroup); 6] = [
    (Topic::Hook, hook::look),
    (Topic::Maintenance, maintenance::look),
    (Topic::Scaling, scaling::look),
    (Topic::Suspended, suspended::look),
    (Topic::Probe, probe::look),
    (Topic::Permission, permission::look),
];

type OfTheController = fn(&Facts) -> Vec<Symptom>;

const OF_THE_CONTROLLER: [(Topic, OfTheController); 3] = [
    (Topic::Permission, permission::of_instances),
    (Topic::Clock, clock::look),
    (Topic::Certificate, certificate::look),
];

fn of_group(scope: &Scope<'_>) -> Vec<Finding> {
    if scope.facts.settings == Ok(None) {
        let mend = "name it in controller.toml as the cloud does, and look at `[aws] region`";
        return told(Some(scope.name), Topic::Group, vec![Symptom::mend("the cloud has no such group", mend)]);
    }
    let look = |(topic, look): (Topic, OfAGroup)| {
        let symptoms = look(scope).unwrap_or_else(|trouble| vec![Symptom::untold(trouble)]);
        told(Some(scope.name), topic, symptoms)
    };
    OF_A_GROUP.into_iter().flat_map(look).collect()
}

fn told(group: Option<&GroupName>, topic: Topic, symptoms: Vec<Symptom>) -> Vec<Finding> {
    let all_well = symptoms.iter().all(|symptom| symptom.state == State::Note);
    let well = all_well.then(|| Symptom { state: State::Well, what: String::new(), mend: None });
    let placed = |Symptom { state, what, mend }| Finding { group: group.cloned(), topic, state, what, mend };
    well.into_iter().chain(symptoms).map(placed).collect()
}

impl Symptom {
    fn mend(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Mend, what: what.into(), mend: Some(mend.into()) }
    }

    fn note(what: impl Into<String>) -> Self {
        Self { state: State::Note, what: what.into(), mend: None }
    }

    fn unclear(what: impl Into<String>) -> Self {
        Self { state: State::Unclear, what: what.into(), mend: None }
    }

    /// What to do about it is said under [`Topic::Permission`].
    fn untold(trouble: &Trouble) -> Self {
        Self::unclear(format!("{} was not answered", text::visible(&trouble.call)))
    }
}

/// `aws autoscaling CALL --auto-scaling-group-name GROUP REST`, to be pasted into a shell.
fn aws(call: &str, group: &GroupName, rest: &str) -> String {
    format!("aws autoscaling {call} --auto-scaling-group-name {} {rest}", word(group.as_str()))
}

/// A name as one word of a shell.
fn word(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_string();
    }
    format!("'{}'", text::visible(name).replace('\'', "'\\''"))
}

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::{fixtures::*, *};

    #[test]
    fn a_good_set_up_is_well_topic_by_topic() {
        let findings = examine(&good(), &policy());
        assert_eq!(overall(&findings), State::Well, "{findings:?}");
        let topics = |of: Option<&str>| -> Vec<&str> {
            let of_it = findings.iter().filter(|finding| finding.group.as_ref().map(GroupName::as_str) == of);
            of_it.filter(|finding| finding.state == State::Well).map(|finding| finding.topic.code()).collect()
        };
        assert_eq!(topics(Some("web")), ["hook", "maintenance", "scaling", "suspended", "probe", "permission"]);
        assert_eq!(topics(None), ["permission", "clock", "certificate"]);
    }

    #[test]
    fn what_it_comes_to() {
        let of = |states: &[State]| {
            let finding = |state: &State| Finding {
                group: None,
                topic: Topic::Hook,
                state: *state,
                what: String::new(),
                mend: None,
            };
            overall(&states.iter().map(finding).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), State::Well);
        assert_eq!(of(&[State::Note, State::Well]), State::Well);
        assert_eq!(of(&[State::Unclear, State::Note]), State::Unclear);
        assert_eq!(of(&[State::Unclear, State::Mend, State::Well]), State::Mend);
    }

    #[test]
    fn a_group_that_is_not_there_is_the_only_thing_to_say() {
        let lines = found(&with(|group| group.settings = Ok(None)), None);
        assert_eq!(lines, ["mend group: the cloud has no such group"]);
    }

    #[test]
    fn no_check_is_well_for_want_of_an_answer() {
        let facts = with(|group| {
            group.settings = Err(trouble("autoscaling:DescribeAutoScalingGroups"));
            group.hooks = Err(trouble("autoscaling:DescribeLifecycleHooks"));
            group.simple_scaling = Err(trouble("autoscaling:DescribePolicies"));
            group.probes = Err(trouble("elasticloadbalancing:DescribeTargetGroups"));
        });
        let findings = examine(&facts, &policy());
        assert!(
            findings.iter().filter(|finding| finding.group.is_some()).all(|finding| finding.state >= State::Unclear)
        );
    }

    #[test]
    fn names_are_words_of_a_shell() {
        for (name, quoted) in [("web-1", "web-1"), ("a b", "'a b'"), ("$(x)'y", "'$(x)'\\''y'"), ("", "''")] {
            assert_eq!(word(name), quoted);
        }
    }
}
