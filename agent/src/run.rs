//! `run`: proves the instance again and again, and tells whoever asks how it stands.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portcullis::instance::BootId;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    apply,
    board::Board,
    checks::{self, Cache},
    config::{self, Config, Source, WithoutController},
    controller::{ClientError, Controller},
    health::{self, Health},
    identity::Identity,
    keys::{self, KeyFileError},
    manifests::{Manifests, Rules},
    metrics::Metrics,
    notify,
    pace::Backoff,
    restore::Restorer,
    standing::{By, Standing},
    state::{self, State, StateError},
};

use alone::Alone;
use checker::Checker;
use gated::Gated;
use patrol::Patrol;

mod alone;
mod checker;
mod gated;
mod patrol;

/// The agent cannot start. Once it runs, nothing ends it but a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("the state directory: {0}")]
    State(String),
    /// The instance's key cannot be used.
    #[error("the instance's key: {0}")]
    Key(String),
    /// The boot's id cannot be read.
    #[error("the boot's id in `{}`: {because}", path.display())]
    BootId {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        because: String,
    },
    /// The client of the controller cannot be made.
    #[error("the controller's client: {0}")]
    Client(String),
    /// The address for probes is taken, or not ours.
    #[error("cannot listen on {address}: {because}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        because: String,
    },
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(#[from] io::Error),
}

impl From<StateError> for RunError {
    fn from(error: StateError) -> Self {
        Self::State(error.to_string())
    }
}

impl From<KeyFileError> for RunError {
    fn from(error: KeyFileError) -> Self {
        Self::Key(error.to_string())
    }
}

impl From<ClientError> for RunError {
    fn from(error: ClientError) -> Self {
        Self::Client(error.to_string())
    }
}

/// Runs until SIGTERM or SIGINT. One thread does everything but writing and waiting for the process that checks, so that an idle agent costs
/// an instance next to nothing.
pub fn run(config: &Config) -> Result<(), RunError> {
    apply::at_start(&config.state_dir);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()?;
    let ended = runtime.block_on(main(config));
    // A check that is running is not waited for: what it started ends with the service.
    runtime.shutdown_background();
    ended
}

async fn main(config: &Config) -> Result<(), RunError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let metrics = Arc::new(Metrics::default());
    let warnings = warnings(config);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let by = match &config.source {
        Source::Controller(_) => By::Admission,
        Source::File(_, WithoutController::Observe) => By::FirstPass,
        Source::File(_, WithoutController::Unready) => By::LastPass,
    };
    let board = Board::new(Standing::new(by, warnings), Arc::clone(&metrics));
    let health =
        Health { standing: board.readers(), metrics: Arc::clone(&metrics), public_details: config.public_details };
    let address = config.listen;
    let mut rounds = Rounds::new(config, board, metrics)?;
    let unheard = |error: io::Error| RunError::Listen { address, because: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(unheard)?;
    tracing::info!("listening on http://{}", listener.local_addr().map_err(unheard)?);
    notify::ready();
    // On this thread, but never in the way of one another: what takes long runs on others.
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        never = health::serve(listener, Arc::new(health)) => match never {},
        never = apply::watch(config.state_dir.clone()) => match never {},
        never = rounds.run() => match never {},
    }
    notify::stopping();
    tracing::info!("stopped");
    Ok(())
}

/// With a controller or without.
#[expect(clippy::large_enum_variant, reason = "there is one, and it lives as long as the process")]
enum Rounds {
    Gated(Gated),
    Alone(Alone),
}

