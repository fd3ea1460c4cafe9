//! The `aws` command line against the server on a virtual clock: an hour passes when the test says so.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::program::Program;

const GROUP: &[&str] = &["--auto-scaling-group-name", "web"];
const HOOK: &[&str] = &["--auto-scaling-group-name", "web", "--lifecycle-hook-name", "gate"];
const CREATE: &[&str] = &[
    "--auto-scaling-group-name",
    "web",
    "--min-size=0",
    "--max-size=3",
    "--desired-capacity=1",
    "--launch-template=LaunchTemplateName=web,Version=7",
    "--availability-zones=eu-west-1a",
    "--lifecycle-hook-specification-list",
    "LifecycleHookName=gate,LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING,HeartbeatTimeout=3600",
];

impl Program {
    fn scaling(&self, action: &str, arguments: &[&[&str]]) -> Result<Value, String> {
        self.aws(&[&["autoscaling", action], arguments.concat().as_slice()].concat())
    }

    fn create_web(&self) -> String {
        let target_group = self.aws(&["elbv2", "create-target-group", "--name=web", "--protocol=HTTP", "--port=80"]);
        let arn = target_group.unwrap()["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
        self.scaling("create-auto-scaling-group", &[CREATE, &["--target-group-arns", &arn]]).unwrap();
        self.advance(5_000);
        arn
    }

    /// The group's only instance, as described.
    fn instance(&self) -> Value {
        let found = self.scaling("describe-auto-scaling-instances", &[]).unwrap();
        assert_eq!(found["AutoScalingInstances"].as_array().map(Vec::len), Some(1), "{found}");
        found["AutoScalingInstances"][0].clone()
    }

    fn complete(&self, id: &str, result: &str) -> Result<Value, String> {
        let rest = ["--instance-id", id, "--lifecycle-action-result", result];
        self.scaling("complete-lifecycle-action", &[HOOK, &rest])
    }

    /// Lets simulated time pass.
    fn advance(&self, ms: u64) {
        let body = format!("{{\"ms\":{ms}}}");
        let (status, answer) = self.http("POST", "/_cloud/advance", &body);
        assert_eq!(status, 200, "{answer}");
    }

    /// One plain HTTP request; the status and the body.
    pub(crate) fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
    }
}

fn start() -> Program {
    Program::start(&["--virtual-clock", "1795000000000"])
}

#[test]
fn a_launch_is_held_for_an_hour_then_completed_once() {
    let cloud = start();
    let target_group = cloud.create_web();
    cloud.advance(3_500_000);
    let held = cloud.instance();
    assert_eq!(held["LifecycleState"], "Pending:Wait");
    assert_eq!(held["LaunchTemplate"]["Version"], "7");
    let id = held["InstanceId"].as_str().unwrap();

    cloud.scaling("record-lifecycle-action-heartbeat", &[HOOK, &["--instance-id", id]]).unwrap();
    cloud.advance(3_500_000);
    assert_eq!(cloud.instance()["LifecycleState"], "Pending:Wait");

    cloud.complete(id, "CONTINUE").unwrap();
    let error = cloud.complete(id, "CONTINUE").unwrap_err();
    let expected = format!(
        "An error occurred (ValidationError) when calling the CompleteLifecycleAction operation: No active Lifecycle \
         Action found with instance ID {id}"
    );
    assert!(error.contains(&expected), "{error}");

    cloud.advance(5_000);
    assert_eq!(cloud.instance()["LifecycleState"], "InService");
    let health = cloud.aws(&["elbv2", "describe-target-health", "--target-group-arn", &target_group]).unwrap();
    assert_eq!(health["TargetHealthDescriptions"][0]["TargetHealth"]["State"], "healthy");
    assert_eq!(health["TargetHealthDescriptions"][0]["Target"]["Id"], id);
}

#[test]
fn an_abandoned_launch_is_replaced_and_says_why() {
    let cloud = start();
    cloud.create_web();
    let id = cloud.instance()["InstanceId"].as_str().unwrap().to_owned();
    cloud.complete(&id, "ABANDON").unwrap();
    cloud.advance(5_000);
    assert_ne!(cloud.instance()["InstanceId"], id.as_str());
    let activities = cloud.scaling("describe-scaling-activities", &[GROUP]).unwrap();
    let cancelled =
        activities["Activities"].as_array().unwrap().iter().find(|found| found["StatusCode"] == "Cancelled");
    let message = cancelled.unwrap()["StatusMessage"].as_str().unwrap();
    assert!(message.starts_with("Instance failed to complete user's Lifecycle Action: Lifecycle Action with token "));
    assert!(message.ends_with(" was abandoned: Lifecycle Action Completed with ABANDON Result"));
}

#[test]
fn groups_and_hooks_are_described_changed_and_deleted() {
    let cloud = start();
    cloud.create_web();
    let hooks = cloud.scaling("describe-lifecycle-hooks", &[GROUP]).unwrap();
    assert_eq!(hooks["LifecycleHooks"][0]["GlobalTimeout"], 172_800);
    assert_eq!(hooks["LifecycleHooks"][0]["DefaultResult"], "ABANDON");

    cloud.scaling("put-lifecycle-hook", &[HOOK, &["--default-result=CONTINUE", "--heartbeat-timeout=60"]]).unwrap();
    let error = cloud.scaling("put-lifecycle-hook", &[HOOK, &["--heartbeat-timeout=29"]]).unwrap_err();
    assert!(error.contains("(ValidationError)") && error.contains("greater than or equal to 30"), "{error}");

    cloud.scaling("set-desired-capacity", &[GROUP, &["--desired-capacity=2"]]).unwrap();
    cloud.scaling("update-auto-scaling-group", &[GROUP, &["--min-size=2", "--max-size=2"]]).unwrap();
    let groups = cloud.scaling("describe-auto-scaling-groups", &[]).unwrap();
    let group = &groups["AutoScalingGroups"][0];
    assert_eq!((&group["MinSize"], &group["DesiredCapacity"]), (&2.into(), &2.into()));
    assert_eq!(group["Instances"].as_array().map(Vec::len), Some(2));

    let error = cloud.scaling("delete-auto-scaling-group", &[GROUP]).unwrap_err();
    assert!(error.contains("(ResourceInUse)"), "{error}");
    cloud.scaling("delete-lifecycle-hook", &[HOOK]).unwrap();
    cloud.scaling("delete-auto-scaling-group", &[GROUP, &["--force-delete"]]).unwrap();
    cloud.advance(5_000);
    let groups = cloud.scaling("describe-auto-scaling-groups", &[]).unwrap();
    assert_eq!(groups["AutoScalingGroups"], serde_json::json!([]));
}
