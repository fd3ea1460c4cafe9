//! The controller's edges to the cloud: target health, notices, and a cloud that throttles. Groups that only observe let everyone
//! in, so that no agent is needed.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_cloud::{
    CreateAutoScalingGroup, CreateTargetGroup, Delays, Fault, LaunchTemplate, Options, Rate, Server, ServerOptions,
    UpdateAutoScalingGroup, WarmPool, What,
};
use portcullis_drill::{
    clock::Stopwatch,
    gate::{Gate, Release, Setup},
    scene::{self, Scratch},
    site::Site,
};
use portcullis_wire::programs;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cloud with some groups, and a controller that observes them.
struct World {
    cloud: Arc<Server>,
    gate: Gate,
    _scratch: Scratch,
}

impl World {
    async fn set_up(name: &str, options: Options, groups: &[&str], setup: Setup) -> Result<Self> {
        let scratch = Scratch::make(name)?;
        let release = Release::build(programs(), &Site::write(scratch.join("staging"))?, &scratch.join("release"))?;
        let cloud = Arc::new(Server::start(ServerOptions::local(options)).await?);
        for group in groups {
            make_group(&cloud, group)?;
        }
        let gate = Gate::set_up(programs(), &release, &cloud.url(), &scratch.join("gate"), &setup).await?;
        Ok(Self { cloud, gate, _scratch: scratch })
    }

    /// One group, as the controller has it now.
    async fn group(&self, group: &str) -> Result<Value> {
        let status: Value = serde_json::from_str(&self.gate.cli(&["status", "--json"]).await?.stdout)?;
        let groups = status["groups"].as_array().context("groups")?;
        groups.iter().find(|found| found["group"] == group).cloned().context("the group")
    }

    async fn until<T>(&self, what: &str, group: &str, mut seen: impl FnMut(&Value) -> Option<T>) -> Result<T> {
        let begun = Stopwatch::start();
        loop {
            let found = self.group(group).await?;
            if let Some(seen) = seen(&found) {
                return Ok(seen);
            }
            ensure!(begun.elapsed() < PATIENCE, "{what}: not in time: {found}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn wants(&self, group: &str, desired: u32) -> Result<()> {
        Ok(self.cloud.lock().set_desired_capacity(group, desired)?)
    }

    /// How often each call was answered: well, and with an error.
    fn calls(&self) -> BTreeMap<String, (u32, u32)> {
        let mut counts = BTreeMap::<String, (u32, u32)>::new();
        for event in self.cloud.lock().events_of_all_time().expect("it remembers all of a test") {
            if let What::Called { action, code, .. } = event.what {
                let count = counts.entry(action).or_default();
                if code.is_none() { count.0 += 1 } else { count.1 += 1 }
            }
        }
        counts
    }
}

fn quick() -> Options {
    let delays = Delays { boot_ms: 100, proceed_ms: 100, register_ms: 50, initial_ms: 100, ..Delays::default() };
    Options { delays, ..Options::default() }
}

fn make_group(cloud: &Server, name: &str) -> Result<()> {
    let mut cloud = cloud.lock();
    let arn = cloud.create_target_group(&CreateTargetGroup { name: name.into(), ..Default::default() })?;
    Ok(cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
        name: name.into(),
        settings: UpdateAutoScalingGroup {
            min: Some(0),
            max: Some(20),
            launch_template: Some(LaunchTemplate { name: Some(name.into()), ..Default::default() }),
            zones: vec!["eu-west-1a".into()],
            ..Default::default()
        },
        target_groups: vec![arn],
        hooks: vec![scene::hook()],
        ..Default::default()
    })?)
}

fn instances(group: &Value) -> Vec<Value> {
    group["instances"].as_array().cloned().unwrap_or_default()
}

fn in_service(group: &Value) -> usize {
    instances(group).iter().filter(|instance| instance["in_service"] == true).count()
}

