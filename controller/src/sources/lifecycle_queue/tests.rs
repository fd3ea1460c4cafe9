use std::sync::Mutex;

use portcullis::observation::{Description, Observation};
use serde_json::json;
use tokio::sync::mpsc;

use super::*;

fn detail(group: &str) -> Value {
    json!({
        "LifecycleActionToken": "87654321-4321-4321-4321-210987654321", "AutoScalingGroupName": group,
        "LifecycleHookName": "portcullis", "EC2InstanceId": "i-1234567890abcdef0",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "Origin": "EC2", "Destination": "AutoScalingGroup"
    })
}

fn event(group: &str) -> String {
    json!({
        "version": "0", "id": "12345678", "detail-type": "EC2 Instance-launch Lifecycle Action",
        "source": "aws.autoscaling", "account": "123456789012", "region": "eu-west-1", "detail": detail(group)
    })
    .to_string()
}

fn direct(group: &str) -> String {
    let mut message = detail(group);
    for (key, value) in [("Service", "AWS Auto Scaling"), ("AccountId", "123456789012"), ("RequestId", "r")] {
        message[key] = value.into();
    }
    message.to_string()
}

fn test_notice() -> String {
    json!({"Event": "autoscaling:TEST_NOTIFICATION", "AutoScalingGroupName": "web", "Service": "AWS Auto Scaling"})
        .to_string()
}

fn by_sns(message: &str) -> String {
    json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": message})
        .to_string()
}

#[test]
fn every_shape_is_read() {
    let web = || Notice::Of("web".into());
    for (body, notice) in [
        (event("web"), web()),
        (direct("web"), web()),
        (by_sns(&event("web")), web()),
        (by_sns(&direct("web")), web()),
        (test_notice(), Notice::Test),
        (by_sns(&test_notice()), Notice::Test),
        (json!({"source": "aws.ec2", "detail": {"instance-id": "i-1"}}).to_string(), Notice::Foreign),
        (json!({"source": "aws.autoscaling", "detail": {}}).to_string(), Notice::Malformed),
        (json!({"source": "aws.autoscaling", "detail": {"AutoScalingGroupName": 7}}).to_string(), Notice::Malformed),
        (by_sns("no JSON"), Notice::Malformed),
        (by_sns(&by_sns(&event("web"))), Notice::Malformed),
        ("[]".into(), Notice::Malformed),
        ("{}".into(), Notice::Malformed),
        (String::new(), Notice::Malformed),
        ("\u{1b}[2J".into(), Notice::Malformed),
    ] {
        assert_eq!(read(&body), notice, "{body}");
    }
}

/// Gives what it has, once; then fails, or has nothing.
#[derive(Default)]
struct Fake {
    batches: Mutex<Vec<Result<Vec<Message>, String>>>,
    deleted: Mutex<Vec<String>>,
}

impl Queue for Fake {
    fn receive(&self) -> Pending<'_, Result<Vec<Message>, String>> {
        let next = { self.batches.lock().unwrap().pop() };
        Box::pin(async move {
            match next {
                Some(batch) => batch,
                None => std::future::pending().await,
            }
        })
    }

    fn delete<'a>(&'a self, handles: &'a [String]) -> Pending<'a, Result<(), String>> {
        self.deleted.lock().unwrap().extend_from_slice(handles);
        Box::pin(async { Ok(()) })
    }
}

