//! The survivors guard with real parts: a deploy halts, a new instance is held, and then fewer are wanted. The cloud takes the oldest
//! that serves, unless it is protected.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use portcullis::api::{ProtectedBy, Status};
use portcullis_cloud::{ForProtected, InstanceView, Server};
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

/// Quick enough for a test: what an earlier life may have sent is waited for as long as a call may take.
const QUICK: &str = "describe_every = \"1s\"\ncall_timeout = \"3s\"\npropagation_max = \"5s\"\n";

/// Two that serve and were proven, and a third that is held since its deploy halted.
struct World {
    cloud: Arc<Server>,
    gate: Gate,
    scene: Scene,
    /// Oldest first.
    old: Vec<String>,
    held: String,
    _scratch: Scratch,
}

impl World {
    async fn set_up(name: &str, group: &'static str) -> Result<Self> {
        let scratch = Scratch::make(name)?;
        let site = Site::write(scratch.join("staging"))?;
        let release = Release::build(programs(), &site, &scratch.join("release"))?;
        let cloud = scene::cloud().await?;
        let setup = Setup { limits: QUICK, group, ..Setup::default() };
        let gate = Gate::set_up(programs(), &release, &cloud.url(), &scratch.join("gate"), &setup).await?;
        gate.publish(&release).await?;
        gate.promote(&release).await?;
        gate.make_join_token().await?;
        let image = Image { site, web: Kind::Embedded, agent: Some(gate.agent_image()), folder: scratch.join("fleet") };
        let scene = Scene::set(Arc::clone(&cloud), image, vec![scene::hook()], &Timeline::start()).await?;
        let serving = |views: &[InstanceView]| (of_state(views, "InService").len() == 2).then(|| by_age(views));
        let old = scene.until("two serve", PATIENCE, serving).await?;
        Ok(Self { cloud, gate, scene, old, held: String::new(), _scratch: scratch })
    }

    /// One more is wanted, and its deploy halts.
    async fn halt(&mut self) -> Result<()> {
        self.scene.fleet.deploys(Deploy::Halted);
        self.scene.scale_to(3)?;
        let waits = |views: &[InstanceView]| of_state(views, "Pending:Wait").into_iter().next();
        self.held = self.scene.until("the third waits", PATIENCE, waits).await?;
        self.gate.until_explained(&self.held, "missing", PATIENCE).await?;
        Ok(())
    }

