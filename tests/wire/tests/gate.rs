//! The gate as a whole: the real controller and agents as processes against the simulated cloud, and what goes wrong
//! between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use portcullis_cloud::{
    ActionResult, Event, Fault, InstanceView, LaunchTemplate, LifecycleAction, PutLifecycleHook, Server,
    UpdateAutoScalingGroup, What,
};
use portcullis_drill::{
    fleet::Image,
    gate::{Gate, Release, Setup},
    scene::{self, GROUP, Scene, Scratch},
    site::{Deploy, Site},
    timeline::Timeline,
    webserver::Kind,
};
use portcullis_wire::programs;

const PATIENCE: Duration = Duration::from_secs(90);

/// A cloud, a controller, a group of two with their agents.
struct World {
    cloud: Arc<Server>,
    gate: Gate,
    scene: Scene,
    _scratch: Scratch,
}

impl World {
    async fn set_up(name: &str, setup: Setup, others: Vec<PutLifecycleHook>) -> Result<Self> {
        let scratch = Scratch::make(name)?;
        let site = Site::write(scratch.join("staging"))?;
        let release = Release::build(programs(), &site, &scratch.join("release"))?;
        let cloud = scene::cloud().await?;
        let gate = Gate::set_up(programs(), &release, &cloud.url(), &scratch.join("gate"), &setup).await?;
        gate.publish(&release).await?;
        gate.promote(&release).await?;
        gate.make_join_token().await?;
        let image = Image { site, web: Kind::Embedded, agent: Some(gate.agent_image()), folder: scratch.join("fleet") };
        let hooks = [scene::hook()].into_iter().chain(others).collect();
        let scene = Scene::set(Arc::clone(&cloud), image, hooks, &Timeline::start()).await?;
        Ok(Self { cloud, gate, scene, _scratch: scratch })
    }

    async fn until_serving(&self, count: usize) -> Result<BTreeSet<String>> {
        self.scene.until(&format!("{count} serve"), PATIENCE, |views| serving(views, count)).await
    }

    /// Scales out by one whose deploy halted, and waits until the controller knows why it is held.
    async fn launch_halted(&self) -> Result<String> {
        let old: BTreeSet<_> = self.scene.instances().into_iter().map(|view| view.id).collect();
        self.scene.fleet.deploys(Deploy::Halted);
        self.scene.scale_to(u32::try_from(old.len())? + 1)?;
        let new = |views: &[InstanceView]| {
            views.iter().find(|view| !old.contains(&view.id) && is_waiting(view)).map(|view| view.id.clone())
        };
        self.scene.until("the new one waits", PATIENCE, new).await
    }

    fn events(&self) -> Vec<Event> {
        self.cloud.lock().events_of_all_time().expect("it remembers all of a test")
    }

    /// How often the cloud was asked for this result by CompleteLifecycleAction, and how often it took it, by instance.
    fn completions(&self, wanted: &str) -> BTreeMap<String, (u32, u32)> {
        let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for event in self.events() {
            if let What::Called { action, instances, result, code, .. } = event.what
                && action == "CompleteLifecycleAction"
                && result.as_deref() == Some(wanted)
            {
                let count = counts.entry(instances.concat()).or_default();
                count.0 += 1;
                count.1 += u32::from(code.is_none());
            }
        }
        counts
    }
}

fn is_waiting(view: &InstanceView) -> bool {
    view.state.as_str() == "Pending:Wait"
}

fn serving(views: &[InstanceView], count: usize) -> Option<BTreeSet<String>> {
    let in_service = views.iter().filter(|view| view.state.as_str() == "InService");
    let ids: BTreeSet<_> = in_service.map(|view| view.id.clone()).collect();
    (ids.len() == count).then_some(ids)
}

