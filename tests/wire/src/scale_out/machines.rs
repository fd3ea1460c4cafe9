//! The instances, made real: for each that the cloud launches a root directory, a road and an agent's process; and what was
//! true of its files at which time, which nobody else is asked for.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use portcullis_cloud::{Event, Server, What};
use portcullis_drill::{
    gate::AgentImage,
    site::{Deploy, Site},
};
use tokio::{process::Child, task::JoinHandle, time::sleep};

use super::{
    fate::{Fate, Plan},
    lies::Rumours,
    random::Random,
    road::{Heard, Road},
};

/// What every machine is made from.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) site: Site,
    pub(crate) agent: AgentImage,
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    /// So many are there before the scale-out, and good.
    pub(crate) first: u32,
    /// The others start over this time.
    pub(crate) spread_ms: u64,
}

/// All machines; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Machines {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What is known of one in the end.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) fate: Fate,
    /// Its plan has been carried out.
    pub(crate) is_settled: bool,
    /// It was terminated.
    pub(crate) is_gone: bool,
    /// From when on all files of the release were there, and from when on not.
    pub(crate) truth: Vec<(u64, bool)>,
    pub(crate) heard: Vec<Heard>,
    /// How often its content was replaced.
    pub(crate) replaced: u32,
}

#[derive(Debug)]
struct Shared {
    cloud: Arc<Server>,
    image: Image,
    rumours: Rumours,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    machines: BTreeMap<String, Machine>,
    random: Random,
    broken: Option<String>,
    is_over: bool,
}

