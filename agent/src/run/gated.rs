//! With a controller: challenge, check, report, wait, again and again, whatever the controller does or does not do.
//!
//! A round that fails leaves the standing as it is, but for what is in the way: nothing that a controller omits, repeats or
//! invents makes an instance ready, and nothing but its word `withdrawn` makes a serving one unready.
//!
//! Drift is reported between the rounds ([`patrol`](super::patrol)), and even during one: asking for another challenge leaves
//! that of the round good, as long as no report answers either. If there is drift, its report does: then the round has
//! nothing left to answer, and is abandoned for the next.

use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis::{
    api::Challenged,
    digest::Digest,
    instance::{BootId, GroupName, WaitId},
    outcome::Status,
    signature::SigningKey,
    verdict::Verdict,
};
use tokio::time::timeout;

use super::{
    checker::Checker,
    patrol::{self, Patrol},
};
use crate::{
    board::Board,
    checking::What,
    clock,
    config::Intervals,
    controller::{self, Controller, ControllerError},
    enrol,
    identity::{Identity, IdentityError},
    manifests::{self, ManifestError, Manifests, Release},
    metrics::Metrics,
    pace::{self, Backoff},
    publish,
    restore::Restorer,
    standing::{Checked, Latch},
    state::{Admission, Binding, State, Whom},
};

/// All that it takes.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) audience: String,
    pub(super) boot_id: BootId,
    pub(super) key: Arc<SigningKey>,
    pub(super) controller: Controller,
    pub(super) identity: Identity,
    pub(super) state: Arc<State>,
    pub(super) manifests: Manifests,
    pub(super) release_file: Option<PathBuf>,
    pub(super) checker: Checker,
    pub(super) patrol: Patrol,
    pub(super) board: Board,
    pub(super) metrics: Arc<Metrics>,
    pub(super) intervals: Intervals,
    pub(super) restorer: Restorer,
    pub(super) backoff: Backoff,
    /// The binding in use.
    pub(super) binding: Option<Binding>,
    /// What serving was admitted on, or proved last.
    pub(super) serving: Option<Digest>,
    /// When the last verification ended.
    pub(super) checked_at: Option<Instant>,
}