fn short_deadline(seconds: u64) -> Setup {
    Setup {
        admission_deadline: Duration::from_secs(seconds),
        limits: "describe_every = \"1s\"\nlisten_min = \"1s\"\n",
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_instance_is_held_then_abandoned_at_its_deadline_and_replaced() -> Result<()> {
    let world = World::set_up("abandon", short_deadline(12), vec![]).await?;
    let proven = world.until_serving(2).await?;
    let broken = world.launch_halted().await?;
    let explained = world.gate.until_explained(&broken, "missing", PATIENCE).await?;
    assert!(explained.contains("index.html") || explained.contains(".html"), "{explained}");
    world.scene.fleet.deploys(Deploy::Whole);
    world
        .scene
        .until("the broken one is gone", PATIENCE, |views| {
            views.iter().all(|view| view.id != broken || view.state.as_str().starts_with("Terminat")).then_some(())
        })
        .await?;
    let all = world.until_serving(3).await?;
    assert!(all.is_superset(&proven) && !all.contains(&broken));
    assert_eq!(world.completions("ABANDON").into_keys().collect::<Vec<_>>(), std::slice::from_ref(&broken));
    let activities = world.cloud.lock().describe_scaling_activities(&Default::default())?.items;
    let told = activities
        .iter()
        .any(|activity| format!("{activity:?}").contains("Lifecycle Action Completed with ABANDON Result"));
    assert!(told, "{activities:?}");
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(events.contains(&broken) && events.contains("rejected"), "{events}");
    Ok(())
}

/// Invariants 6 and 8: killed at any instant, it reaches the same end, with one accepted CONTINUE per wait.
#[tokio::test(flavor = "multi_thread")]
async fn the_controller_is_killed_again_and_again() -> Result<()> {
    let mut world = World::set_up("kill", Setup::default(), vec![]).await?;
    world.until_serving(2).await?;
    let broken = world.launch_halted().await?;
    world.scene.fleet.deploys(Deploy::Whole);
    world.scene.scale_to(6)?;
    // Spread over the time that an admission takes: before the report, between record and CONTINUE, after it.
    for pause_ms in [150, 400, 900, 1_600, 700, 250] {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        world.gate.kill().await?;
        world.gate.restart().await?;
    }
    let admitted = world.until_serving(5).await?;
    assert!(!admitted.contains(&broken));
    for id in &admitted {
        assert_eq!(world.completions("CONTINUE").get(id).map(|(_, taken)| *taken), Some(1), "{id}");
    }
    assert!(!world.completions("CONTINUE").contains_key(&broken));
    assert!(world.scene.instances().iter().any(|view| view.id == broken && is_waiting(view)));
    the_audit_has_it_all(&world.gate, &admitted).await
}

/// Six kills later: what operators did, and a decision with its proof for each that was let in, in the order of their numbers.
async fn the_audit_has_it_all(gate: &Gate, admitted: &BTreeSet<String>) -> Result<()> {
    let exported = gate.cli(&["events", "--after", "0", "--json"]).await?.done()?.stdout;
    let lines: Vec<serde_json::Value> = exported.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["sequence"], index + 1, "a gap");
    }
    let first = |kind: &str, instance: Option<&str>, text: &str| {
        let is_it = |line: &serde_json::Value| {
            line["kind"] == kind
                && instance.is_none_or(|id| line["instance"] == id)
                && line["text"].as_str().is_some_and(|said| said.contains(text))
        };
        lines.iter().position(is_it).unwrap_or_else(|| panic!("no `{kind}` of {instance:?} in:\n{exported}"))
    };
    let acts = [first("published", None, ""), first("promoted", None, "")];
    assert!(acts.is_sorted());
    for id in admitted {
        let told = [acts[1], first("enrolled", Some(id), ""), first("admission", Some(id), "proven: sha256:")];
        assert!(told.is_sorted(), "{id}: {told:?} in:\n{exported}");
        first("verdict", Some(id), "admitted");
    }
    let since = gate.cli(&["events", "--since", "1h", "--json"]).await?.done()?.stdout;
    assert!(since.starts_with(&exported), "what is no older than an hour is all of it");
    Ok(())
}

/// AWS.md, "Completing": an answer that is lost, a call that is throttled, an action that is not active yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_answers_badly() -> Result<()> {
    // Throttled calls back off up to this long: the test need not take a minute to see it.
    let faults = Setup { limits: "describe_every = \"1s\"\nbackoff_max = \"4s\"\n", ..Setup::default() };
    let world = World::set_up("faults", faults, vec![]).await?;
    world.until_serving(2).await?;
    let complete = || Some("CompleteLifecycleAction".to_owned());
    {
        let mut cloud = world.cloud.lock();
        cloud.inject(Fault::LoseAnswer { calls: 1, action: complete() });
        cloud.inject(Fault::Throttle { calls: 6, action: None });
        cloud.inject(Fault::Unavailable { calls: 1, action: complete() });
        cloud.inject(Fault::DescribeLag { lag_ms: 1_500 });
        cloud.inject(Fault::ActionLag { lag_ms: 2_500 });
    }
    world.scene.scale_to(4)?;
    let admitted = world.until_serving(4).await?;
    for id in &admitted {
        assert_eq!(world.completions("CONTINUE").get(id).map(|(_, taken)| *taken), Some(1), "{id}");
    }
    Ok(())
}

