//! Between the rounds, and during those that take long: looks at the trees as soon as something happens there.
//!
//! What happened is no evidence, only a reason to look; a look walks all trees, by a process of its own beside that of the
//! round. What it comes to is news when it is not what was known. Before the instance serves, only one thing is: that the
//! trees are as they should be by now, so that a round is worth its while. Afterwards every other difference is, and is told
//! with what else the last round came to; but not if it was another manifest's. All being well again is never told by a look, since it saw the trees alone: a round
//! has to show it.
//!
//! From a write to the end of the look it takes [`QUIET`], the controller's answer to a request for a challenge, and a walk
//! of the trees; then the report is sent. When much happens, looks take their share of the time ([`Budget`]).
//!
//! Among many files that is long, and the watch knows where something happened. So before the look there is a *glance* at these
//! directories and those above them, as long as all trees are known to pass. What it finds to be wrong is news like that of a
//! look. It settles nothing: that it finds nothing is not even remembered, and the look that was due is still due, for what no
//! event told of. Glances have a budget of their own, so that neither keeps the other waiting: when looks are used up, what
//! happens is still told at once. The look that comes later is news only if it finds something else.

use std::{
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis::{
    instance::InstanceId,
    outcome::{Outcome, Status},
};
use tokio::time::{sleep, sleep_until, timeout_at};

use super::checker::{Checker, Glanced};
use crate::{
    board::Board,
    checking::What,
    clock,
    config::{Config, Source},
    manifests::{self, Release, Seal},
    metrics::Metrics,
    pace::Budget,
    standing::{Checked, Standing, same},
    watch::{Sight, Target, Watch},
};

/// Watches, and looks.
#[derive(Debug)]
pub(super) struct Patrol {
    /// `None` where that is not wanted.
    watch: Option<Watch>,
    checker: Checker,
    image: Option<PathBuf>,
    /// Where a deploy in place puts its manifest.
    manifest: Option<PathBuf>,
    metrics: Arc<Metrics>,
    budget: Budget,
    /// Of glances.
    glances: Budget,
    release: Option<Release>,
    /// The manifest's file as it was when it was not believed; another is worth a round.
    refused: Option<Option<Seal>>,
    /// A look is due: something happened, and no look that began afterwards has ended.
    due: bool,
    overflows: u64,
}

/// What is worth a word.
#[derive(Debug)]
pub(super) enum News<Challenge> {
    /// Trees are not as they should be, and not as was known: all outcomes, and the challenge that was asked for before.
    Differs(Box<Checked>, Option<Challenge>),
    /// A round has something to show: all trees are as they should be, and were not; or there is another manifest to check by.
    Round,
}

impl Patrol {
    /// With a checker of its own.
    pub(super) fn new(config: &Config, checker: Checker, metrics: Arc<Metrics>) -> Self {
        Self {
            watch: config.watch.then(Watch::new),
            checker,
            image: config.checks.root.clone(),
            manifest: match &config.source {
                Source::File(manifest, _) => Some(manifest.clone()),
                Source::Controller(_) => None,
            },
            metrics,
            budget: Budget::default(),
            glances: Budget::default(),
            release: None,
            refused: None,
            due: false,
            overflows: 0,
        }
    }

    /// What it is about.
    pub(super) const fn release(&self) -> Option<&Release> {
        self.release.as_ref()
    }

    /// Who the agent speaks for: a fact that templates are rendered with.
    pub(super) fn speaks_for(&mut self, instance: &InstanceId) {
        self.checker.speaks_for(instance);
    }

    /// From now on it is about this release: to be called before a round reads anything, so that nothing falls between.
    pub(super) async fn over(&mut self, release: Option<&Release>, board: &mut Board) {
        (self.release, self.refused) = (release.cloned(), None);
        let Some(watch) = &mut self.watch else {
            return board.sight(&Sight::None { because: "it is switched off".into() });
        };
        let trees = release.into_iter().flat_map(|release| &release.outline.trees);
        let trees = trees.map(|tree| Target::new(tree, self.image.as_deref()));
        watch.over(trees.chain(self.manifest.as_deref().map(Target::file)).collect()).await;
        board.sight(watch.sight());
    }

    /// The same, with `release` in the place of what is in the manifest's file, which looked like that when it was read.
    pub(super) async fn over_instead(&mut self, release: Option<&Release>, refused: Option<Seal>, board: &mut Board) {
        self.over(release, board).await;
        self.refused = Some(refused);
    }

    /// Whether there is another manifest than the one that was not believed.
    fn is_replaced(&self) -> bool {
        let (refused, manifest) = (self.refused.as_ref(), self.manifest.as_deref());
        refused.zip(manifest).is_some_and(|(refused, manifest)| manifests::seal(manifest) != *refused)
    }

    /// The next news until `due`. A challenge is asked for (`ask`) before a look that may have something to report.
    pub(super) async fn until<C>(
        &mut self,
        due: Instant,
        board: &mut Board,
        ask: impl AsyncFn() -> Option<C>,
    ) -> Option<News<C>> {
        tokio::select! {
            biased;
            () = sleep_until(due.into()) => None,
            news = self.news(board, ask) => Some(news),
        }
    }

    /// What a round comes to, unless there are news of a serving instance before.
    pub(super) async fn unless_overtaken<T, C>(
        &mut self,
        round: impl Future<Output = T>,
        board: &mut Board,
        ask: impl AsyncFn() -> Option<C>,
    ) -> Result<T, News<C>> {
        let serves = board.now().serves();
        let mut round = pin!(round);
        tokio::select! {
            biased;
            checked = &mut round => Ok(checked),
            news = self.news(board, ask), if serves => Err(news),
        }
    }

    /// Whoever stops waiting loses nothing: the look that was due is still due.
    async fn news<C>(&mut self, board: &mut Board, ask: impl AsyncFn() -> Option<C>) -> News<C> {
        loop {
            if !self.due {
                self.stirred(board.now().serves()).await;
            }
            if let Some(news) = self.glance(&board.now(), &ask).await {
                return news;
            }
            if !self.is_paid(&board.now()).await {
                continue;
            }
            let challenge = if board.now().serves() { ask().await } else { None };
            match self.look(board).await {
                Found::Nothing => {}
                Found::Round => return News::Round,
                Found::Differs(checked) => return News::Differs(Box::new(checked), challenge),
            }
        }
    }

    /// Until something happened, and then until it is over: a deploy writes more than one file, and few things are written at
    /// once. What serves is looked at soon all the same.
    async fn stirred(&mut self, serves: bool) {
        let Some(watch) = &mut self.watch else { return std::future::pending().await };
        watch.stirred().await;
        self.due = true;
        let (quiet, at_most) = if serves { (QUIET, QUIET_WAIT_MAX) } else { (QUIET_DEPLOY, QUIET_DEPLOY_WAIT_MAX) };
        let end = clock::monotonic() + at_most;
        while clock::monotonic() < end {
            // Not for each event.
            sleep(STEP).await;
            watch.forget();
            let quiet_at = (clock::monotonic() + quiet).min(end);
            if timeout_at(quiet_at.into(), watch.stirred()).await.is_err() {
                return;
            }
        }
    }

    /// Waits until a look is paid for; `false` as soon as something more happens that a glance may tell of.
    async fn is_paid(&mut self, standing: &Standing) -> bool {
        let now = clock::monotonic();
        let (look_due, glance_due) = (self.budget.due(now), self.glances.due(now));
        if look_due.is_zero() {
            return true;
        }
        let glances = self.glances_at(standing).is_some();
        tokio::select! {
            biased;
            () = sleep(look_due) => true,
            () = async { sleep(glance_due).await; self.stirred(true).await }, if glances => false,
        }
    }

    /// By what a glance would tell, and what it would add to: all trees are known to pass, and all that happens is heard.
    fn glances_at(&self, standing: &Standing) -> Option<(Release, Arc<Checked>)> {
        let release = self.release.clone().filter(|release| release.is_there() && !self.is_replaced())?;
        let known = standing.checked.clone().filter(|known| known.manifest == release.digest)?;
        let passes = passes(known.outcomes.get(..release.outline.trees.len())?);
        let heard = self.image.is_none() && self.watch.as_ref().is_some_and(Watch::is_whole);
        (passes && heard && standing.serves()).then_some((release, known))
    }

    /// Looks where something happened, and nowhere else.
    async fn glance<C>(&mut self, standing: &Standing, ask: &impl AsyncFn() -> Option<C>) -> Option<News<C>> {
        let began = clock::monotonic();
        if !self.glances.due(began).is_zero() {
            return None;
        }
        let (release, known) = self.glances_at(standing)?;
        let touched = self.watch.as_mut()?.touched()?;
        let challenge = ask().await;
        let glanced = self.checker.glance(&release, touched).await;
        self.metrics.glanced();
        let now = clock::monotonic();
        self.glances.spend(now, now.saturating_duration_since(began));
        let differs = told(&release, &known, glanced)?;
        Some(News::Differs(Box::new(differs), challenge))
    }

    async fn look(&mut self, board: &mut Board) -> Found {
        let Some(watch) = &mut self.watch else { return Found::Nothing };
        let began = clock::monotonic();
        watch.refresh().await;
        let overflows = watch.overflows() - self.overflows;
        self.overflows += overflows;
        self.metrics.overflowed(overflows);
        board.sight(watch.sight());
        let found = match self.release.clone().filter(|release| release.is_there() && !self.is_replaced()) {
            None => Found::Round,
            Some(release) => {
                let looked = self.checker.check(&release, What::Trees).await;
                self.metrics.looked();
                judged(&release, &board.now(), looked).unwrap_or(Found::Nothing)
            }
        };
        self.due = false;
        let now = clock::monotonic();
        self.budget.spend(now, now.saturating_duration_since(began));
        found
    }
}

/// What of it is news, if any. A look at one release says nothing about what is known of another.
fn judged(release: &Release, standing: &Standing, looked: Checked) -> Option<Found> {
    let known = standing.checked.as_ref().filter(|known| known.manifest == release.digest);
    let trees = release.outline.trees.len();
    let (seen, known_trees) = (looked.outcomes.get(..trees)?, known.and_then(|known| known.outcomes.get(..trees)));
    if passes(seen) {
        return known_trees.is_some_and(|known| !passes(known)).then_some(Found::Round);
    }
    if !standing.serves() || known_trees.is_some_and(|known| same(seen, known)) {
        return None;
    }
    let mut outcomes = looked.outcomes;
    if let Some(known) = known.filter(|known| known.outcomes.len() == outcomes.len()) {
        outcomes.splice(trees.., known.outcomes[trees..].iter().cloned());
    }
    let checked = Checked::new(release, outcomes, looked.began_at, looked.took_ms);
    Some(Found::Differs(Checked { facts: looked.facts, ..checked }))
}

fn passes(trees: &[Outcome]) -> bool {
    trees.iter().all(|tree| tree.status == Status::Pass)
}

/// What a glance found to be wrong, in the place of what was known; `None` if that is nothing.
fn told(release: &Release, known: &Checked, glanced: Glanced) -> Option<Checked> {
    let (mut outcomes, mut found) = (known.outcomes.clone(), glanced.outcomes.into_iter().peekable());
    found.peek()?;
    for tree in found {
        outcomes
            .iter_mut()
            .take(release.outline.trees.len())
            .filter(|known| known.check == tree.check)
            .for_each(|known| *known = tree.clone());
    }
    let checked = Checked::new(release, outcomes, glanced.began_at, glanced.took_ms);
    Some(Checked { facts: glanced.facts.into_values(), ..checked })
}

/// What a look came to.
enum Found {
    Nothing,
    Round,
    Differs(Checked),
}

const STEP: Duration = Duration::from_millis(10);
/// So long nothing more must happen before a look.
const QUIET: Duration = Duration::from_millis(50);
/// Whatever happens, what serves is looked at so long after the first sign.
const QUIET_WAIT_MAX: Duration = Duration::from_millis(200);
/// While a deploy is at work a look is of no use.
const QUIET_DEPLOY: Duration = Duration::from_millis(200);
const QUIET_DEPLOY_WAIT_MAX: Duration = Duration::from_secs(5);