    async fn until_protected(&self, wanted: &[&String]) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.iter().map(|id| (*id).clone()).collect();
        let protected = |views: &[InstanceView]| {
            let protected = views.iter().filter(|view| view.protected).map(|view| view.id.clone());
            (protected.collect::<BTreeSet<_>>() == wanted).then_some(())
        };
        self.scene.until(&format!("protected: {wanted:?}"), PATIENCE, protected).await
    }

    /// Fewer are wanted again; who is left when as many are there.
    async fn left_after_scale_in(&self) -> Result<BTreeSet<String>> {
        self.scene.scale_to(2)?;
        let left = |views: &[InstanceView]| (views.len() == 2).then(|| by_age(views).into_iter().collect());
        self.scene.until("two are left", PATIENCE, left).await
    }

    async fn until_status_says(&self, word: &str) -> Result<()> {
        let asking = async {
            while !self.gate.cli(&["status"]).await?.done()?.stdout.contains(word) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("status says nothing of `{word}`"))?
    }

    fn refresh(&self) -> Option<&'static str> {
        self.cloud.lock().groups()[GROUP].refreshes.last().map(|refresh| refresh.status)
    }

    /// Waits until status says who protects each of these.
    async fn until_told(&self, by: ProtectedBy, ids: &[&String]) -> Result<()> {
        let asking = async {
            loop {
                let said = self.gate.cli(&["status", "--json"]).await?.done()?;
                let status: Status = serde_json::from_str(&said.stdout).context("status is JSON")?;
                let mut all = status.groups.iter().flat_map(|group| &group.instances);
                if all
                    .by_ref()
                    .filter(|one| one.protected_by == Some(by))
                    .map(|one| &one.instance.0)
                    .eq(ids.iter().copied())
                {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("{by:?} of {ids:?} is not told"))?
    }
}

fn of_state(views: &[InstanceView], state: &str) -> Vec<String> {
    views.iter().filter(|view| view.state.as_str() == state).map(|view| view.id.clone()).collect()
}

fn by_age(views: &[InstanceView]) -> Vec<String> {
    let mut views: Vec<_> = views.iter().map(|view| (view.launched_ms, view.id.clone())).collect();
    views.sort();
    views.into_iter().map(|(_, id)| id).collect()
}

/// The incident: without the guard, an old one that works is taken out, and the new one that never will stays.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_guard_an_old_one_goes() -> Result<()> {
    let mut world = World::set_up("guard-off", "survivors_guard = \"off\"\n").await?;
    world.halt().await?;
    let left = world.left_after_scale_in().await?;
    assert!(left.contains(&world.held) && !left.is_superset(&world.old.iter().cloned().collect()), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_guard_the_new_one_goes_and_nothing_stays_protected() -> Result<()> {
    let mut world = World::set_up("guard-on", "").await?;
    world.halt().await?;
    world.until_protected(&world.old.iter().collect::<Vec<_>>()).await?;
    let mut old: Vec<_> = world.old.iter().collect();
    old.sort();
    world.until_told(ProtectedBy::SurvivorsGuard, &old).await?;
    let left = world.left_after_scale_in().await?;
    assert_eq!(left, world.old.iter().cloned().collect());
    world.until_protected(&[]).await?;
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(
        events.contains("protect from scale-in: ") && events.contains("no longer protect from scale-in: "),
        "{events}"
    );
    Ok(())
}

/// What somebody else protected stays so, also when the controller is killed while it protects the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_protected_stays_so_and_a_crash_forgets_nothing() -> Result<()> {
    let mut world = World::set_up("guard-crash", "").await?;
    let theirs = world.old[1].clone();
    world.until_protected(&[]).await?;
    world.cloud.lock().set_instance_protection(GROUP, std::slice::from_ref(&theirs), true)?;
    world.halt().await?;
    world.until_protected(&[&world.old[0], &theirs]).await?;
    world.gate.kill().await?;
    world.scene.scale_to(2)?;
    world.scene.until("two are left", PATIENCE, |views| (views.len() == 2).then_some(())).await?;
    world.gate.restart().await?;
    world.until_protected(&[&theirs]).await?;
    world.until_told(ProtectedBy::SomebodyElse, &[&theirs]).await?;
    Ok(())
}

/// `always` protects one of two, which the refresh would wait for; it stands aside, and is back when the refresh is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_goes_well_is_let_through() -> Result<()> {
    let world = World::set_up("guard-refresh", "survivors_guard = \"always\"\n").await?;
    let one = |views: &[InstanceView]| (views.iter().filter(|view| view.protected).count() == 1).then_some(());
    world.scene.until("one is protected", PATIENCE, one).await?;
    world.cloud.lock().start_instance_refresh(GROUP, ForProtected::Wait)?;
    world.until_status_says("the survivors guard protects nobody meanwhile").await?;
    let over = |views: &[InstanceView]| {
        let new = of_state(views, "InService").into_iter().filter(|id| !world.old.contains(id)).count();
        (new == 2 && world.refresh() == Some("Successful")).then_some(())
    };
    world.scene.until("all are replaced", PATIENCE, over).await?;
    world.scene.until("one is protected again", PATIENCE, one).await
}

/// A refresh whose first replacement fails stops there, and it is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_goes_wrong_is_stopped_and_named() -> Result<()> {
    let world = World::set_up("guard-refresh-bad", "").await?;
    world.scene.fleet.deploys(Deploy::Halted);
    world.cloud.lock().start_instance_refresh(GROUP, ForProtected::Wait)?;
    let protected = |views: &[InstanceView]| {
        let kept: Vec<_> = views.iter().filter(|view| view.protected).map(|view| view.id.clone()).collect();
        (kept.len() == 1 && world.old.contains(&kept[0])).then_some(())
    };
    world.scene.until("the one that is left is protected", PATIENCE, protected).await?;
    world.until_status_says("an instance refresh (0 % done").await?;
    assert_eq!(world.refresh(), Some("InProgress"));
    Ok(())
}
