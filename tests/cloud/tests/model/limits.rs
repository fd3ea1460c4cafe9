//! AWS's limits on arguments, through the wire: a line per refusal.

use portcullis_cloud::call;

use crate::fixture::*;

/// A call as a form, and what the refusal must contain.
const REFUSED: &[(&str, &str)] = &[
    (
        "Action=PutLifecycleHook&LifecycleHookName=h&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING&HeartbeatTimeout=29",
        "Value '29' at 'heartbeatTimeout' failed to satisfy constraint: Member must have value greater than or equal to 30",
    ),
    (
        "Action=PutLifecycleHook&LifecycleHookName=h&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING&HeartbeatTimeout=7201",
        "less than or equal to 7200",
    ),
    (
        "Action=PutLifecycleHook&LifecycleHookName=h&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING&HeartbeatTimeout=-1",
        "greater than or equal to 30",
    ),
    (
        "Action=PutLifecycleHook&LifecycleHookName=h&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING&HeartbeatTimeout=soon",
        "<Code>MalformedInput</Code>",
    ),
    (
        "Action=PutLifecycleHook&LifecycleHookName=h&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING&DefaultResult=HOLD",
        "Value 'HOLD' at 'defaultResult'",
    ),
    (
        "Action=PutLifecycleHook&LifecycleHookName=h&LifecycleTransition=autoscaling:LAUNCH",
        "Value 'autoscaling:LAUNCH' at 'lifecycleTransition'",
    ),
    ("Action=PutLifecycleHook&LifecycleHookName=h", "LifecycleTransition is required"),
    (
        "Action=PutLifecycleHook&LifecycleHookName=a.b&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING",
        "regular expression pattern",
    ),
    (
        "Action=CompleteLifecycleAction&LifecycleHookName=gate&LifecycleActionResult=DONE&InstanceId=i-1",
        "Value 'DONE' at 'lifecycleActionResult'",
    ),
    ("Action=CompleteLifecycleAction&LifecycleHookName=gate&InstanceId=i-1", "Value null at 'lifecycleActionResult'"),
    (
        "Action=CompleteLifecycleAction&LifecycleHookName=gate&LifecycleActionResult=CONTINUE",
        "Either InstanceId or LifecycleActionToken",
    ),
    (
        "Action=CompleteLifecycleAction&LifecycleHookName=gate&LifecycleActionResult=CONTINUE&LifecycleActionToken=short",
        "length greater than or equal to 36",
    ),
    (
        "Action=CompleteLifecycleAction&LifecycleHookName=gate&LifecycleActionResult=CONTINUE&InstanceId=i-0123456789abcdef01",
        "length less than or equal to 19",
    ),
    (
        "Action=CompleteLifecycleAction&LifecycleHookName=gate&LifecycleActionResult=CONTINUE&InstanceId=i-1",
        "No active Lifecycle Action found with instance ID i-1",
    ),
    (
        "Action=RecordLifecycleActionHeartbeat&LifecycleHookName=gate&InstanceId=i-1",
        "No active Lifecycle Action found with instance ID i-1",
    ),
    ("Action=DescribeAutoScalingGroups&MaxRecords=101", "Value '101' at 'maxRecords'"),
    ("Action=DescribeAutoScalingGroups&MaxRecords=0", "Value '0' at 'maxRecords'"),
    ("Action=DescribeAutoScalingGroups&NextToken=x", "<Code>InvalidNextToken</Code>"),
    ("Action=DescribeAutoScalingInstances&MaxRecords=51", "Value '51' at 'maxRecords'"),
    ("Action=DescribeScalingActivities&MaxRecords=101", "Value '101' at 'maxRecords'"),
    ("Action=SetDesiredCapacity&DesiredCapacity=-1", "Value '-1' at 'desiredCapacity'"),
    ("Action=SetDesiredCapacity", "Value null at 'desiredCapacity'"),
    ("Action=SetInstanceHealth&InstanceId=i-1&HealthStatus=Sick", "Sick"),
    (
        "Action=SetInstanceProtection&InstanceIds.member.1=i-1&ProtectedFromScaleIn=true",
        "No managed instance found for instance ID: i-1",
    ),
    ("Action=SuspendProcesses&ScalingProcesses.member.1=Breathe", "Breathe"),
    ("Action=DeleteLifecycleHook&LifecycleHookName=none", "No Lifecycle Hook found"),
    ("Action=CreateAutoScalingGroup&MinSize=0&MaxSize=1&AvailabilityZones.member.1=a", "<Code>AlreadyExists</Code>"),
    ("Action=UpdateAutoScalingGroup&MinSize=9", "Max bound, 4, must be greater than or equal to min bound, 9"),
    ("Action=UpdateAutoScalingGroup&LaunchTemplate.Version=2", "launchTemplateId or LaunchTemplateName"),
    ("Action=Dance", "<Code>InvalidAction</Code>"),
];