/// A round that came to no answer.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("who this instance is cannot be shown: {0}")]
    Identity(#[from] IdentityError),
    #[error("not enrolled: {0}")]
    Enrol(#[source] ControllerError),
    #[error("no challenge: {0}")]
    Challenge(#[source] ControllerError),
    #[error("no manifest: {0}")]
    Manifest(#[from] ManifestError),
    #[error("not reported: {0}")]
    Report(#[source] ControllerError),
    /// Something else was to be told meanwhile.
    #[error("overtaken by what happened meanwhile")]
    Overtaken(News),
}

type News = patrol::News<Challenged>;

impl Gated {
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let mut round = self.round().await;
            if let Err(RoundError::Overtaken(news)) = round {
                round = self.tell(news).await.map(|_| Duration::ZERO);
            }
            let pause = match round {
                Ok(pause) => pace::spread(pause, 10, pace::random()),
                Err(error) => self.failed(&error).await,
            };
            self.rest(clock::monotonic() + pause).await;
        }
    }

    /// Until another round is due; drift is reported meanwhile.
    async fn rest(&mut self, mut due: Instant) {
        loop {
            let ask = || challenge_soon(&self.controller, &self.key, self.binding.as_ref());
            let Some(news) = self.patrol.until(due, &mut self.board, ask).await else { return };
            match self.tell(news).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => due = due.min(clock::monotonic() + self.failed(&error).await),
            }
        }
    }

    /// Reports drift; whether that was all there was to be done. If not, a round does the rest: it alone can show that all is
    /// well again, and it finds out why there is no challenge.
    async fn tell(&mut self, news: News) -> Result<bool, RoundError> {
        let News::Differs(looked, challenged) = news else {
            self.checked_at = None;
            self.checker.hurry();
            return Ok(false);
        };
        if let Some(release) = self.patrol.release() {
            self.restore_if_serving(release, &looked);
        }
        self.board.checked_meanwhile((*looked).clone());
        let (Some(challenged), Some(binding)) = (challenged, self.binding.clone()) else { return Ok(false) };
        self.report(&binding, challenged, &looked).await.map(|_| true)
    }

    /// Before the first probe is answered: an admission outlives a restart of the agent, not of the machine. The instance's id may take the metadata service to
    /// know; the key names it as well, and no other has it.
    pub(super) fn restore(&mut self) {
        let key_id = self.key.public().key_id();
        let (audience, boot_id) = (self.audience.clone(), self.boot_id.clone());
        let holds = |whom: &Whom| whom.audience == audience && whom.boot_id == boot_id && whom.key_id == key_id;
        if let Some(admission) = self.state.admission(holds) {
            self.serving = Some(admission.manifest);
            self.board.restored();
            tracing::info!("admitted earlier in this boot, for {}", admission.manifest);
        }
    }

    /// One round; how long to wait after it.
    async fn round(&mut self) -> Result<Duration, RoundError> {
        let binding = self.bound().await?;
        let challenged =
            publish::challenge(&self.controller, &self.key, &binding).await.map_err(RoundError::Challenge)?;
        if challenged.group.as_str().is_empty() {
            // It has only just been launched, or is no member of a gated group: the controller will see.
            self.board.no_release("the controller has not seen this instance in any of its groups yet".into());
            return Ok(self.intervals.waiting);
        }
        let hint = manifests::hint(self.release_file.as_ref());
        let candidates = manifests::candidates(hint, &challenged.accepted);
        if candidates.is_empty() {
            self.board.no_release(format!("no release is promoted for group `{}`", shown(&challenged.group)));
            return Ok(self.backoff.next(pace::random()));
        }
        let checked = self.prove(&candidates).await?;
        self.board.checked(checked.clone());
        self.report(&binding, challenged, &checked).await
    }

    /// Answers the challenge; how long the controller wants to wait for the next report.
    async fn report(
        &mut self,
        binding: &Binding,
        challenged: Challenged,
        checked: &Checked,
    ) -> Result<Duration, RoundError> {
        let wait = challenged.wait;
        let answer = publish::report(&self.controller, &self.key, binding, challenged, checked).await;
        let answer = answer.map_err(RoundError::Report)?;
        self.backoff.reset();
        self.answered(&binding.whom, wait, checked, answer.verdict, controller::shown(&answer.reason)).await;
        Ok(pace::within_bounds(match answer.poll_after_s {
            0 => self.own_interval().as_secs(),
            asked => asked,
        }))
    }

    fn own_interval(&self) -> Duration {
        if self.board.now().admitted { self.intervals.serving } else { self.intervals.waiting }
    }

    /// The binding of this instance, boot and key: the one in use, the one on disk, or a new one.
    async fn bound(&mut self) -> Result<Binding, RoundError> {
        if let Some(binding) = &self.binding {
            return Ok(binding.clone());
        }
        let whom = Whom {
            audience: self.audience.clone(),
            instance: self.identity.instance().await?,
            boot_id: self.boot_id.clone(),
            key_id: self.key.public().key_id(),
        };
        self.checker.speaks_for(&whom.instance);
        self.patrol.speaks_for(&whom.instance);
        let binding = match self.state.binding(&whom) {
            Some(binding) => binding,
            None => {
                let evidence = self.identity.evidence().await?;
                let new = enrol::enrol(&self.controller, &self.key, &whom, evidence).await;
                let new = new.map_err(RoundError::Enrol)?;
                let kept = new.clone();
                self.on_disk("binding", move |state| state.keep_binding(&kept)).await;
                new
            }
        };
        self.binding = Some(binding.clone());
        Ok(binding)
    }

    /// Checks one candidate after the other until one passes; when none does, what the first came to. A candidate that
    /// cannot be had or believed is passed over while there are others.
    async fn prove(&mut self, candidates: &[Digest]) -> Result<Checked, RoundError> {
        let (mut first, mut trouble) = (None::<(Release, Checked)>, None);
        for digest in candidates {
            let release = match self.manifests.release(*digest, &self.controller).await {
                Ok(release) => release,
                Err(error) => {
                    tracing::warn!("manifest {digest}: {error}");
                    trouble.get_or_insert(error);
                    continue;
                }
            };
            let checked = self.check(&release).await?;
            if checked.status == Status::Pass {
                return Ok(checked);
            }
            first.get_or_insert((release, checked));
        }
        match (first, trouble) {
            (Some((release, checked)), _) => {
                self.patrol.over(Some(&release), &mut self.board).await;
                Ok(checked)
            }
            (None, Some(error)) => Err(error.into()),
            (None, None) => unreachable!("there is at least one candidate"),
        }
    }

    /// Checks everything, unless something else is to be told first.
    async fn check(&mut self, release: &Release) -> Result<Checked, RoundError> {
        self.patrol.over(Some(release), &mut self.board).await;
        let ask = || challenge_soon(&self.controller, &self.key, self.binding.as_ref());
        let round = self.checker.check(release, What::All);
        let checked = self.patrol.unless_overtaken(round, &mut self.board, ask).await;
        let checked = checked.map_err(RoundError::Overtaken)?;
        self.restore_if_serving(release, &checked);
        self.checked_at = Some(clock::monotonic());
        Ok(checked)
    }

    /// Takes the controller's word, and keeps on disk what a restart must not lose.
    async fn answered(&mut self, whom: &Whom, wait: WaitId, checked: &Checked, verdict: Verdict, reason: String) {
        match self.board.answered(verdict, reason) {
            Latch::Kept => {}
            Latch::Set => {
                let admission = Admission { whom: whom.clone(), wait, manifest: checked.manifest };
                self.on_disk("admission", move |state| state.keep_admission(&admission)).await;
            }
            Latch::Dropped => self.on_disk("withdrawal", State::forget_admission).await,
        }
        if self.board.now().admitted && checked.status == Status::Pass {
            self.serving = Some(checked.manifest);
        }
    }

    /// What to do about a failed round; how long to wait before the next.
    async fn failed(&mut self, error: &RoundError) -> Duration {
        let of_controller = match error {
            RoundError::Enrol(error) | RoundError::Challenge(error) | RoundError::Report(error) => Some(error),
            RoundError::Manifest(ManifestError::Controller(error)) => Some(error),
            RoundError::Identity(_) | RoundError::Manifest(_) | RoundError::Overtaken(_) => None,
        };
        self.metrics.failed(of_controller.map_or("other", ControllerError::word));
        self.board.trouble(error.to_string());
        if let RoundError::Challenge(error) | RoundError::Report(error) = error
            && error.is_unknown_binding()
        {
            self.binding = None;
            self.on_disk("end of the binding", State::forget_binding).await;
        }
        self.check_meanwhile().await;
        if let RoundError::Enrol(error) = error
            && error.is_conflict()
        {
            tracing::error!("somebody else may be speaking as this instance: {error}");
            return pace::spread(pace::BACKOFF_MAX, 10, pace::random());
        }
        self.backoff.next(pace::random())
    }

    /// A serving instance goes on being checked while the controller cannot be asked, by the manifest it serves: a cached
    /// manifest is good for serving, never for admission.
    async fn check_meanwhile(&mut self) {
        let is_due = self.checked_at.is_none_or(|at| clock::monotonic() >= at + self.intervals.serving);
        let Some(digest) = self.serving.filter(|_| is_due && self.board.now().admitted) else { return };
        if let Some(release) = self.manifests.cached(digest).await {
            match self.check(&release).await {
                Ok(checked) => self.board.checked_meanwhile(checked),
                // The rest of it is told by the round after next: this one has no one to tell.
                Err(RoundError::Overtaken(News::Differs(looked, _))) => self.board.checked_meanwhile(*looked),
                Err(_) => {}
            }
        }
    }

    /// While it waits nothing is restored: what is there was never right.
    fn restore_if_serving(&self, release: &Release, checked: &Checked) {
        if self.board.now().admitted && self.serving == Some(release.digest) {
            self.restorer.after(release, &checked.outcomes);
        }
    }

    /// Beside the thread that answers probes: a disk may hang. What cannot be kept is only lost to the next start.
    async fn on_disk(&self, what: &str, work: impl FnOnce(&State) -> io::Result<()> + Send + 'static) {
        let state = Arc::clone(&self.state);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || work(&state)).await {
            tracing::warn!("the {what} is not kept on disk: {error}");
        }
    }
}

/// A challenge, if one is to be had at once: what is found without one is known here, and reported later.
async fn challenge_soon(controller: &Controller, key: &SigningKey, binding: Option<&Binding>) -> Option<Challenged> {
    let asked = timeout(CHALLENGE_PATIENCE, publish::challenge(controller, key, binding?)).await;
    asked.ok()?.ok().filter(|challenged| !challenged.group.as_str().is_empty())
}

fn shown(group: &GroupName) -> String {
    controller::shown(group.as_str())
}

/// A controller that is well answers in some milliseconds.
const CHALLENGE_PATIENCE: Duration = Duration::from_millis(300);