/// AWS.md, "Launch": after our CONTINUE the instance stays for the other hook; ours is not sent again, the other is named.
#[tokio::test(flavor = "multi_thread")]
async fn another_hook_holds_on() -> Result<()> {
    let other = PutLifecycleHook { name: "codedeploy".into(), ..scene::hook() };
    let mut world = World::set_up("two-hooks", Setup::default(), vec![other]).await?;
    let waiting = |views: &[InstanceView]| {
        (views.len() == 2 && views.iter().all(is_waiting)).then(|| views.iter().map(|view| view.id.clone()).collect())
    };
    let ids: Vec<String> = world.scene.until("both wait", PATIENCE, waiting).await?;
    for id in &ids {
        let explained = world.gate.until_explained(id, "codedeploy", PATIENCE).await?;
        assert!(explained.contains("admitted"), "{explained}");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    // It remembers across a crash that ours is done.
    world.gate.kill().await?;
    world.gate.restart().await?;
    for id in &ids {
        world.gate.until_explained(id, "codedeploy", PATIENCE).await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (id, (asked, taken)) in world.completions("CONTINUE") {
        assert_eq!((asked, taken), (1, 1), "{id}: sent again and again");
    }
    for id in &ids {
        let action =
            LifecycleAction { group: GROUP.into(), hook: "codedeploy".into(), instance: Some(id.clone()), token: None };
        world.cloud.lock().complete_lifecycle_action(&action, ActionResult::Continue)?;
    }
    world.until_serving(2).await?;
    Ok(())
}

/// Adoption: nothing is held, and what would have been is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_observing_group_holds_nothing_and_tells() -> Result<()> {
    let world = World::set_up("observe", Setup { mode: "observe", ..Setup::default() }, vec![]).await?;
    world.until_serving(2).await?;
    world.scene.fleet.deploys(Deploy::Halted);
    world.scene.scale_to(3)?;
    world.until_serving(3).await?;
    let status = world.gate.cli(&["status"]).await?.stdout;
    assert!(status.contains("observe") && status.contains("would have been held"), "{status}");
    Ok(())
}

/// Fail closed for the new, fail static for the serving.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_controller_waiting_waits_and_serving_serves() -> Result<()> {
    let mut world = World::set_up("absent", Setup::default(), vec![]).await?;
    world.until_serving(2).await?;
    let client = world.scene.client().await?;
    world.gate.kill().await?;
    world.scene.scale_to(3)?;
    let waits = |views: &[InstanceView]| views.iter().find(|view| is_waiting(view)).map(|view| view.id.clone());
    let new = world.scene.until("the third waits", PATIENCE, waits).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(world.scene.instances().iter().any(|view| view.id == new && is_waiting(view)), "it must wait");
    let tally = client.tally();
    assert!(tally.asked > 100 && tally.failed == 0, "{tally:?}");
    world.gate.restart().await?;
    world.until_serving(3).await?;
    Ok(())
}

fn standing_by(views: &[InstanceView], id: &str) -> bool {
    views.iter().any(|view| view.id == id && view.state.as_str() == "Standby")
}

impl World {
    /// A file that the release does not have; agents notice at once.
    fn drift(&self, id: &str) -> Result<std::path::PathBuf> {
        let file = self.scene.fleet.root(id).join("var/www/shop/left-behind.php");
        std::fs::write(&file, "<?php\n")?;
        Ok(file)
    }

    /// How often the cloud was asked for that, of whom.
    fn called(&self, wanted: &str) -> Vec<String> {
        let of = |event: Event| match event.what {
            What::Called { action, instances, .. } if action == wanted => Some(instances.concat()),
            _ => None,
        };
        self.events().into_iter().filter_map(of).collect()
    }
}

