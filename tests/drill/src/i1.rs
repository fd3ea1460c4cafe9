//! Incident I1, first half: the group scales out while the deploy halts half-way on the new instances. They run, they
//! answer, and they have not got the application.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use portcullis_cloud::InstanceView;
use tokio::time::sleep;

use crate::{
    client::Tally,
    clock::Stopwatch,
    fleet::{Image, is_healthy, is_registered},
    gate::{Gate, Release},
    programs::Programs,
    scene::{self, Scene, Scratch},
    site::{Deploy, Site},
    timeline::{Timeline, Tone},
    webserver::Kind,
};

/// How long users are watched once the new instances are there.
const WATCH: Duration = Duration::from_secs(5);

/// Anything in a drill that takes longer than this did not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was observed.
#[derive(Debug, Clone)]
pub struct Summary {
    web: &'static str,
    without: Tally,
    with: Tally,
    held: usize,
    named: Vec<String>,
    admitted_after: Duration,
    still_held: bool,
}

/// Replays it: without the gate, then with it.
///
/// # Errors
/// When a part does not start, or something that the drill waits for does not happen.
pub async fn run(timeline: &Timeline) -> Result<Summary> {
    timeline.say(Tone::Plain, "building the real programs");
    let programs = tokio::task::spawn_blocking(Programs::build).await??;
    let scratch = Scratch::make("drill")?;
    let site = Site::write(scratch.join("staging"))?;
    let web = Kind::find();
    timeline.say(Tone::Plain, &format!("instances serve their files by {}", web.name()));

    timeline.heading("Without the gate");
    let image = Image { site: site.clone(), web: web.clone(), agent: None, folder: scratch.join("without") };
    let without = without(image, timeline).await?;

    timeline.heading("With the gate");
    let release = Release::build(&programs, &site, &scratch.join("release"))?;
    timeline.say(Tone::Plain, &format!("release {} built and signed: {}", release.name, release.manifest));
    let cloud = scene::cloud().await?;
    let gate = Gate::start(&programs, &release, &cloud.url(), &scratch.join("gate")).await?;
    timeline.say(Tone::Plain, "controller started; release published and promoted");
    let image = Image { site, web: web.clone(), agent: Some(gate.agent_image()), folder: scratch.join("with") };
    let scene = Scene::set(Arc::clone(&cloud), image, vec![scene::hook()], timeline).await?;
    let mut summary = with(&scene, &gate, timeline).await?;
    summary.web = web.name();
    summary.without = without;
    Ok(summary)
}

async fn without(image: Image, timeline: &Timeline) -> Result<Tally> {
    let scene = Scene::set(scene::cloud().await?, image, vec![], timeline).await?;
    scene.until("two instances serve", PATIENCE, |views| serving(views, 2)).await?;
    timeline.say(Tone::Good, "2 instances serve");
    let client = scene.client().await?;
    sleep(WATCH / 5).await;
    let before = client.tally();
    ensure!(before.failed == 0 && before.asked > 0, "requests fail before anything was broken: {before:?}");
    scene.fleet.deploys(Deploy::Halted);
    scene.scale_to(4)?;
    timeline.say(Tone::Plain, &format!("{} requests, none failed; scaling out to 4", before.asked));
    scene.until("four instances serve", PATIENCE, |views| serving(views, 4)).await?;
    timeline.say(Tone::Bad, "4 instances are in the target group, 2 of them without the application");
    sleep(WATCH).await;
    let tally = client.tally() - before;
    let tone = if tally.failed > 0 { Tone::Bad } else { Tone::Plain };
    timeline.say(tone, &format!("{} of {} requests failed", tally.failed, tally.asked));
    Ok(tally)
}