struct Scene {
    queue: Arc<Fake>,
    noticed: mpsc::Receiver<Observation>,
    shows: watch::Sender<Arc<Snapshot>>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Scene {
    /// With batches that come in this order.
    fn start(described_within: Duration, mut batches: Vec<Result<Vec<Message>, String>>) -> Self {
        batches.reverse();
        let queue = Arc::new(Fake { batches: Mutex::new(batches), ..Fake::default() });
        let (metrics, clock) = (Arc::new(Metrics::new()), Clock::system());
        let (notices, noticed) = Notices::new(Arc::clone(&metrics));
        let (shows, snapshots) = watch::channel(Arc::default());
        let source = Source {
            queue: Arc::clone(&queue) as Arc<dyn Queue>,
            gated: ["web".into(), "db".into()].into(),
            notices,
            snapshots,
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            patience: Patience { described_within, backoff_min: Duration::from_millis(50) },
        };
        tokio::spawn(source.run());
        Self { queue, noticed, shows, clock, metrics }
    }

    fn described(&self, group: &str) {
        let mut observed = self.shows.borrow().observed.clone();
        let asked_at = self.clock.now();
        let description = Description { group: group.into(), asked_at, complete: true, facts: None };
        observed.fold(Observation::Described(description), asked_at);
        self.shows.send_replace(Arc::new(Snapshot { observed, ..Snapshot::default() }));
    }

    fn deleted(&self) -> Vec<String> {
        self.queue.deleted.lock().unwrap().clone()
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.page().lines().any(|found| found == line)
    }
}

fn noticed(group: &str) -> Option<Observation> {
    Some(Observation::Noticed(group.into()))
}

fn message(handle: &str, body: String) -> Message {
    Message { handle: handle.into(), body }
}

impl Scene {
    /// Looks until it is so.
    async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Clock::monotonic() + Duration::from_secs(30);
        while !is_so(self) {
            assert!(Clock::monotonic() < deadline, "never: {what}: {:?}, {}", self.deleted(), self.metrics.page());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_message_is_deleted_after_its_work_and_what_is_none_of_ours_at_once() {
    let batch = vec![
        message("a", event("web")),
        message("b", direct("web")),
        message("c", test_notice()),
        message("d", event("somebody's")),
        message("e", "what?".into()),
    ];
    let mut scene = Scene::start(Duration::from_secs(30), vec![Ok(batch), Ok(vec![message("f", test_notice())])]);
    assert_eq!(scene.noticed.recv().await, noticed("web"));
    assert!(scene.noticed.try_recv().is_err(), "once for a group, and for nobody else's");
    assert!(scene.deleted().is_empty(), "its group is not described yet");
    scene.described("web");
    scene.until("all are deleted", |scene| scene.deleted() == ["a", "b", "c", "d", "e", "f"]).await;
    for (kind, count) in [("lifecycle", 2), ("test", 2), ("foreign", 1), ("malformed", 1)] {
        assert!(
            scene.counts(&format!("portcullis_notices_total{{kind=\"{kind}\"}} {count}")),
            "{}",
            scene.metrics.page()
        );
    }
}

#[tokio::test]
async fn what_was_described_before_is_not_its_work_and_one_group_keeps_nobody_elses() {
    let mut scene = Scene::start(
        Duration::from_millis(300),
        vec![Ok(vec![message("a", event("web")), message("b", event("db"))]), Ok(vec![message("c", test_notice())])],
    );
    scene.described("web");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.noticed.recv().await, noticed("db"));
    assert_eq!(scene.noticed.recv().await, noticed("web"));
    scene.described("db");
    scene.until("the next batch has come", |scene| scene.deleted().contains(&"c".to_owned())).await;
    assert_eq!(scene.deleted(), ["b", "c"], "the other one comes again");
}

#[tokio::test]
async fn a_queue_that_cannot_be_reached_is_told_and_tried_again() {
    let failure = || Err("connection refused".to_owned());
    let batches = vec![failure(), failure(), failure(), Ok(vec![message("a", event("web"))])];
    let mut scene = Scene::start(Duration::from_secs(30), batches);
    scene.until("it failed", |scene| !scene.counts("portcullis_notice_queue_failures_total 0")).await;
    assert!(scene.counts("portcullis_notice_queue_reached 0"));
    assert_eq!(scene.noticed.recv().await, noticed("web"));
    assert!(scene.counts("portcullis_notice_queue_reached 1"));
    assert!(scene.counts("portcullis_notice_queue_failures_total 3"));
}
