//! The control surface, and what the listener does with what it should not get.

use serde_json::Value;

use crate::program::Program;

fn json(answer: &(u16, String)) -> Value {
    assert_eq!(answer.0, 200, "{}", answer.1);
    serde_json::from_str(&answer.1).unwrap()
}

#[test]
fn events_tell_a_launch_from_the_beginning() {
    let cloud = Program::start(&["--virtual-clock", "0", "--first-address", "127.0.9.1"]);
    let create = "Action=CreateAutoScalingGroup&Version=2011-01-01&AutoScalingGroupName=web&MinSize=1&MaxSize=1&\
                  LaunchTemplate.LaunchTemplateName=web&AvailabilityZones.member.1=a";
    assert_eq!(cloud.http("POST", "/", create).0, 200);
    json(&cloud.http("POST", "/_cloud/advance", "{\"ms\":1000}"));

    let all = json(&cloud.http("GET", "/_cloud/events?since=0", ""));
    let kinds: Vec<_> = all["events"].as_array().unwrap().iter().map(|e| e["what"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["launched", "called", "state_changed"]);
    assert_eq!(all["events"][0]["what"]["instance"]["private_ip"], "127.0.9.1");
    let rest = json(&cloud.http("GET", "/_cloud/events?since=2", ""));
    assert_eq!(rest["events"].as_array().map(Vec::len), Some(1));

    let instances = json(&cloud.http("GET", "/_cloud/instances?group=web", ""));
    assert_eq!(instances["instances"][0]["state"], "InService");
    assert_eq!(json(&cloud.http("GET", "/_cloud/instances?group=other", ""))["instances"], serde_json::json!([]));
}

#[test]
fn what_should_not_come_is_refused() {
    let cloud = Program::start(&[]);
    assert_eq!(cloud.http("GET", "/", "").0, 404);
    assert_eq!(cloud.http("POST", "/elsewhere", "").0, 404);
    assert_eq!(cloud.http("GET", "/_cloud/nothing", "").0, 404);
    assert_eq!(cloud.http("PUT", "/_cloud/faults", "").0, 405);
    assert_eq!(cloud.http("POST", "/_cloud/faults", "{\"fault\":\"flood\"}").0, 400);
    assert_eq!(cloud.http("POST", "/_cloud/advance", "{\"ms\":1,\"s\":2}").0, 400);
    assert_eq!(cloud.http("GET", "/_cloud/events?since=soon", "").0, 400);
    assert_eq!(cloud.http("POST", "/_cloud/target-health", "{\"instance\":\"i-1\",\"healthy\":true}").0, 404);
    assert_eq!(cloud.http("POST", "/", "\u{1}=%ff%fe&&&==").0, 400);
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let cloud = Program::start(&[]);
    assert_eq!(cloud.http("POST", "/_cloud/faults", &" ".repeat((1 << 20) + 1)).0, 413);
}

#[test]
fn time_that_is_skipped_stays_skipped() {
    let cloud = Program::start(&[]);
    let now = |answer: Value| answer["now_ms"].as_u64().unwrap();
    let before = now(json(&cloud.http("GET", "/_cloud/time", "")));
    json(&cloud.http("POST", "/_cloud/advance", "{\"ms\":3600000}"));
    let after = now(json(&cloud.http("GET", "/_cloud/time", "")));
    assert!((3_600_000..3_660_000).contains(&(after - before)), "{before} {after}");
    let deadline_ms = after + 1;
    while now(json(&cloud.http("GET", "/_cloud/time", ""))) < deadline_ms {
        std::hint::spin_loop();
    }
}
