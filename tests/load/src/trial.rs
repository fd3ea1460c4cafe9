//! One run: a fleet is admitted, then watched for a while, first in peace and then beside a client that abuses the controller.

use std::{
    collections::BTreeMap,
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    abuse::{Abuse, OFFENDER},
    agents::{Fleet, Image},
    clock::Stopwatch,
    controller::{AUDIENCE, Controller, Page},
    figures::Seen,
    scene::{Release, Scene},
};

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The controller's program.
    pub controller: PathBuf,
    /// Instances in all groups together.
    pub instances: u32,
    /// Groups.
    pub groups: u32,
    /// Files in the release.
    pub files: u32,
    /// From one report of an agent to its next.
    pub every: Duration,
    /// How long it is left alone before there is any instance: what comes soon after its start it takes for what was there before.
    pub settle: Duration,
    /// How long is watched, in peace and beside the offender.
    pub watch: Duration,
    /// How long it may take until all are admitted.
    pub patience: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Findings {
    plan: Plan,
    /// Memory of the controller before there was any instance.
    pub empty_kib: u64,
    /// From the launch of all until the last was told that it is admitted.
    pub admitting: Duration,
    /// Without the offender.
    pub quiet: Stretch,
    /// With it.
    pub abused: Stretch,
    /// What the offender did, and was told.
    pub offences: BTreeMap<String, u64>,
    /// How often it was refused, by limit, as the metric has it.
    pub refused: BTreeMap<String, f64>,
    /// Whom else the metric names.
    pub accused: Vec<String>,
    /// Whether the log names the offender.
    pub log_names_offender: bool,
    /// Instances in service at the end.
    pub in_service: usize,
}

/// A stretch of time, from one look at the controller to another.
#[derive(Debug)]
pub struct Stretch {
    /// How long it was.
    pub took: Duration,
    /// Time of processors that the controller took.
    pub cpu: Duration,
    /// Its memory at the end.
    pub rss_kib: u64,
    /// Reports that it says it accepted.
    pub accepted: f64,
    /// Turns of its loop.
    pub turns: f64,
    /// Time that these took.
    pub turning_s: f64,
    /// What the agents saw.
    pub seen: Seen,
}

/// Runs it in `folder`, which is on the disk that is to be measured; `say` hears how far it is.
///
/// # Errors
/// When it cannot be run, or the fleet is not admitted in time.
pub async fn run(plan: &Plan, folder: &Path, say: impl Fn(&str)) -> Result<Findings> {
    may_open(u64::from(plan.instances) + DESCRIPTORS_BESIDES)?;
    let scene = Scene::set(plan.instances, plan.groups).await?;
    let release = Release::make(plan.files);
    let controller = Controller::start(&plan.controller, folder, &scene, &release).await?;
    let tokens = controller.set_up(&scene, &release).await?;
    tokio::time::sleep(plan.settle).await;
    let empty_kib = controller.taken()?.rss_kib;
    let image = Arc::new(Image {
        controller: controller.agents,
        audience: AUDIENCE.into(),
        tokens: scene.groups.iter().map(|(name, _)| name.clone()).zip(tokens).collect(),
        manifest: release.digest,
        passing: Arc::clone(&release.passing),
        every: plan.every,
    });
    let began = Stopwatch::start();
    let fleet = Fleet::boot(scene.launch()?, &image);
    until_admitted(plan, &scene, &controller, &fleet, began, &say).await?;
    let admitting = began.elapsed();
    say(&format!("all admitted after {:.0} s; watching for {} s", admitting.as_secs_f64(), plan.watch.as_secs()));
    // A period, so that what was late in the rush is back in its place.
    tokio::time::sleep(plan.every).await;
    let quiet = watch(&controller, &fleet, plan.watch).await?;
    say(&format!("and for {} s beside an abusive client", plan.watch.as_secs()));
    let abuse = Abuse::begin(controller.agents, release.digest)?;
    let abused = watch(&controller, &fleet, plan.watch).await?;
    let offences = abuse.done();
    tokio::task::spawn_blocking(move || drop(abuse)).await?;
    let page = controller.metrics().await?;
    let mut accused: Vec<_> = page.values(LIMITED, "client").into_iter().map(str::to_owned).collect();
    accused.retain(|client| *client != OFFENDER.to_string());
    accused.dedup();
    Ok(Findings {
        plan: plan.clone(),
        empty_kib,
        admitting,
        quiet,
        abused,
        offences,
        refused: refused(&page, OFFENDER),
        accused,
        log_names_offender: controller.log_names(OFFENDER),
        in_service: scene.in_service(),
    })
}

/// Each agent keeps a connection; the limit is often lower than it need be. The controller inherits it.
fn may_open(descriptors: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= descriptors) {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")?;
    ensure!(
        limit.maximum.is_none_or(|most| most >= descriptors),
        "only {:?} files may be open, {descriptors} are needed: raise the limit (`ulimit -Hn`), or take fewer --instances",
        limit.maximum
    );
    Ok(())
}