const STANDBY: Setup = Setup {
    mode: "enforce",
    admission_deadline: Duration::from_secs(1_200),
    group: "on_drift = \"standby\"\nwithdraw_after = \"2s\"\nreturn_after = \"3s\"\n",
    limits: "describe_every = \"1s\"\n",
    aws: String::new(),
    balancers: Vec::new(),
    credentials: None,
};

/// One drifts: into standby, without a request cut off, and back when it has proven itself again; also across a crash. What an
/// operator put in standby stays there.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_drifts_is_withdrawn_and_comes_back_on_proof() -> Result<()> {
    let mut world = World::set_up("standby", STANDBY, vec![]).await?;
    world.until_serving(2).await?;
    world.scene.scale_to(3)?;
    let ids: Vec<_> = world.until_serving(3).await?.into_iter().collect();
    let (drifted, by_hand) = (&ids[0], &ids[2]);
    let client = world.scene.client().await?;
    world.cloud.lock().enter_standby(GROUP, std::slice::from_ref(by_hand), true)?;
    let file = world.drift(drifted)?;
    world
        .scene
        .until("it stands by", PATIENCE, |views| {
            (standing_by(views, drifted) && standing_by(views, by_hand)).then_some(())
        })
        .await?;
    let explained = world.gate.until_explained(drifted, "out of traffic", PATIENCE).await?;
    assert!(explained.contains("withdrawn") && explained.contains("left-behind.php"), "{explained}");
    assert_eq!(world.called("EnterStandby"), std::slice::from_ref(drifted));
    // Nothing is launched in its place.
    assert_eq!(world.scene.instances().len(), 3);
    world.gate.kill().await?;
    world.gate.restart().await?;
    std::fs::remove_file(file)?;
    let back = |views: &[InstanceView]| serving(views, 2).filter(|ids| ids.contains(drifted));
    world.scene.until("it is back", PATIENCE, back).await?;
    world.gate.until_explained(drifted, "admitted", PATIENCE).await?;
    assert_eq!(world.called("ExitStandby"), std::slice::from_ref(drifted));
    assert!(standing_by(&world.scene.instances(), by_hand), "it is the operator's");
    let tally = client.tally();
    assert!(tally.asked > 100 && tally.failed == 0, "{tally:?}");
    Ok(())
}

/// Many drift alike: none is taken out before an operator says so, and then no more than the group may lose.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_drift_alike_stay_until_an_operator_decides() -> Result<()> {
    let world = World::set_up("alike", STANDBY, vec![]).await?;
    world.scene.scale_to(4)?;
    let ids: Vec<_> = world.until_serving(4).await?.into_iter().collect();
    for id in &ids[..2] {
        world.drift(id)?;
    }
    for id in &ids[..2] {
        world.gate.until_explained(id, "many fail for one cause (app: extra)", PATIENCE).await?;
    }
    let status = world.gate.cli(&["status"]).await?.stdout;
    assert!(status.contains("2 that serve fail for one cause"), "{status}");
    assert!(world.called("EnterStandby").is_empty());
    let refused = world.gate.cli(&["withdraw", "nobody", "--reason", "I looked"]).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    world.gate.cli(&["withdraw", GROUP, "--reason", "I looked"]).await?.done()?;
    let one = |views: &[InstanceView]| ids[..2].iter().find(|id| standing_by(views, id)).cloned();
    let first = world.scene.until("one stands by", PATIENCE, one).await?;
    let other = if first == ids[0] { &ids[1] } else { &ids[0] };
    let explained = world.gate.until_explained(other, "2 would not serve, 1 may not", PATIENCE).await?;
    assert!(explained.contains("admitted"), "{explained}");
    assert_eq!(world.called("EnterStandby"), [first]);
    Ok(())
}

const ON_BYPASS: Setup = Setup {
    admission_deadline: Duration::from_secs(12),
    group: "on_bypass = \"standby\"\nwithdraw_after = \"2s\"\nreturn_after = \"3s\"\n",
    limits: "describe_every = \"1s\"\nlisten_min = \"1s\"\n",
    mode: "enforce",
    aws: String::new(),
    balancers: Vec::new(),
    credentials: None,
};

