//! Words for tables: a set-up in which all is well, and what was changed about it.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use super::{Cloud, Facts, Group, Hook, Probe, Settings, State, Topic, Trouble, examine};
use crate::{
    check::certificate::margin::Validity,
    policy::{GroupPolicy, Policy},
    timestamp::Timestamp,
};

const DAY: i64 = 86_400;

/// The group `web`, with all defaults.
pub(super) fn policy() -> Policy {
    Policy { groups: BTreeMap::from([("web".into(), GroupPolicy::default())]), ..Policy::default() }
}

pub(super) fn hook(name: &str) -> Hook {
    Hook {
        name: name.into(),
        launching: true,
        heartbeat_timeout_s: 3_600,
        global_timeout_s: 172_800,
        abandons_by_default: true,
    }
}

pub(super) fn probe(port: &str, path: &str) -> Probe {
    Probe { target_group: "web".into(), port: port.into(), path: Some(path.into()) }
}

pub(super) fn trouble(call: &str) -> Trouble {
    Trouble { call: call.into(), denied: false, because: "no answer in time".into() }
}

/// As the documents say, and 100 days before the certificate ends.
pub(super) fn good() -> Facts {
    let settings = Settings { healthy_percent_min: Some(100), ..Settings::default() };
    let web = Group {
        settings: Ok(Some(settings)),
        hooks: Ok(vec![hook("portcullis")]),
        simple_scaling: Ok(vec![]),
        probes: Ok(vec![probe("traffic-port", "/health")]),
        rehearsed: vec![Ok(()), Ok(())],
    };
    let validity = Validity { from_s: 900 * DAY, until_s: 1_100 * DAY };
    Facts {
        at: Timestamp(1_000 * 86_400_000),
        cloud: Some(Cloud { ahead_ms: Some(300), groups: BTreeMap::from([("web".into(), web)]) }),
        certificates: BTreeMap::from([("agents".into(), Ok(validity))]),
    }
}

/// With something else about the group.
pub(super) fn with(change: impl FnOnce(&mut Group)) -> Facts {
    let mut facts = good();
    let cloud = facts.cloud.as_mut().expect("a good set-up has a cloud");
    change(cloud.groups.get_mut(&"web".into()).expect("and the group"));
    facts
}

/// With other settings.
pub(super) fn set(change: impl FnOnce(&mut Settings)) -> Facts {
    with(|group| change(group.settings.as_mut().expect("it is told").as_mut().expect("it is there")))
}

/// `STATE TOPIC: WHAT`, of all that is not well; of one topic, or, with none, of the group as a whole.
pub(super) fn found(facts: &Facts, topic: Option<Topic>) -> Vec<String> {
    let findings = examine(facts, &policy()).into_iter();
    let told = findings.filter(|finding| match topic {
        Some(topic) => finding.topic == topic && finding.state != State::Well,
        None => finding.group.is_some(),
    });
    let line = |state: State| format!("{state:?}").to_lowercase();
    told.map(|finding| format!("{} {}: {}", line(finding.state), finding.topic.code(), finding.what)).collect()
}

/// How the first that is to be mended is mended.
pub(super) fn mended_by(facts: &Facts, topic: Topic) -> String {
    let findings = examine(facts, &policy());
    let found = findings.iter().find(|finding| finding.topic == topic && finding.state == State::Mend);
    found.and_then(|finding| finding.mend.clone()).unwrap_or_else(|| "nothing".to_string())
}
