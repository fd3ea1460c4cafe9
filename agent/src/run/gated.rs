//! With a controller: challenge, check, report, wait, again and again, whatever the controller does or does not do.
//!
//! A round that fails leaves the standing as it is, but for what is in the way: nothing that a controller omits, repeats or
//! invents makes an instance ready, and nothing but its word `withdrawn` makes a serving one unready.

use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis::{
    digest::Digest,
    instance::{BootId, GroupName, WaitId},
    outcome::Status,
    signature::SigningKey,
    verdict::Verdict,
};
use tokio::time::sleep;

use super::checker::Checker;
use crate::{
    board::Board,
    clock,
    config::Intervals,
    controller::{self, Controller, ControllerError},
    enrol,
    identity::{Identity, IdentityError},
    manifests::{self, ManifestError, Manifests},
    metrics::Metrics,
    pace::{self, Backoff},
    publish,
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
    pub(super) board: Board,
    pub(super) metrics: Arc<Metrics>,
    pub(super) intervals: Intervals,
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
}

impl Gated {
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let pause = match self.round().await {
                Ok(pause) => pace::spread(pause, 10, pace::random()),
                Err(error) => self.failed(&error).await,
            };
            sleep(pause).await;
        }
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
        let wait = challenged.wait;
        let answer = publish::report(&self.controller, &self.key, &binding, challenged, &checked).await;
        let answer = answer.map_err(RoundError::Report)?;
        self.backoff.reset();
        self.answered(&binding.whom, wait, &checked, answer.verdict, controller::shown(&answer.reason)).await;
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
        let (mut first, mut trouble) = (None, None);
        for digest in candidates {
            let release = match self.manifests.release(*digest, &self.controller).await {
                Ok(release) => release,
                Err(error) => {
                    tracing::warn!("manifest {digest}: {error}");
                    trouble.get_or_insert(error);
                    continue;
                }
            };
            let checked = self.checker.check(&release).await;
            self.checked_at = Some(clock::monotonic());
            if checked.status == Status::Pass {
                return Ok(checked);
            }
            first.get_or_insert(checked);
        }
        match (first, trouble) {
            (Some(checked), _) => Ok(checked),
            (None, Some(error)) => Err(error.into()),
            (None, None) => unreachable!("there is at least one candidate"),
        }
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
            RoundError::Identity(_) | RoundError::Manifest(_) => None,
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
            let checked = self.checker.check(&release).await;
            self.checked_at = Some(clock::monotonic());
            self.board.checked_meanwhile(checked);
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

fn shown(group: &GroupName) -> String {
    controller::shown(group.as_str())
}