async fn until_admitted(
    plan: &Plan,
    scene: &Scene,
    controller: &Controller,
    fleet: &Fleet,
    began: Stopwatch,
    say: &impl Fn(&str),
) -> Result<()> {
    let all = plan.instances as usize;
    loop {
        tokio::time::sleep(LOOK_EVERY.min(plan.every)).await;
        let (admitted, in_service) = (fleet.admitted(), scene.in_service());
        if admitted == all && in_service == all {
            return Ok(());
        }
        controller.taken()?;
        let failures = fleet.seen().failures;
        if began.elapsed() > plan.patience {
            bail!("of {all}, {in_service} are in service and {admitted} know it, in vain: {failures:?}");
        }
        say(&format!("{in_service} of {all} in service, {admitted} know it; in vain: {failures:?}"));
    }
}

async fn watch(controller: &Controller, fleet: &Fleet, length: Duration) -> Result<Stretch> {
    let (page, taken, began) = (controller.metrics().await?, controller.taken()?, Stopwatch::start());
    fleet.seen();
    tokio::time::sleep(length).await;
    let (seen, took, taken_then) = (fleet.seen(), began.elapsed(), controller.taken()?);
    let page_then = controller.metrics().await?;
    let more = |name: &str| page_then.sum(name, "") - page.sum(name, "");
    Ok(Stretch {
        took,
        cpu: taken_then.cpu.saturating_sub(taken.cpu),
        rss_kib: taken_then.rss_kib,
        accepted: more("portcullis_reports_accepted_total"),
        turns: more("portcullis_turns_total"),
        turning_s: more("portcullis_turn_seconds_total"),
        seen,
    })
}

fn refused(page: &Page, client: Ipv4Addr) -> BTreeMap<String, f64> {
    let mut refused = BTreeMap::new();
    for limit in page.values(LIMITED, "limit") {
        let count = page.sum(LIMITED, &format!("client=\"{client}\",limit=\"{limit}\""));
        refused.insert(limit.to_owned(), count);
    }
    refused
}

impl Findings {
    /// Whether what is claimed was seen: every report taken, with and without the offender, which is named, and nobody else.
    ///
    /// # Errors
    /// The first thing that was not so.
    pub fn hold(&self) -> Result<()> {
        for (when, stretch) in [("in peace", &self.quiet), ("beside the offender", &self.abused)] {
            ensure!(stretch.seen.failures.is_empty(), "{when}, rounds came to nothing: {:?}", stretch.seen.failures);
            let due = f64::from(self.plan.instances) * stretch.took.as_secs_f64() / self.plan.every.as_secs_f64();
            let answered = stretch.seen.reports.count();
            ensure!(
                stretch.accepted >= due * TAKEN_MIN,
                "{when}, {:.0} reports were due, {} accepted, {answered} answered",
                due,
                stretch.accepted
            );
        }
        ensure!(self.in_service == self.plan.instances as usize, "only {} are in service at the end", self.in_service);
        ensure!(self.refused.values().sum::<f64>() > 0.0, "no metric names the offender; it did {:?}", self.offences);
        ensure!(self.log_names_offender, "the log does not name the offender");
        ensure!(self.accused.is_empty(), "clients that did nothing wrong are named: {:?}", self.accused);
        Ok(())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, of: &dyn Fn(&Stretch) -> String| {
            writeln!(f, "{name:<44} {:>24} {:>24}", of(&self.quiet), of(&self.abused))
        };
        row("", &|stretch| {
            if std::ptr::eq(stretch, &raw const self.quiet) { "in peace".into() } else { "beside the offender".into() }
        })?;
        row("reports accepted a second", &|of| format!("{:.1}", of.accepted / of.took.as_secs_f64()))?;
        row("CPU, % of one processor", &|of| format!("{:.1}", 100.0 * of.cpu.as_secs_f64() / of.took.as_secs_f64()))?;
        row("CPU for each report, ms", &|of| format!("{:.2}", 1_000.0 * of.cpu.as_secs_f64() / of.accepted))?;
        row("memory, MiB", &|of| format!("{:.1}", mib(of.rss_kib)))?;
        row("turns of the loop a second", &|of| format!("{:.1}", of.turns / of.took.as_secs_f64()))?;
        row("a turn, mean, ms", &|of| format!("{:.1}", 1_000.0 * of.turning_s / of.turns))?;
        row("report to answer, p50 / p99 / most, ms", &|of| of.seen.reports.clone().told())?;
        row("whole round, p50 / p99 / most, ms", &|of| of.seen.rounds.clone().told())?;
        writeln!(f)?;
        let each = self.quiet.rss_kib.saturating_sub(self.empty_kib);
        writeln!(
            f,
            "memory, empty: {:.1} MiB; for each instance: {:.1} KiB",
            mib(self.empty_kib),
            f64::from(u32::try_from(each).unwrap_or(u32::MAX)) / f64::from(self.plan.instances)
        )?;
        writeln!(f, "until all were admitted: {:.0} s", self.admitting.as_secs_f64())?;
        writeln!(f, "the offender ({OFFENDER}): {:?}", self.offences)?;
        writeln!(f, "refused, by limit: {:?}", self.refused)
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

/// For the offender, the cloud, the store.
const DESCRIPTORS_BESIDES: u64 = 4_000;
const LIMITED: &str = "portcullis_clients_limited_total";
/// The first and last moments of a stretch cut a few off.
const TAKEN_MIN: f64 = 0.97;
const LOOK_EVERY: Duration = Duration::from_secs(5);
