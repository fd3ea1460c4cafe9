//! The instances of a group, made real: for each that the cloud launches a root directory with what its deploy brought, a
//! web server on it, and whatever else its image starts; all ended when the cloud terminates it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use portcullis_cloud::{InstanceView, Server, TargetState};
use tokio::{process::Child, task::JoinHandle, time::interval};

use crate::{
    balancer::Balancer,
    gate::AgentImage,
    site::{Deploy, Site},
    timeline::{Timeline, Tone},
    webserver::{Kind, WebServer},
};

/// How often the fleet looks at the cloud.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The running instances of one group.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What every instance is made from.
#[derive(Debug)]
pub struct Image {
    /// The application.
    pub site: Site,
    /// The web server.
    pub web: Kind,
    /// The agent, if it is baked in.
    pub agent: Option<AgentImage>,
    /// Where instances get their root directories.
    pub folder: PathBuf,
}

#[derive(Debug)]
struct Shared {
    image: Image,
    timeline: Timeline,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    deploy: Deploy,
    machines: BTreeMap<String, Machine>,
    broken: Option<String>,
    /// Nothing is started any more.
    is_over: bool,
}

/// One instance, running. Its agent is killed with it.
#[derive(Debug)]
struct Machine {
    root: PathBuf,
    web: WebServer,
    _agent: Option<Child>,
}

impl Fleet {
    /// Follows every group of `cloud`; `balancer` gets the healthy members of its target groups.
    pub fn follow(cloud: Arc<Server>, balancer: Arc<Balancer>, image: Image, timeline: Timeline) -> Self {
        let state = State { deploy: Deploy::Whole, machines: BTreeMap::new(), broken: None, is_over: false };
        let shared = Arc::new(Shared { image, timeline, state: Mutex::new(state) });
        let task = tokio::spawn(follow(cloud, balancer, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// From now on, the deploy on a new instance goes like this.
    pub fn deploys(&self, deploy: Deploy) {
        self.shared.lock().deploy = deploy;
    }

    /// Runs the deploy on a running instance once more, to its end.
    ///
    /// # Errors
    /// When there is no such instance, or a file cannot be copied.
    pub fn finish_deploy(&self, instance: &str) -> Result<()> {
        let state = self.shared.lock();
        let machine = state.machines.get(instance).with_context(|| format!("{instance} does not run"))?;
        self.shared.image.site.deploy(&machine.root, Deploy::Whole)?;
        machine.web.reload()
    }

    /// Where an instance's root directory is.
    pub fn root(&self, instance: &str) -> PathBuf {
        self.shared.image.folder.join(instance)
    }

    /// An error if an instance could not be made real: the drill then proves nothing.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn is_whole(&self) -> Result<()> {
        self.shared.lock().broken.take().map_or(Ok(()), |broken| Err(anyhow::anyhow!(broken)))
    }
}

impl Drop for Fleet {
    /// Ends every instance before it returns: the task may hold on to them for a while longer.
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
}

async fn follow(cloud: Arc<Server>, balancer: Arc<Balancer>, shared: Arc<Shared>) {
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let views = cloud.lock().instances(None);
        for view in &views {
            let known = shared.lock().machines.contains_key(&view.id);
            if !known && let Err(error) = start(&shared, view).await {
                shared.lock().broken.get_or_insert(format!("{}: {error:#}", view.id));
            }
        }
        end_all_but(&shared, &views);
        balancer.follow(members(&shared, &views));
    }
}

async fn start(shared: &Shared, view: &InstanceView) -> Result<()> {
    let image = &shared.image;
    let root = image.folder.join(&view.id);
    let deploy = shared.lock().deploy;
    image.site.deploy(&root, deploy)?;
    let web = WebServer::start(&image.web, &root).await?;
    let agent = image.agent.as_ref().map(|agent| agent.start(&view.id, &root)).transpose()?;
    let (tone, what) = match deploy {
        Deploy::Whole => (Tone::Plain, "its deploy ran to the end"),
        Deploy::Halted => (Tone::Bad, "its deploy halted half-way; its web server answers all the same"),
    };
    shared.timeline.say(tone, &format!("{} launched: {what}", view.id));
    let machine = Machine { root, web, _agent: agent };
    let mut state = shared.lock();
    if !state.is_over {
        state.machines.insert(view.id.clone(), machine);
    }
    Ok(())
}

fn end_all_but(shared: &Shared, views: &[InstanceView]) {
    let running: BTreeSet<&str> = views.iter().map(|view| view.id.as_str()).collect();
    let gone: Vec<(String, Machine)> =
        shared.lock().machines.extract_if(.., |id, _| !running.contains(id.as_str())).collect();
    for (id, machine) in gone {
        drop(machine);
        shared.timeline.say(Tone::Plain, &format!("{id} terminated"));
    }
}

/// The addresses that the target groups hold healthy, in the order of their instances.
fn members(shared: &Shared, views: &[InstanceView]) -> Vec<SocketAddr> {
    let state = shared.lock();
    let serving = views.iter().filter(|view| is_healthy(view));
    serving.filter_map(|view| state.machines.get(&view.id)).map(|machine| machine.web.address).collect()
}

/// Whether any target group holds this instance.
pub fn is_registered(view: &InstanceView) -> bool {
    view.targets.iter().any(|target| matches!(target.state, TargetState::Initial | TargetState::Healthy))
}

/// Whether any target group holds it healthy: only then does it get requests.
pub fn is_healthy(view: &InstanceView) -> bool {
    view.targets.iter().any(|target| target.state == TargetState::Healthy)
}
