//! A scale-out of hundreds, end to end: the real controller, a real agent for each instance, the simulated cloud; while the
//! cloud misbehaves and the controller is killed again and again. `cargo scale-out` runs it for as many seeds as one likes.
//!
//! The seed decides what becomes of each instance, what goes wrong, and when the controller is killed. Time is the machine's,
//! so that the same seed is the same plan, not the same run to the millisecond.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_cloud::{
    CreateAutoScalingGroup, CreateTargetGroup, Delays, Event, InstanceView, LaunchTemplate, Options, Rate, Server,
    ServerOptions, UpdateAutoScalingGroup,
};
use portcullis_drill::{
    gate::{Gate, Release, Setup},
    programs::Programs,
    scene::{self, GROUP, Scratch},
    site::Site,
};
use tokio::time::{interval, sleep, timeout};

mod chaos;
mod fate;
mod figures;
mod judge;
mod lies;
mod machines;
#[path = "../../simulation/random.rs"]
mod random;
mod road;

pub use figures::Figures;

use self::{
    machines::{Image, Machines},
    random::Random,
};

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct ScaleOut {
    /// How many instances there are in the end.
    pub instances: u32,
    /// Decides everything that is not time.
    pub seed: u64,
    /// What goes wrong meanwhile.
    pub trouble: Trouble,
    /// Further lines under `[limits]` of the controller's configuration.
    pub limits: &'static str,
    /// Longer than this, and it did not settle.
    pub patience: Duration,
}

/// What goes wrong, besides instances that are not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// The controller is killed so often, from … to ….
    pub kills: (u64, u64),
    /// The cloud throttles, fails, loses, delays, and shows what was.
    pub faults: bool,
}

impl ScaleOut {
    /// Runs it. What it started ends with it, whichever way.
    ///
    /// # Errors
    /// When a part does not start, or a promise is broken, with each that is.
    pub async fn run(&self, programs: &Programs) -> Result<Figures> {
        let scratch = Scratch::make(&format!("scale-out-{}", self.seed))?;
        let site = Site::write_small(scratch.join("staging"))?;
        let release = Release::build(programs, &site, &scratch.join("release"))?;
        let mut random = Random::new(self.seed);
        let cloud = self.cloud(&mut random).await?;
        let setup = self.setup(&mut random);
        let mut gate = Gate::set_up(programs, &release, &cloud.url(), &scratch.join("gate"), &setup).await?;
        gate.publish(&release).await?;
        gate.promote(&release).await?;
        gate.make_join_token().await?;
        let agent = gate.agent_image().without_watches();
        let (first, spread_ms) = (self.first(), u64::try_from(self.spread().as_millis())?);
        let image = Image { site, agent, folder: scratch.join("fleet"), seed: self.seed, first, spread_ms };
        let machines = Machines::follow(Arc::clone(&cloud), image);
        self.scale_out(&cloud, &mut gate, &machines, random, &scratch.join("gate")).await
    }

    /// In some of the runs whoever is not ready in time is given up, and others come in its place.
    fn setup(&self, random: &mut Random) -> Setup {
        let setup = Setup { limits: self.limits, ..Setup::default() };
        if !random.percent(40) {
            return setup;
        }
        let admission_deadline = self.spread() * 2 + Duration::from_secs(20);
        Setup { admission_deadline, group: "abandon_interval_min = \"3s\"\nbreaker_failures = 1000\n", ..setup }
    }

    /// The time over which agents start.
    fn spread(&self) -> Duration {
        START_EVERY * self.instances
    }

    /// Some are there before, and serve.
    fn first(&self) -> u32 {
        (self.instances / 20).max(2)
    }

