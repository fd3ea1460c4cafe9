//! The whole controller: what is opened in which order, and how it ends.

use std::sync::Arc;

use portcullis::{challenge::MacKey, digest::Digest, policy::Mode};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};

use crate::{
    alerts::{
        self, Sinks,
        dead_man::{self, DeadMan, Heard},
    },
    audit::Audit,
    clock::Clock,
    config::Config,
    http::{
        App, AppParts, agents, operators,
        serve::{BindError, Server},
    },
    metrics::Metrics,
    providers::Provider,
    reconcile::{Notices, Parts, Reconciler},
    records::{self, ChallengeKey},
    sources::lifecycle_queue::{Patience, Source},
    stores::{Batch, Store, StoreError},
};

/// A controller that runs.
pub struct Controller {
    /// Where agents are listened to: `http://ADDRESS`.
    pub agents: String,
    /// Where operators are listened to.
    pub operators: String,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// The controller could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listener could not be set up.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A sink for alerts could not be set up.
    #[error("alerts `{name}`: {because}")]
    Sink {
        /// Which.
        name: String,
        /// What is wrong with it.
        because: String,
    },
    /// The system gave no address or no randomness.
    #[error("the system failed: {0}")]
    System(String),
}

impl Controller {
    /// Starts everything: loop, audit, both listeners.
    ///
    /// # Errors
    /// When the store fails or an address cannot be had; nothing is left running then.
    pub async fn start(
        config: Config,
        store: Arc<dyn Store>,
        provider: Arc<dyn Provider>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        warn(&config);
        let metrics = Arc::new(Metrics::new());
        let mac = mac_key(&*store)?;
        let (audit, writer) = Audit::start(Arc::clone(&store), Arc::clone(&metrics));
        let (notices, noticed) = Notices::new(Arc::clone(&metrics));
        let (snapshots, seen) = watch::channel(Arc::default());
        let parts = AppParts {
            store: Arc::clone(&store),
            provider: Arc::clone(&provider),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            audit: audit.clone(),
            notices: notices.clone(),
            snapshots: seen.clone(),
            mac,
        };
        let policy = config.policy.clone();
        let sinks = config.sinks.iter().map(|(name, kind)| {
            let sink = alerts::open(kind).map_err(|because| StartError::Sink { name: name.clone(), because });
            Ok((name.clone(), sink?))
        });
        let sinks: Arc<Sinks> = Arc::new(sinks.collect::<Result<_, StartError>>()?);
        let queue = provider.queue().map(|queue| Source {
            queue,
            gated: config.policy.groups.keys().cloned().collect(),
            notices: notices.clone(),
            snapshots: seen.clone(),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            patience: Patience::default(),
        });
        let heard = Arc::new(Heard::default());
        let watched = dead_man::Parts {
            snapshots: seen.clone(),
            heard: Arc::clone(&heard),
            audit: audit.clone(),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
        };
        let named = |because| StartError::Sink { name: "dead_man".into(), because };
        let dead_man = DeadMan::new(&config.dead_man, watched).map_err(named)?;
        let (for_agents, for_operators) = (config.agents.clone(), config.operators.clone());
        let app = App::new(config, parts);
        let agents = Server::bind("agents", &for_agents, agents::router(Arc::clone(&app)), Arc::clone(&app)).await?;
        let operators = Server::bind("operators", &for_operators, operators::router(Arc::clone(&app)), app).await?;
        let reconciler = Reconciler::start(
            Parts { store, provider, sinks, heard, policy, clock, metrics, audit },
            noticed,
            snapshots,
        )?;
        let (stop, stopped) = watch::channel(false);
        let system = |error: std::io::Error| StartError::System(error.to_string());
        let (agents_url, operators_url) = (agents.url().map_err(system)?, operators.url().map_err(system)?);
        let mut tasks = vec![
            tokio::spawn(reconciler.run(stopped.clone())),
            tokio::spawn(dead_man.run(stopped.clone())),
            tokio::spawn(agents.run(stopped.clone())),
            tokio::spawn(operators.run(stopped.clone())),
            writer,
        ];
        if let Some(source) = queue {
            let receiving = tokio::spawn(source.run());
            tasks.push(tokio::spawn(ends(receiving, stopped)));
        }
        Ok(Self { agents: agents_url, operators: operators_url, stop, tasks })
    }

    /// Ends everything in order; what was decided is on disk.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            // The audit's writer ends when connections have let go of it: that may take as long as they live.
            let _: Result<Result<(), JoinError>, _> = tokio::time::timeout(STOP_MAX, task).await;
        }
    }
}

/// Ends what would go on for ever, when it is time.
async fn ends(task: JoinHandle<()>, mut stopped: watch::Receiver<bool>) {
    // Nobody is left to say it: that is as good.
    let _ = stopped.wait_for(|stopped| *stopped).await.is_ok();
    task.abort();
}

/// What an operator must not overlook.
fn warn(config: &Config) {
    if config.allow_unverified_identity {
        tracing::warn!(
            "allow_unverified_identity: whoever can reach the agents' listener may enrol as any instance; \
             use it in rehearsals only"
        );
    }
    if config.policy.groups.is_empty() {
        tracing::warn!("no group is configured: nothing is gated");
    }
    for (name, _) in config.policy.groups.iter().filter(|(_, group)| group.mode == Mode::Observe) {
        tracing::info!(group = %name, "the group only observes: unproven instances are let into service");
    }
}

/// The key of challenges: made at the first start, kept, so that a restart takes the challenges of before.
pub(crate) fn mac_key(store: &dyn Store) -> Result<MacKey, StartError> {
    const PATH: &str = "secret/challenge";
    let system = |error: getrandom::Error| StartError::System(error.to_string());
    let key = match records::read::<ChallengeKey>(store, PATH)? {
        Some((_, key)) => key,
        None => {
            let (mut id, mut secret) = ([0; 32], [0; 32]);
            getrandom::fill(&mut id).map_err(system)?;
            getrandom::fill(&mut secret).map_err(system)?;
            let id = Digest::from_bytes(id).to_hex()[..16].to_string();
            let key = ChallengeKey { id, secret: Digest::from_bytes(secret).to_hex() };
            store.commit(Batch { writes: vec![records::put(PATH.into(), None, &key)], events: Vec::new() })?;
            key
        }
    };
    let secret = Digest::from_hex(&key.secret).ok_or_else(|| StoreError::Failed(format!("`{PATH}` is damaged")))?;
    Ok(MacKey { id: key.id, secret: *secret.as_bytes() })
}

/// A stop that takes longer than this is a kill, which is as good.
const STOP_MAX: std::time::Duration = std::time::Duration::from_secs(3);