/// Somebody completes the hook by hand, for one whose deploy halted: it serves, and is told; not proven in the time that it would have
/// had at the gate, it is taken out of traffic, and comes back when its deploy is done.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_came_past_the_gate_proves_itself_or_leaves() -> Result<()> {
    let mut world = World::set_up("bypass", ON_BYPASS, vec![]).await?;
    world.until_serving(2).await?;
    let broken = world.launch_halted().await?;
    world.gate.until_explained(&broken, "missing", PATIENCE).await?;
    let (group, hook, instance) = (GROUP.into(), scene::hook().name, Some(broken.clone()));
    let action = LifecycleAction { group, hook, instance, token: None };
    world.cloud.lock().complete_lifecycle_action(&action, ActionResult::Continue)?;
    world.until_serving(3).await?;
    world.gate.until_explained(&broken, "in service without having passed the gate", PATIENCE).await?;
    assert!(world.called("EnterStandby").is_empty(), "it has its time");
    world.scene.until("it stands by", PATIENCE, |views| standing_by(views, &broken).then_some(())).await?;
    let explained = world.gate.until_explained(&broken, "out of traffic", PATIENCE).await?;
    assert!(explained.contains("without having passed the gate") && explained.contains("missing"), "{explained}");
    world.gate.kill().await?;
    world.gate.restart().await?;
    world.scene.fleet.finish_deploy(&broken)?;
    world.until_serving(3).await?;
    world.gate.until_explained(&broken, "in service without having passed the gate", PATIENCE).await?;
    assert_eq!(world.called("EnterStandby"), std::slice::from_ref(&broken));
    assert_eq!(world.called("ExitStandby"), std::slice::from_ref(&broken));
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(events.contains("never passed the gate, and let be") && events.contains("is withdrawn"), "{events}");
    Ok(())
}

/// A fix that needs a new image: the held one of the old launch template makes room long before its deadline, and not at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_one_of_an_old_template_makes_room_for_the_fix() -> Result<()> {
    let setup = Setup {
        group: "stall_after = \"5s\"\n",
        limits: "describe_every = \"1s\"\nlisten_min = \"1s\"\n",
        ..Setup::default()
    };
    let world = World::set_up("outdated", setup, vec![]).await?;
    let proven = world.until_serving(2).await?;
    let broken = world.launch_halted().await?;
    world.gate.until_explained(&broken, "missing", PATIENCE).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(world.completions("ABANDON").is_empty(), "its deadline is far, and nothing would be better");
    world.scene.fleet.deploys(Deploy::Whole);
    let template = LaunchTemplate { name: Some("shop".into()), version: Some("2".into()), ..LaunchTemplate::default() };
    world.cloud.lock().update_auto_scaling_group(
        GROUP,
        &UpdateAutoScalingGroup { launch_template: Some(template), ..UpdateAutoScalingGroup::default() },
    )?;
    let all = world.until_serving(3).await?;
    assert!(all.is_superset(&proven) && !all.contains(&broken));
    assert_eq!(world.completions("ABANDON").into_keys().collect::<Vec<_>>(), std::slice::from_ref(&broken));
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(events.contains("its group launches from"), "{events}");
    Ok(())
}

/// A hook that is not there, a release that is not promoted: said, not guessed.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_release_nothing_is_admitted() -> Result<()> {
    let scratch = Scratch::make("no-release")?;
    let site = Site::write(scratch.join("staging"))?;
    let release = Release::build(programs(), &site, &scratch.join("release"))?;
    let cloud = scene::cloud().await?;
    let gate = Gate::set_up(programs(), &release, &cloud.url(), &scratch.join("gate"), &Setup::default()).await?;
    gate.make_join_token().await?;
    let image = Image { site, web: Kind::Embedded, agent: Some(gate.agent_image()), folder: scratch.join("fleet") };
    let scene = Scene::set(Arc::clone(&cloud), image, vec![scene::hook()], &Timeline::start()).await?;
    let waits = |views: &[InstanceView]| views.iter().find(|view| is_waiting(view)).map(|view| view.id.clone());
    let new = scene.until("one waits", PATIENCE, waits).await?;
    gate.until_explained(&new, "no release", PATIENCE).await?;
    gate.publish(&release).await?;
    assert!(scene.instances().iter().all(|view| view.state.as_str() != "InService"));
    gate.promote(&release).await?;
    scene.until("two serve", PATIENCE, |views| serving(views, 2)).await?;
    Ok(())
}