async fn with(scene: &Scene, gate: &Gate, timeline: &Timeline) -> Result<Summary> {
    let proven = scene.until("two instances are admitted", PATIENCE, |views| serving(views, 2)).await?;
    timeline.say(Tone::Good, "2 instances proved themselves and serve");
    let client = scene.client().await?;
    scene.fleet.deploys(Deploy::Halted);
    scene.scale_to(4)?;
    timeline.say(Tone::Plain, "scaling out to 4");
    let broken = scene.until("two more wait", PATIENCE, |views| waiting(views, &proven)).await?;
    gate.until_explained(&broken[0], "missing", PATIENCE).await?;
    sleep(WATCH).await;
    let held = broken.iter().filter(|id| is_held(scene, id)).count();
    timeline.say(Tone::Good, &format!("{held} instances held; {}", users(client.tally())));
    let explained = gate.cli(&["explain", &broken[0]]).await?.stdout;
    timeline.say(Tone::Plain, &format!("$ portcullis explain {}\n{}", broken[0], explained.trim_end()));

    scene.fleet.finish_deploy(&broken[0])?;
    let finished = Stopwatch::start();
    timeline.say(Tone::Plain, &format!("deploy finished on {}", broken[0]));
    scene
        .until("the mended instance serves", PATIENCE, |views| {
            views.iter().any(|view| view.id == broken[0] && serves(view)).then_some(())
        })
        .await?;
    let admitted_after = finished.elapsed();
    timeline.say(Tone::Good, &format!("{} admitted by itself after {:.1} s", broken[0], admitted_after.as_secs_f64()));
    sleep(WATCH / 2).await;
    let still_held = is_held(scene, &broken[1]);
    let tally = client.tally();
    timeline.say(Tone::Good, &format!("{} is {}; {}", broken[1], held_word(still_held), users(tally)));
    Ok(Summary {
        web: "",
        without: Tally::default(),
        with: tally,
        held,
        named: missing_files(&explained),
        admitted_after,
        still_held,
    })
}

/// The ids of the instances, once so many of them and no other are in service and in the target group.
fn serving(views: &[InstanceView], count: usize) -> Option<Vec<String>> {
    (views.len() == count && views.iter().all(serves)).then(|| views.iter().map(|view| view.id.clone()).collect())
}

fn serves(view: &InstanceView) -> bool {
    view.state.as_str() == "InService" && is_healthy(view)
}

/// The two that are not `proven`, once both wait at their hook.
fn waiting(views: &[InstanceView], proven: &[String]) -> Option<Vec<String>> {
    let new: Vec<_> = views.iter().filter(|view| !proven.contains(&view.id)).collect();
    (new.len() == 2 && new.iter().all(|view| view.state.as_str() == "Pending:Wait"))
        .then(|| new.iter().map(|view| view.id.clone()).collect())
}

/// Waits at its hook, and no target group holds it.
fn is_held(scene: &Scene, id: &str) -> bool {
    let views = scene.instances();
    views.iter().any(|view| view.id == id && view.state.as_str() == "Pending:Wait" && !is_registered(view))
}

/// The files of the application that an explanation names.
fn missing_files(explained: &str) -> Vec<String> {
    let words = explained.split(|c: char| c.is_whitespace() || c == ',');
    words.filter(|word| word.ends_with(".html")).map(str::to_owned).collect()
}

fn users(tally: Tally) -> String {
    format!("{} of {} requests failed", tally.failed, tally.asked)
}

fn held_word(held: bool) -> &'static str {
    if held { "still held" } else { "NOT held any more" }
}

impl Summary {
    /// Whether all that the drill promises was observed.
    pub fn is_as_promised(&self) -> bool {
        self.promises().iter().all(|(_, kept)| *kept)
    }

    fn promises(&self) -> [(String, bool); 6] {
        let named = self.named.first().map_or("no file", String::as_str);
        [
            (format!("without the gate, {}", users(self.without)), self.without.failed > 0),
            (format!("with the gate, {}", users(self.with)), self.with.failed == 0 && self.with.asked > 0),
            (format!("{} of 2 broken instances were held out of the target group", self.held), self.held == 2),
            (format!("`explain` names what is missing: {named}, …"), !self.named.is_empty()),
            (
                format!("admitted by itself {:.1} s after its deploy was finished", self.admitted_after.as_secs_f64()),
                self.admitted_after < PROMISED,
            ),
            (format!("the other one is {}", held_word(self.still_held)), self.still_held),
        ]
    }
}

/// "Within seconds."
const PROMISED: Duration = Duration::from_secs(15);

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "incident I1, first half; instances served by {}", self.web)?;
        for (promise, kept) in self.promises() {
            writeln!(f, "  {}  {promise}", if kept { "yes" } else { "NO " })?;
        }
        f.write_str(if self.is_as_promised() { "all of it was observed" } else { "NOT everything was observed" })
    }
}