impl Rounds {
    fn new(config: &Config, board: Board, metrics: Arc<Metrics>) -> Result<Self, RunError> {
        let rules = Arc::new(Rules { trust: config.trust.clone(), pin: config.pin.clone() });
        let options = checks::Options { cache: cache(config), ..config.checks.clone() };
        // Looks are counted apart from rounds.
        let looks = Checker::new(options.clone(), Arc::clone(&rules), Arc::default(), board.readers());
        let patrol = Patrol::new(config, looks, Arc::clone(&metrics));
        let checker = Checker::new(options, Arc::clone(&rules), Arc::clone(&metrics), board.readers());
        let intervals = config.intervals;
        match &config.source {
            Source::File(manifest, _) => {
                let (manifest, program) = (manifest.clone(), config.checks.program.clone());
                let restorer = Restorer::new(config);
                Ok(Self::Alone(Alone {
                    manifest,
                    rules,
                    program,
                    last: None,
                    believed: None,
                    copy: config.state_dir.join(BELIEVED),
                    checker,
                    patrol,
                    board,
                    intervals,
                    restorer,
                }))
            }
            Source::Controller(settings) => {
                Ok(Self::Gated(gated(config, settings, rules, (checker, patrol), board, metrics)?))
            }
        }
    }

    async fn run(&mut self) -> Infallible {
        match self {
            Self::Gated(gated) => gated.run().await,
            Self::Alone(alone) => alone.run().await,
        }
    }
}

fn gated(
    config: &Config,
    settings: &config::Controller,
    rules: Arc<Rules>,
    (checker, patrol): (Checker, Patrol),
    board: Board,
    metrics: Arc<Metrics>,
) -> Result<Gated, RunError> {
    let state = Arc::new(State::open(&config.state_dir)?);
    let mut gated = Gated {
        audience: config.audience.clone(),
        boot_id: boot_id(&config.boot_id_file)?,
        key: Arc::new(keys::load_or_make(state.dir())?),
        controller: Controller::new(settings)?,
        identity: Identity::new(settings.identity.clone()).map_err(ClientError::from)?,
        manifests: Manifests::new(rules, Arc::clone(&state), config.checks.program.clone()),
        state,
        release_file: config.release_file.clone(),
        checker,
        patrol,
        board,
        metrics,
        intervals: config.intervals,
        restorer: Restorer::new(config),
        backoff: Backoff::new(),
        binding: None,
        serving: None,
        checked_at: None,
    };
    gated.restore();
    Ok(gated)
}

/// `None` as well where the boot has no id: what is kept would be good for every boot.
fn cache(config: &Config) -> Option<Cache> {
    let rehash_after = config.rehash_after?;
    let BootId(boot_id) = boot_id(&config.boot_id_file).ok()?;
    Some(Cache { dir: config.state_dir.join("cache"), boot_id, rehash_after })
}

fn boot_id(path: &Path) -> Result<BootId, RunError> {
    let unreadable = |because: String| RunError::BootId { path: path.into(), because };
    let bytes = state::read_capped(path, BOOT_ID_BYTES_MAX).map_err(|error| unreadable(error.to_string()))?;
    match str::from_utf8(&bytes).map(str::trim) {
        Ok(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(BootId(id.into())),
        _ => Err(unreadable("not a word".into())),
    }
}

/// What people should know about how it was set up, at start, in `/readyz?verbose` and as a metric.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Source::Controller(controller) = &config.source
        && controller.identity.evidence.is_unverified()
    {
        warnings.push(
            "`allow_unverified_identity` is set: whoever can read this instance's identity document can enrol in its \
             place, as nobody verifies its signature yet"
                .into(),
        );
    }
    if let Some(root) = &config.checks.root {
        warnings.push(format!("`checks.root` is set: it is `{}` that is checked, not this machine", root.display()));
    }
    warnings
}

/// In the state directory: the last manifest from a file that was believed.
const BELIEVED: &str = "believed.json";
/// Checking, verifying and writing come one after the other; one more of each for what hangs.
const BLOCKING_THREADS_MAX: usize = 8;
/// Soon after, there is one thread again.
const THREAD_KEEP_ALIVE: Duration = Duration::from_millis(100);
/// The kernel's has 36.
const BOOT_ID_BYTES_MAX: usize = 256;