#[test]
fn what_aws_refuses_is_refused() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    for (form, expected) in REFUSED {
        let form = format!("{form}&Version=2011-01-01&AutoScalingGroupName={WEB}");
        let reply = call(&mut cloud, form.as_bytes());
        let body = reply.body.replace("&apos;", "'");
        assert_eq!(reply.status, 400, "{form}\n{body}");
        assert!(body.contains(expected), "{form}\n{body}\nlacks {expected}");
    }
}

#[test]
fn names_of_groups_are_bounded() {
    let mut cloud = web(0, vec![]);
    let long = "x".repeat(256);
    for (name, expected) in [("a:b", "colon"), ("", "greater than or equal to 1"), (&long, "less than or equal to 255")]
    {
        let form = format!(
            "Action=CreateAutoScalingGroup&Version=2011-01-01&AutoScalingGroupName={name}&MinSize=0&MaxSize=1&\
             LaunchTemplate.LaunchTemplateName=web&AvailabilityZones.member.1=a"
        );
        let reply = call(&mut cloud, form.as_bytes());
        assert!(reply.status == 400 && reply.body.contains(expected), "{}", reply.body);
    }
}

#[test]
fn lists_of_ids_are_bounded() {
    let mut cloud = web(0, vec![]);
    for (action, limit) in [
        ("SetInstanceProtection&ProtectedFromScaleIn=true", 50),
        ("DescribeAutoScalingInstances", 50),
        ("EnterStandby&ShouldDecrementDesiredCapacity=false", 20),
        ("ExitStandby", 20),
        ("DetachInstances&ShouldDecrementDesiredCapacity=false", 20),
        ("AttachInstances", 20),
    ] {
        let ids: String = (0..=limit).map(|n| format!("&InstanceIds.member.{}=i-{n}", n + 1)).collect();
        let form = format!("Action={action}&Version=2011-01-01&AutoScalingGroupName={WEB}{ids}");
        let reply = call(&mut cloud, form.as_bytes());
        let expected = format!("limited to {limit}");
        assert!(reply.status == 400 && reply.body.contains(&expected), "{action}: {}", reply.body);
    }
}

#[test]
fn unknown_ids_are_silently_missing() {
    let mut cloud = web(1, vec![]);
    let id = only(&cloud).id;
    let form = format!(
        "Action=DescribeAutoScalingInstances&Version=2011-01-01&InstanceIds.member.1=i-1&InstanceIds.member.2={id}"
    );
    let reply = call(&mut cloud, form.as_bytes());
    assert_eq!((reply.status, reply.body.matches("<InstanceId>").count()), (200, 1));
}

#[test]
fn too_many_parameters_are_refused() {
    let form: String = (0..6_000).map(|n| format!("a{n}=1&")).collect();
    assert_eq!(call(&mut web(0, vec![]), form.as_bytes()).status, 400);
}