    async fn cloud(&self, random: &mut Random) -> Result<Arc<Server>> {
        let delays = Delays { boot_ms: 300, proceed_ms: 200, register_ms: 100, initial_ms: 200, ..Delays::default() };
        // Tight for a fleet of this size in some of the runs.
        let rate = (random.percent(33) && self.trouble.faults).then_some(Rate { burst: 40, per_second: 12 });
        let options = Options { seed: self.seed, delays, rate, ..Options::default() };
        let server = Server::start(ServerOptions::local(options)).await?;
        {
            let mut cloud = server.lock();
            let arn = cloud.create_target_group(&CreateTargetGroup { name: GROUP.into(), ..Default::default() })?;
            cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
                name: GROUP.into(),
                settings: UpdateAutoScalingGroup {
                    min: Some(1),
                    max: Some(self.instances),
                    desired: Some(self.first()),
                    launch_template: Some(LaunchTemplate { name: Some(GROUP.into()), ..Default::default() }),
                    zones: vec!["eu-west-1a".into()],
                    ..Default::default()
                },
                target_groups: vec![arn],
                hooks: vec![scene::hook()],
                ..Default::default()
            })?;
        }
        Ok(Arc::new(server))
    }

    async fn scale_out(
        &self,
        cloud: &Arc<Server>,
        gate: &mut Gate,
        machines: &Machines,
        mut random: Random,
        folder: &Path,
    ) -> Result<Figures> {
        self.until("the first serve", machines, || serving(cloud).len() == self.first() as usize).await?;
        let before = serving(cloud);
        let began_after = cloud.lock().last_event();
        cloud.lock().set_desired_capacity(GROUP, self.instances)?;
        let kills = random.between(self.trouble.kills.0, self.trouble.kills.1);
        let (faults, of_kills, renewals) = (Random::new(random.next()), Random::new(random.next()), random);
        let kills = tokio::select! {
            biased;
            never = chaos::faults(Arc::clone(cloud), faults), if self.trouble.faults => match never {},
            done = async {
                tokio::join!(
                    chaos::kills(cloud, gate, of_kills, kills, self.spread() * 2),
                    replace_some(cloud, &before, renewals),
                )
            } => { done.1?; done.0? }
        };
        cloud.lock().faults_mut().clear();
        let settled = self.until("settled", machines, || self.is_settled(cloud, machines)).await;
        let known: BTreeSet<String> = machines.lives()?.into_keys().collect();
        // Whoever is to be held is held for some rounds more.
        sleep(AFTERWARDS).await;
        let (lives, events) = (machines.lives()?, events(cloud)?);
        let (mut figures, mut broken) = judge::judge(&events, &lives, &known, began_after);
        figures.kills = (kills.at_random, kills.after_a_call);
        broken.extend(settled.err().map(|error| format!("{error:#}")));
        if broken.is_empty() {
            return Ok(figures);
        }
        bail!("{}\n{}", broken.join("\n"), self.evidence(gate, &broken, &events, folder).await)
    }

    fn is_settled(&self, cloud: &Server, machines: &Machines) -> bool {
        let (serving, Ok(lives)) = (serving(cloud), machines.lives()) else { return true };
        let all = lives.len() >= self.instances as usize;
        // One that relapses ends its plan only when it passes, which a fault may put off.
        all && lives
            .iter()
            .all(|(id, life)| life.is_gone || (life.is_settled && (!life.fate.ends_ready() || serving.contains(id))))
    }

    async fn until(&self, what: &str, machines: &Machines, seen: impl Fn() -> bool) -> Result<()> {
        let looking = async {
            let mut look = interval(LOOK_EVERY);
            while !seen() {
                look.tick().await;
                machines.lives()?;
            }
            anyhow::Ok(())
        };
        match timeout(self.patience, looking).await {
            Ok(seen) => seen,
            Err(_) => bail!("{what}: not within {} s", self.patience.as_secs()),
        }
    }

    /// For the first few of whom something is said: what the controller says of them, what the cloud saw, and the
    /// end of the controller's log.
    async fn evidence(&self, gate: &Gate, broken: &[String], events: &[Event], folder: &Path) -> String {
        let mut evidence = String::new();
        for id in broken.iter().filter_map(|line| line.split(' ').next()).filter(|id| id.starts_with("i-")).take(3) {
            for words in [&["explain", id][..], &["events", "--after", "0"]] {
                let Ok(said) = gate.cli(words).await else { continue };
                let about = said.stdout.lines().filter(|line| words[0] == "explain" || line.contains(id));
                evidence += &format!("$ portcullis {}\n{}\n", words.join(" "), about.collect::<Vec<_>>().join("\n"));
            }
            let about = events.iter().filter(|event| format!("{:?}", event.what).contains(id));
            about.for_each(|event| evidence += &format!("{} {:?}\n", event.at_ms, event.what));
        }
        let log = std::fs::read_to_string(folder.join("controller.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        evidence + &lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// Some of those that served before get new content meanwhile, and wait a second time.
async fn replace_some(cloud: &Server, before: &BTreeSet<String>, mut random: Random) -> Result<()> {
    let some = chaos::some_of(before, before.len().div_ceil(2), &mut random);
    for id in some {
        sleep(Duration::from_millis(random.between(100, 2_000))).await;
        let replaced = cloud.lock().replace_root_volume(&id);
        ensure!(replaced.is_ok(), "{id}: {replaced:?}");
    }
    Ok(())
}

fn serving(cloud: &Server) -> BTreeSet<String> {
    let is_serving = |view: &InstanceView| view.state.as_str() == "InService";
    cloud.lock().instances(Some(GROUP)).into_iter().filter(is_serving).map(|view| view.id).collect()
}

fn events(cloud: &Server) -> Result<Vec<Event>> {
    cloud.lock().events_of_all_time().context("the cloud's log is too short for this run")
}

/// Agents start over a time in proportion to their number: two cores run them all.
const START_EVERY: Duration = Duration::from_millis(80);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A few rounds of an agent that waits.
const AFTERWARDS: Duration = Duration::from_secs(6);

const LOG_LINES: usize = 20;
