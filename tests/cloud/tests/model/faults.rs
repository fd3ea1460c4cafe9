//! Ordered faults, the propagation race, and the token bucket.

use portcullis_cloud::{
    ActionResult, Cloud, DescribeAutoScalingInstances, Fault, Options, Rate, UpdateAutoScalingGroup, What, call,
};

use crate::fixture::*;

fn described(cloud: &Cloud) -> Vec<&'static str> {
    let page = cloud.describe_auto_scaling_instances(&DescribeAutoScalingInstances::default()).unwrap();
    page.items.into_iter().map(|instance| instance.state.as_str()).collect()
}

fn continue_on_the_wire(cloud: &mut Cloud, id: &str) -> portcullis_cloud::Reply {
    let form = format!(
        "Action=CompleteLifecycleAction&Version=2011-01-01&AutoScalingGroupName={WEB}&LifecycleHookName=gate&\
         LifecycleActionResult=CONTINUE&InstanceId={id}"
    );
    call(cloud, form.as_bytes())
}

#[test]
fn a_lagging_description_still_shows_the_wait() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let id = only(&cloud).id;
    cloud.inject(Fault::DescribeLag { lag_ms: 2_000 });
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
    pass(&mut cloud, 1_000);
    assert_eq!((states(&cloud), described(&cloud)), (vec!["InService"], vec!["Pending:Wait"]));
    let error = complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap_err();
    assert_eq!(error.message, format!("No active Lifecycle Action found with instance ID {id}"));
    pass(&mut cloud, 2_000);
    assert_eq!(described(&cloud), ["InService"]);
}

#[test]
fn a_lagging_description_shows_what_is_gone_and_hides_what_is_new() {
    let mut cloud = web(1, vec![]);
    cloud.inject(Fault::DescribeLag { lag_ms: 2_000 });
    cloud.set_desired_capacity(WEB, 0).unwrap();
    pass(&mut cloud, 1_000);
    assert_eq!((states(&cloud), described(&cloud)), (vec![], vec!["InService"]));
    cloud.set_desired_capacity(WEB, 1).unwrap();
    pass(&mut cloud, 1_900);
    assert_eq!((states(&cloud), described(&cloud)), (vec!["InService"], vec![]));
}

#[test]
fn an_action_may_be_unknown_at_first_though_the_wait_is_shown() {
    let mut cloud = web(0, vec![launch_hook("gate")]);
    cloud.inject(Fault::ActionLag { lag_ms: 1_000 });
    cloud.set_desired_capacity(WEB, 1).unwrap();
    pass(&mut cloud, 500);
    assert_eq!(described(&cloud), ["Pending:Wait"]);
    let id = only(&cloud).id;
    assert!(complete(&mut cloud, "gate", &id, ActionResult::Continue).is_err());
    pass(&mut cloud, 1_000);
    complete(&mut cloud, "gate", &id, ActionResult::Continue).unwrap();
}

#[test]
fn faults_strike_once_each_and_only_their_action() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let id = only(&cloud).id;
    let action = Some("CompleteLifecycleAction".to_owned());
    cloud.inject(Fault::Throttle { calls: 1, action: action.clone() });
    cloud.inject(Fault::Unavailable { calls: 1, action: action.clone() });
    cloud.inject(Fault::LoseAnswer { calls: 1, action });
    assert_eq!(call(&mut cloud, b"Action=DescribeAutoScalingGroups&Version=2011-01-01").status, 200);

    let throttled = continue_on_the_wire(&mut cloud, &id);
    assert!(
        throttled.status == 400 && throttled.body.contains("<Code>Throttling</Code><Message>Rate exceeded</Message>")
    );
    assert_eq!(continue_on_the_wire(&mut cloud, &id).status, 500);
    assert_eq!(states(&cloud), ["Pending:Wait"], "neither was applied");
    let lost = continue_on_the_wire(&mut cloud, &id);
    assert!(lost.lost && states(&cloud) == ["Pending:Proceed"], "applied, not answered");
    assert_eq!(continue_on_the_wire(&mut cloud, &id).status, 400);
}

#[test]
fn a_lost_request_is_not_applied_and_a_doubled_one_is_twice() {
    let mut cloud = web(1, vec![launch_hook("gate")]);
    let id = only(&cloud).id;
    cloud.inject(Fault::LoseRequest { calls: 1, action: None });
    assert!(continue_on_the_wire(&mut cloud, &id).lost);
    assert_eq!(states(&cloud), ["Pending:Wait"]);
    cloud.inject(Fault::Duplicate { calls: 1, action: None });
    assert_eq!(continue_on_the_wire(&mut cloud, &id).status, 400, "the second one's answer");
    assert_eq!(states(&cloud), ["Pending:Proceed"]);
}

#[test]
fn failing_launches_say_why() {
    let mut cloud = web(0, vec![]);
    let message = "We currently do not have sufficient t3.micro capacity.";
    cloud.inject(Fault::FailLaunch { launches: 2, message: message.into() });
    cloud.set_desired_capacity(WEB, 1).unwrap();
    settle(&mut cloud);
    assert_eq!(states(&cloud), ["InService"], "the third launch");
    let failed = format!("Launching a new EC2 instance.  Status Reason: {message} Launching EC2 instance failed.");
    assert_eq!(activity_texts(&cloud).iter().filter(|text| **text == failed).count(), 2);
}

#[test]
fn notices_are_lost_and_doubled() {
    for (fault, copies) in
        [(None, 1), (Some(Fault::LoseNotice { notices: 1 }), 0), (Some(Fault::DuplicateNotice { notices: 1 }), 2)]
    {
        let mut cloud = web(0, vec![launch_hook("gate")]);
        fault.into_iter().for_each(|fault| cloud.inject(fault));
        cloud.set_desired_capacity(WEB, 1).unwrap();
        settle(&mut cloud);
        let events = cloud.events_since(0).events;
        let notices: Vec<_> = events.iter().filter(|event| matches!(event.what, What::Notice { .. })).collect();
        assert_eq!(notices.len(), copies);
    }
}

#[test]
fn the_bucket_refills() {
    let options = Options { rate: Some(Rate { burst: 2, per_second: 1 }), ..Options::default() };
    let mut cloud = web_with(options, 0, vec![]);
    let mut statuses = || call(&mut cloud, b"Action=DescribeAutoScalingGroups&Version=2011-01-01").status;
    assert_eq!([statuses(), statuses(), statuses()], [200, 200, 400]);
    pass(&mut cloud, 1_000);
    let reply = call(&mut cloud, b"Action=DescribeAutoScalingGroups&Version=2011-01-01");
    assert_eq!(reply.status, 200);
}

#[test]
fn pages_cover_everything_once() {
    let mut cloud = web(0, vec![]);
    for n in 0..7 {
        let request = portcullis_cloud::CreateAutoScalingGroup {
            name: format!("g{n}"),
            settings: UpdateAutoScalingGroup { ..settings(0) },
            ..Default::default()
        };
        cloud.create_auto_scaling_group(&request).unwrap();
    }
    let mut request = portcullis_cloud::DescribeAutoScalingGroups::default();
    request.page.max_records = Some(3);
    let mut seen = Vec::new();
    loop {
        let page = cloud.describe_auto_scaling_groups(&request).unwrap();
        seen.extend(page.items.into_iter().map(|item| item.group.name));
        request.page.next_token = page.next_token;
        if request.page.next_token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["g0", "g1", "g2", "g3", "g4", "g5", "g6", WEB]);
}