/// Serving means healthy behind the balancer.
#[tokio::test(flavor = "multi_thread")]
async fn in_service_is_not_yet_traffic() -> Result<()> {
    let limits = "describe_every = \"500ms\"\n[groups.web]\nstall_after = \"2s\"\n";
    let world = World::set_up("health", quick(), &["web"], Setup { limits, ..Setup::default() }).await?;
    world.wants("web", 2)?;
    world.until("both serve", "web", |web| (in_service(web) == 2).then_some(())).await?;
    let sick = instances(&world.group("web").await?)[0]["instance"].as_str().context("an id")?.to_owned();
    world.cloud.lock().tell_target_health(&sick, false);
    let web = world.until("it is told", "web", |web| {
        let stalled = web["alerts"].as_array()?.iter().find(|alert| alert["code"] == "stalled")?;
        Some((web.clone(), stalled["text"].as_str()?.to_owned()))
    });
    let (web, text) = web.await?;
    assert!(
        text.starts_with("1 of 2 instances serve") && text.contains("unhealthy behind its load balancer"),
        "{text}"
    );
    let one = instances(&web).into_iter().find(|one| one["instance"] == sick.as_str()).context("it is listed")?;
    assert_eq!(
        (&one["state"], &one["in_service"], &one["verdict"]),
        (&json!("InService"), &json!(false), &json!("admitted"))
    );
    let page = world.gate.cli(&["status", "--group", "web"]).await?.stdout;
    assert!(page.contains("unhealthy behind its load balancer"), "{page}");
    world.cloud.lock().tell_target_health(&sick, true);
    world.until("it is over", "web", |web| (in_service(web) == 2 && web["alerts"].is_null()).then_some(())).await?;
    Ok(())
}

/// A launch hook holds an instance on its way into the warm pool, and once more on its way out: nobody is forgotten there.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_warm_pool_prepares_waits_twice() -> Result<()> {
    let limits = "describe_every = \"500ms\"\n[groups.web]\n";
    let world = World::set_up("warm", quick(), &["web"], Setup { limits, ..Setup::default() }).await?;
    world.cloud.lock().put_warm_pool("web", &WarmPool::default())?;
    let rests = |web: &Value| instances(web).iter().filter(|one| one["state"] == "Warmed:Stopped").count();
    world.until("they rest", "web", |web| (rests(web) == 20).then_some(())).await?;
    world.wants("web", 1)?;
    let serving = |web: &Value| {
        let one = instances(web).into_iter().find(|one| one["in_service"] == true)?;
        Some(one["instance"].as_str()?.to_owned())
    };
    let id = world.until("one serves", "web", serving).await?;
    let events = world.gate.cli(&["events", "--after", "0", "--json"]).await?.stdout;
    let of_it = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let taken = of_it.filter(|event| event["instance"] == id.as_str() && event["text"] == "CONTINUE: accepted");
    assert_eq!(taken.count(), 2, "{events}");
    Ok(())
}

/// Names go in chunks, pages are followed, and all groups are described; beyond AWS's limits a call would be refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_and_twenty_groups_are_described_whole() -> Result<()> {
    let names: Vec<String> = (0..120).map(|number| format!("g{number:03}")).collect();
    let tables: String = names.iter().map(|name| format!("[groups.{name}]\n")).collect();
    let limits: &'static str = Box::leak(format!("describe_every = \"5s\"\n{tables}").into_boxed_str());
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::set_up("paging", quick(), &groups, Setup { limits, ..Setup::default() }).await?;
    for name in [names[0].as_str(), names[55].as_str(), names[119].as_str()] {
        world
            .until("it is described", name, |group| {
                (group["desired"] == 0 && group["warnings"].is_null()).then_some(())
            })
            .await?;
    }
    let calls = world.calls();
    assert!(calls.values().all(|(_, failed)| *failed == 0), "{calls:?}");
    Ok(())
}

