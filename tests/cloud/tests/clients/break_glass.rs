//! `deploy/break-glass.md`: its blocks, as they stand there, with the real `aws` command line.

use serde_json::Value;

use crate::program::Program;

const DOCUMENT: &str = include_str!("../../../../deploy/break-glass.md");

/// The block of a section; of none, the one that comes before all.
fn block(section: &str) -> &'static str {
    let begin = if section.is_empty() { 0 } else { DOCUMENT.find(&format!("\n## {section}\n")).expect(section) };
    let (_, rest) = DOCUMENT[begin..].split_once("```sh\n").expect(section);
    rest.split("```").next().unwrap_or_default()
}

/// A person at a shell.
struct Person(Program);

impl Person {
    fn does(&self, section: &str, variables: &str) -> String {
        let script = format!("{}\n{variables}\n{}", block(""), block(section));
        self.0.bash(&script).unwrap_or_else(|error| panic!("{section}: {error}"))
    }

    /// What waits, as the document asks for it.
    fn waiting(&self) -> Vec<String> {
        self.does("What waits", "").split_whitespace().map(str::to_owned).collect()
    }

    fn passes(&self, seconds: u64) {
        let (status, answer) = self.0.http("POST", "/_cloud/advance", &format!("{{\"ms\":{}}}", seconds * 1_000));
        assert_eq!(status, 200, "{answer}");
    }

    fn aws(&self, words: &str) -> Value {
        let words: Vec<_> = words.split_whitespace().collect();
        self.0.aws(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn group(&self) -> Value {
        self.aws("autoscaling describe-auto-scaling-groups")["AutoScalingGroups"][0].clone()
    }

    fn serving(&self) -> Vec<Value> {
        let instances = self.group()["Instances"].as_array().cloned().unwrap_or_default();
        instances.into_iter().filter(|instance| instance["LifecycleState"] == "InService").collect()
    }

    fn wants(&self, count: u32) {
        self.aws(&format!("autoscaling set-desired-capacity --auto-scaling-group-name web --desired-capacity {count}"));
        self.passes(5);
    }
}

#[test]
fn every_block_does_what_it_says_and_nothing_is_lost() {
    let person = Person(Program::start(&["--virtual-clock", "1795000000000"]));
    person.aws(
        "autoscaling create-auto-scaling-group --auto-scaling-group-name web --min-size 0 --max-size 9 \
         --desired-capacity 3 --launch-template LaunchTemplateName=web,Version=8 --availability-zones eu-west-1a \
         --lifecycle-hook-specification-list \
         LifecycleHookName=portcullis,LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING,HeartbeatTimeout=3600",
    );
    person.passes(5);
    let three = person.waiting();
    assert_eq!(three.len(), 3);

    for _ in 0..2 {
        person.passes(3_000);
        person.does("Buy time", "");
    }
    assert_eq!(person.waiting(), three, "an hour has passed, and all wait");

    person.does("Let one through", &format!("INSTANCE={}", three[0]));
    person.passes(5);
    assert_eq!((person.waiting().len(), person.serving().len()), (2, 1));

    person.does("Stop gating", "");
    person.passes(5);
    assert_eq!((person.waiting().len(), person.serving().len()), (0, 3));
    person.wants(4);
    person.passes(40);
    assert_eq!((person.waiting().len(), person.serving().len()), (0, 4), "the hook opens by itself");

    person.does("Gate again", "");
    person.wants(5);
    person.passes(3_000);
    assert_eq!((person.waiting().len(), person.serving().len()), (1, 4), "and closes again");

    person.does("Roll back", "TEMPLATE=web FORMER=7");
    assert!(person.serving().iter().all(|instance| instance["ProtectedFromScaleIn"] == true));
    person.wants(6);
    let versions = person.group()["Instances"].to_string();
    assert!(versions.contains("\"Version\":\"7\""), "{versions}");

    // The cloud does not say who waits: that is not nobody, and the hook stays. (`sleep` would go on for ever.)
    let waiting = person.waiting();
    assert!(!waiting.is_empty());
    let throttled = "waiting() { return 254; }\nsleep() { exit 7; }";
    let left = person.0.bash(&format!("{}\n{throttled}\n{}", block(""), block("Leave for good")));
    assert!(left.is_err(), "it went on: {left:?}");
    assert_eq!(person.waiting(), waiting, "they were abandoned");
    person.aws("autoscaling resume-processes --auto-scaling-group-name web --scaling-processes Launch");

    person.does("Stop gating", "");
    person.does("Leave for good", "");
    person.wants(7);
    person.passes(5);
    assert_eq!(person.serving().len(), 7, "nothing holds a launch any more");
    assert_eq!(
        person.aws("autoscaling describe-lifecycle-hooks --auto-scaling-group-name web")["LifecycleHooks"],
        Value::Array(vec![])
    );
    assert_eq!(person.group()["SuspendedProcesses"], Value::Array(vec![]));
    let activities = person.aws("autoscaling describe-scaling-activities --auto-scaling-group-name web").to_string();
    assert!(!activities.contains("abandoned"), "{activities}");
}

/// A section that no test runs is a section that nobody should trust at night.
#[test]
fn every_block_is_run() {
    let blocks = DOCUMENT.matches("```sh\n").count();
    let sections =
        ["", "What waits", "Buy time", "Let one through", "Stop gating", "Gate again", "Roll back", "Leave for good"];
    assert_eq!(blocks, sections.len());
    assert!(sections.iter().all(|section| !block(section).is_empty()));
}
