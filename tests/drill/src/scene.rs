//! One run of a drill: a cloud with a group, its instances made real, a balancer, a client.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use portcullis_cloud::{
    CreateAutoScalingGroup, CreateTargetGroup, Delays, InstanceView, LaunchTemplate, Options, PutLifecycleHook, Server,
    ServerOptions, Transition, UpdateAutoScalingGroup,
};
use tokio::time::{interval, timeout};

use crate::{
    balancer::Balancer,
    client::Client,
    fleet::{Fleet, Image},
    timeline::Timeline,
};

/// The group of every drill.
pub const GROUP: &str = "shop";

/// The name of the gate's hook.
pub const HOOK: &str = "portcullis";

/// A cloud without anything in it yet.
///
/// # Errors
/// When it gets no port.
pub async fn cloud() -> Result<Arc<Server>> {
    let delays = Delays { boot_ms: 300, proceed_ms: 200, register_ms: 100, initial_ms: 200, ..Delays::default() };
    let options = ServerOptions::local(Options { delays, ..Options::default() });
    Ok(Arc::new(Server::start(options).await.context("the simulated cloud gets no port")?))
}

/// A run of a drill. Everything it started ends with it.
#[derive(Debug)]
pub struct Scene {
    /// The simulated cloud.
    pub cloud: Arc<Server>,
    /// The instances.
    pub fleet: Fleet,
    balancer: Arc<Balancer>,
    pages: Vec<(String, String)>,
}

impl Scene {
    /// Makes the group, wanting two instances; `hooks` are its launch hooks.
    ///
    /// # Errors
    /// When the cloud refuses, or the balancer gets no port.
    pub async fn set(
        cloud: Arc<Server>,
        image: Image,
        hooks: Vec<PutLifecycleHook>,
        timeline: &Timeline,
    ) -> Result<Self> {
        let balancer = Arc::new(Balancer::start().await?);
        let pages = image.site.pages();
        let fleet = Fleet::follow(Arc::clone(&cloud), Arc::clone(&balancer), image, timeline.clone());
        {
            let mut cloud = cloud.lock();
            let target_group = CreateTargetGroup {
                name: GROUP.into(),
                protocol: Some("HTTP".into()),
                port: Some(80),
                ..Default::default()
            };
            let arn = cloud.create_target_group(&target_group)?;
            cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
                name: GROUP.into(),
                settings: UpdateAutoScalingGroup {
                    min: Some(1),
                    max: Some(8),
                    desired: Some(2),
                    launch_template: Some(LaunchTemplate { name: Some("shop".into()), ..Default::default() }),
                    zones: vec!["eu-west-1a".into()],
                    ..Default::default()
                },
                target_groups: vec![arn],
                hooks,
                ..Default::default()
            })?;
        }
        Ok(Self { cloud, fleet, balancer, pages })
    }

    /// A client that starts asking as soon as the balancer has a member.
    ///
    /// # Errors
    /// When it gets none.
    pub async fn client(&self) -> Result<Client> {
        let balancer = Arc::clone(&self.balancer);
        self.until("the balancer has a member", MEMBER_PATIENCE, |_| balancer.has_members().then_some(())).await?;
        Ok(Client::start(self.balancer.address, self.pages.clone()))
    }

    /// Asks the cloud for so many instances.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub fn scale_to(&self, desired: u32) -> Result<()> {
        Ok(self.cloud.lock().set_desired_capacity(GROUP, desired)?)
    }

    /// The instances of the group now.
    pub fn instances(&self) -> Vec<InstanceView> {
        self.cloud.lock().instances(Some(GROUP))
    }

    /// Waits until the instances are so, and returns what `seen` made of them.
    ///
    /// # Errors
    /// When that takes longer than `patience`, or an instance could not be made real.
    pub async fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut seen: impl FnMut(&[InstanceView]) -> Option<T>,
    ) -> Result<T> {
        let mut look = interval(LOOK_EVERY);
        let looking = async {
            loop {
                look.tick().await;
                self.fleet.is_whole()?;
                if let Some(seen) = seen(&self.instances()) {
                    return Ok(seen);
                }
            }
        };
        match timeout(patience, looking).await {
            Ok(seen) => seen,
            Err(_) => bail!("{what}: not within {} s; instances: {:?}", patience.as_secs(), states(&self.instances())),
        }
    }
}

/// Ids and states, for messages.
fn states(views: &[InstanceView]) -> Vec<String> {
    views.iter().map(|view| format!("{} {}", view.id, view.state.as_str())).collect()
}

/// The gate's launch hook as our documentation tells people to make it.
pub fn hook() -> PutLifecycleHook {
    PutLifecycleHook { name: HOOK.into(), transition: Some(Transition::Launching), ..Default::default() }
}

/// A new folder for this drill among the machine's temporary ones; removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }

    /// A folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(20);
const MEMBER_PATIENCE: Duration = Duration::from_secs(10);