#[derive(Debug)]
struct Machine {
    number: u32,
    plan: Plan,
    is_settled: bool,
    is_gone: bool,
    truth: Vec<(u64, bool)>,
    replaced: u32,
    road: Option<Road>,
    agent: Option<Child>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Machines {
    pub(crate) fn follow(cloud: Arc<Server>, image: Image) -> Self {
        let random = Random::new(image.seed);
        let state = State { machines: BTreeMap::new(), random, broken: None, is_over: false };
        let shared = Arc::new(Shared { cloud, image, rumours: Rumours::default(), state: Mutex::new(state) });
        let task = tokio::spawn(follow(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// What became of each so far.
    ///
    /// # Errors
    /// When one could not be made real.
    pub(crate) fn lives(&self) -> Result<BTreeMap<String, Life>> {
        let state = self.shared.lock();
        if let Some(broken) = &state.broken {
            anyhow::bail!("{broken}");
        }
        let life = |machine: &Machine| Life {
            fate: machine.plan.fate,
            is_settled: machine.is_settled,
            is_gone: machine.is_gone,
            truth: machine.truth.clone(),
            heard: machine.road.as_ref().map(Road::heard).unwrap_or_default(),
            replaced: machine.replaced,
        };
        Ok(state.machines.iter().map(|(id, machine)| (id.clone(), life(machine))).collect())
    }
}

impl Drop for Machines {
    /// Ends every machine before it returns: tasks may hold on to what they share for a while longer.
    fn drop(&mut self) {
        self.task.abort();
        let mut state = self.shared.lock();
        state.is_over = true;
        state.machines.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a machine that is still there.
    fn with<T>(&self, id: &str, change: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        self.lock().machines.get_mut(id).map(change)
    }

    fn root(&self, id: &str) -> PathBuf {
        self.image.folder.join(id)
    }

    /// Puts on record that the files are, or are not, as the release wants them.
    fn is_now(&self, id: &str, whole: bool) {
        let now_ms = self.cloud.lock().now_ms();
        self.with(id, |machine| machine.truth.push((now_ms, whole)));
    }

    fn boots(self: &Arc<Self>, id: &str) {
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        let number = u32::try_from(state.machines.len()).unwrap_or(u32::MAX) + 1;
        let image = &self.image;
        let plan = if number <= image.first { Plan::good() } else { Plan::of(image.seed, number, image.spread_ms) };
        let (road, agent, truth) = (None, None, Vec::new());
        let task = Some(tokio::spawn(live(Arc::clone(self), id.to_owned(), plan, number)));
        let machine =
            Machine { number, plan, is_settled: false, is_gone: false, truth, replaced: 0, road, agent, task };
        state.machines.insert(id.to_owned(), machine);
    }

    /// Another root volume under the old id: other files and another boot. What the agent keeps lies on a volume of its own.
    fn is_replaced(self: &Arc<Self>, id: &str) {
        self.is_now(id, false);
        let mut state = self.lock();
        let State { machines, random, .. } = &mut *state;
        let Some(machine) = machines.get_mut(id) else { return };
        machine.agent = None;
        if let Some(task) = machine.task.take() {
            task.abort();
        }
        (machine.plan, machine.is_settled) = (Plan::replaced(random), false);
        machine.replaced += 1;
        for part in ["var", "etc"] {
            // It is written anew a moment later; what would be left shows as a difference.
            let _ = fs::remove_dir_all(self.root(id).join(part));
        }
        machine.task = Some(tokio::spawn(live(Arc::clone(self), id.to_owned(), machine.plan, machine.number)));
    }

    fn ends(&self, id: &str) {
        self.is_now(id, false);
        self.with(id, |machine| {
            machine.agent = None;
            machine.is_gone = true;
            if let Some(task) = machine.task.take() {
                task.abort();
            }
        });
    }
}

async fn follow(shared: Arc<Shared>) {
    let (mut changes, mut after) = (shared.cloud.changes(), 0);
    loop {
        let page = shared.cloud.lock().events_since(after);
        if page.events.is_empty() && changes.changed().await.is_err() {
            return;
        }
        after = page.next;
        for Event { what, .. } in page.events {
            match what {
                What::Launched { instance } => shared.boots(&instance.id),
                What::RootVolumeReplaced { instance } => shared.is_replaced(&instance.id),
                What::StateChanged { instance, to, .. } if to.as_str() == "Terminated" => shared.ends(&instance),
                _ => {}
            }
        }
    }
}

async fn live(shared: Arc<Shared>, id: String, plan: Plan, number: u32) {
    if let Err(error) = carried_out(&shared, &id, plan, number).await {
        shared.lock().broken.get_or_insert(format!("{id}: {error:#}"));
    }
    shared.with(&id, |machine| machine.is_settled = true);
}

async fn carried_out(shared: &Shared, id: &str, plan: Plan, number: u32) -> Result<()> {
    sleep(Duration::from_millis(plan.boot_ms)).await;
    let (site, root) = (&shared.image.site, shared.root(id));
    let whole = deployed(site, &root, plan.fate)?;
    shared.is_now(id, whole);
    if plan.fate == Fate::Mute {
        return Ok(());
    }
    let mut passed = start_agent(shared, id, number, plan.fate).await?;
    match plan.fate {
        Fate::Whole | Fate::Halted | Fate::OtherRelease | Fate::Mute | Fate::Lies => {}
        Fate::Late { after_ms } => {
            sleep(Duration::from_millis(after_ms)).await;
            site.deploy(&root, Deploy::Whole)?;
            shared.is_now(id, true);
        }
        Fate::Relapses { after_ms, heals_after_ms } => {
            passed.wait_for(|passed| *passed).await.context("its road is closed")?;
            sleep(Duration::from_millis(after_ms)).await;
            fs::remove_file(root.join(PAGE))?;
            shared.is_now(id, false);
            if let Some(heals_after_ms) = heals_after_ms {
                sleep(Duration::from_millis(heals_after_ms)).await;
                site.deploy(&root, Deploy::Whole)?;
                shared.is_now(id, true);
            }
        }
    }
    Ok(())
}

/// Brings what its fate says; whether that is the release.
fn deployed(site: &Site, root: &Path, fate: Fate) -> Result<bool> {
    let (deploy, whole) = match fate {
        Fate::Whole | Fate::Relapses { .. } | Fate::Mute => (Deploy::Whole, true),
        Fate::OtherRelease => (Deploy::Whole, false),
        Fate::Late { .. } | Fate::Halted | Fate::Lies => (Deploy::Halted, false),
    };
    site.deploy(root, deploy)?;
    if fate == Fate::OtherRelease {
        fs::write(root.join(PAGE), "<h1>of another release</h1>\n")?;
    }
    Ok(whole)
}

async fn start_agent(shared: &Shared, id: &str, number: u32, fate: Fate) -> Result<tokio::sync::watch::Receiver<bool>> {
    let image = &shared.image;
    if shared.with(id, |machine| machine.road.is_none()).unwrap_or_default() {
        let controller = image.agent.controller().trim_start_matches("http://").parse()?;
        let road = Road::open(Arc::clone(&shared.cloud), controller, number, shared.rumours.clone()).await?;
        shared.with(id, |machine| machine.road = Some(road));
    }
    let root = shared.root(id);
    let started = shared.with(id, |machine| {
        let road = machine.road.as_ref().context("no road")?;
        if fate == Fate::Lies {
            road.lies_with(root.join("run/agent/state/agent.key"));
        }
        let agent = image.agent.clone().with_controller(road.url.clone());
        let passed = road.passed();
        machine.agent = Some(agent.start(id, &root)?);
        anyhow::Ok(passed)
    });
    started.context("it is gone")?
}

/// One page of the site, in the last part of it that is deployed.
const PAGE: &str = "var/www/shop/index.html";