/// What the cloud is slow to say of one group, nobody else waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_group_delays_no_other() -> Result<()> {
    let limits = "describe_every = \"500ms\"\n[groups.a-slow]\n[groups.web]\n";
    let world = World::set_up("slow", quick(), &["a-slow", "web"], Setup { limits, ..Setup::default() }).await?;
    let (action, group) = (Some("DescribeLifecycleHooks".to_owned()), Some("a-slow".to_owned()));
    world.cloud.lock().inject(Fault::DelayAnswer { calls: 1_000, action, group, delay_ms: 20_000 });
    // Whatever was under way before is over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.wants("web", 2)?;
    let begun = Stopwatch::start();
    world.until("both serve", "web", |web| (in_service(web) == 2).then_some(())).await?;
    assert!(begun.elapsed() < Duration::from_secs(8), "they waited for another group: {:?}", begun.elapsed());
    Ok(())
}

/// One bucket for all: it gets fewer calls when it runs dry, and CONTINUE comes before descriptions.
#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_throttles_gets_fewer_calls_and_continue_first() -> Result<()> {
    let names: Vec<String> = (0..30).map(|number| format!("g{number:02}")).collect();
    let tables: String = names.iter().map(|name| format!("[groups.{name}]\n")).collect();
    // Some 90 calls a second are wished for, and 15 are to be had.
    let limits: &'static str = Box::leak(format!("describe_every = \"1s\"\n{tables}").into_boxed_str());
    let options = Options { rate: Some(Rate { burst: 15, per_second: 15 }), ..quick() };
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::set_up("throttled", options, &groups, Setup { limits, ..Setup::default() }).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.wants("g07", 10)?;
    let begun = Stopwatch::start();
    world.until("all serve", "g07", |group| (in_service(group) == 10).then_some(())).await?;
    let (calls, took) = (world.calls(), begun.elapsed());
    let (taken, throttled) = calls.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    println!("served after {took:?}; {taken} calls taken, {throttled} throttled: {calls:?}");
    assert!(throttled > 0, "the cloud was never pressed: {calls:?}");
    assert!(throttled * 5 < taken, "too many calls are made in vain: {calls:?}");
    assert_eq!(calls["CompleteLifecycleAction"].0, 10, "{calls:?}");
    Ok(())
}

/// What a description does without may be throttled too, and the budget is one: it is not asked for at the old pace.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_throttled_in_passing_is_throttled_all_the_same() -> Result<()> {
    let names: Vec<String> = (0..30).map(|number| format!("g{number:02}")).collect();
    let tables: String = names.iter().map(|name| format!("[groups.{name}]\n")).collect();
    let limits: &'static str = Box::leak(format!("describe_every = \"1s\"\n{tables}").into_boxed_str());
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::set_up("passing", quick(), &groups, Setup { limits, ..Setup::default() }).await?;
    // Short, so that activities are asked for; and one in service, so that targets are.
    world.cloud.lock().inject(Fault::FailLaunch { launches: 1_000, message: "no capacity".into() });
    for action in ["DescribeScalingActivities", "DescribeTargetHealth"] {
        if action == "DescribeTargetHealth" {
            world.cloud.lock().faults_mut().clear();
            for name in &groups {
                world.until("they serve", name, |group| (in_service(group) == 1).then_some(())).await?;
            }
        } else {
            groups.iter().try_for_each(|name| world.wants(name, 1))?;
        }
        world.cloud.lock().inject(Fault::Throttle { calls: 100_000, action: Some(action.into()) });
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = world.calls();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let after = world.calls();
        let (described, throttled) = (
            after["DescribeLifecycleHooks"].0 - before["DescribeLifecycleHooks"].0,
            after[action].1 - before[action].1,
        );
        // Of some 300 that are wished for; each of them would be throttled once.
        assert!(described < 150 && throttled > 0, "{action}: {described} groups described, {throttled} throttled");
    }
    Ok(())
}

/// A stand-in for SQS; it ends with the test.
struct Moto {
    child: Child,
    url: String,
}

impl Moto {
    fn start() -> Result<Self> {
        let mut child = Command::new(client("moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("moto_server does not start: pip install -r tests/requirements.txt")?;
        let mut lines = BufReader::new(child.stderr.take().context("it has an output")?).lines();
        let said = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned));
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        match said {
            Some(url) => Ok(Self { child, url }),
            None => bail!("moto_server does not say where it listens: {:?}", child.wait()),
        }
    }

    fn sqs(&self, words: &[&str]) -> Result<Value> {
        let output = Command::new(client("aws"))
            .args(["sqs", "--endpoint-url", &self.url, "--output", "json"])
            .args(words)
            .envs([("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any"), ("AWS_DEFAULT_REGION", "eu-west-1")])
            .envs([("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_PAGER", "")])
            .output()?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&output.stdout)?) }
    }

    /// How many messages there are, received or not.
    fn messages(&self, queue: &str) -> Result<u32> {
        let found = self.sqs(&["get-queue-attributes", "--queue-url", queue, "--attribute-names", "All"])?;
        let count = |name: &str| found["Attributes"][name].as_str().and_then(|text| text.parse::<u32>().ok());
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        Ok(names.into_iter().filter_map(count).sum())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn client(name: &str) -> PathBuf {
    let venv = std::env::var_os("PORTCULLIS_VENV");
    venv.map_or_else(|| portcullis_wire::top().join("target/venv"), PathBuf::from).join("bin").join(name)
}

/// Described once a quarter of an hour, a launch is let in within seconds of its notice; whatever else lies in the queue is deleted;
/// and without the queue nothing stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_makes_it_sooner_and_the_queue_stays_empty() -> Result<()> {
    let moto = Moto::start()?;
    let made = moto.sqs(&["create-queue", "--queue-name", "portcullis"])?;
    let queue = made["QueueUrl"].as_str().context("a URL")?.to_owned();
    let aws = format!("lifecycle_queue_url = \"{queue}\"\n");
    let limits = "describe_every = \"15m\"\n[groups.web]\n";
    let world = World::set_up("notices", quick(), &["web"], Setup { limits, aws, ..Setup::default() }).await?;
    world.until("it is described", "web", |web| (web["desired"] == 0).then_some(())).await?;
    world.wants("web", 1)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(instances(&world.group("web").await?), [] as [Value; 0], "nobody has looked since");

    let detail = json!({"AutoScalingGroupName": "web", "LifecycleHookName": "portcullis", "EC2InstanceId": "i-1"});
    let event =
        json!({"source": "aws.autoscaling", "detail-type": "EC2 Instance-launch Lifecycle Action", "detail": detail});
    let test = json!({"Event": "autoscaling:TEST_NOTIFICATION", "AutoScalingGroupName": "web"});
    let others = json!({"source": "aws.autoscaling", "detail": {"AutoScalingGroupName": "others"}});
    let by_sns = json!({"Type": "Notification", "Message": event.to_string()});
    for body in [test.to_string(), "no JSON".into(), others.to_string(), by_sns.to_string(), detail.to_string()] {
        moto.sqs(&["send-message", "--queue-url", &queue, "--message-body", &body])?;
    }
    // The first notice shows the launch to the controller; what it does from there on it asks for itself.
    let let_in = |web: &Value| (instances(web).first()?["continue_accepted"] == true).then_some(());
    world.until("it is let in", "web", let_in).await?;
    let begun = Stopwatch::start();
    while moto.messages(&queue)? > 0 {
        ensure!(begun.elapsed() < PATIENCE, "{} messages are left", moto.messages(&queue)?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(moto);
    assert_eq!(world.gate.cli(&["status"]).await?.code, Some(0));
    assert_eq!(world.calls()["CompleteLifecycleAction"], (1, 0));
    Ok(())
}
