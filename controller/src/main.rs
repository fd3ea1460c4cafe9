//! `portcullis-controller`: the command line of the controller.
#![forbid(unsafe_code)]

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use portcullis_controller::{
    alerts,
    clock::Clock,
    config::{Config, ConfigError, Holder},
    providers::{Provider, aws::AwsProvider, haproxy::HaproxyProvider},
    run::Controller,
    stores::redb::RedbStore,
};
use tokio::signal::unix::{SignalKind, signal};

/// Holds instances out of the load balancer until they are proven.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until told to stop
    Run(Args),
    /// Read and validate the configuration, and the files it names
    CheckConfig(Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis-controller check-config --config /etc/portcullis/controller.toml
  RUST_LOG=debug portcullis-controller run --config /etc/portcullis/controller.toml

Exit codes: 0 valid, or stopped as it was told to; 2 the configuration cannot be used, or it cannot start.")]
struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/portcullis/controller.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    log_to_stderr();
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args.config),
        Command::CheckConfig(args) => check_config(&args.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "error: {}", portcullis::text::visible_lines(&format!("{error:#}")));
            if let Some(hint) = error.downcast_ref::<ConfigError>().and_then(ConfigError::hint) {
                let _ = writeln!(stderr, "hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

fn check_config(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    for listener in [&config.agents, &config.operators] {
        listener.tls.as_ref().map_or(Ok(()), portcullis_controller::http::tls::check)?;
    }
    alerts::check(&config).map_err(anyhow::Error::msg)?;
    let groups = config.policy.groups.len();
    let _ = writeln!(std::io::stdout(), "{}: valid, {groups} gated groups", path.display());
    Ok(())
}

fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let ran = runtime.block_on(serve(config));
    // Handlers on blocking threads are bounded, but nobody waits for their answers any more.
    runtime.shutdown_background();
    ran
}

/// As many open files as we may have: every agent keeps a connection for a while, and the usual 1,024 are a default for programs
/// that use `select`, which this one does not.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Asked for first: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let interrupt = tokio::spawn(async { tokio::signal::ctrl_c().await.is_ok() });
    let store = Arc::new(RedbStore::open_keeping(&config.store, config.audit_lines_max)?);
    let provider: Arc<dyn Provider> = match &config.holder {
        Holder::Aws(aws) => Arc::new(AwsProvider::connect(aws, config.policy.limits.call_timeout).await),
        Holder::Haproxy(haproxy) => Arc::new(HaproxyProvider::new(haproxy.clone())),
    };
    let controller = Controller::start(config, store, provider, Clock::system()).await?;
    let line = format!("agents on {}, operators on {}", controller.agents, controller.operators);
    writeln!(std::io::stdout(), "{line}").context("cannot write to stdout")?;
    tracing::info!("{line}");
    let terminated = tokio::spawn(async move { terminate.recv().await.is_some() });
    wait_for_either(terminated, interrupt).await;
    tracing::info!("stopping");
    controller.stop().await;
    Ok(())
}

async fn wait_for_either(mut a: tokio::task::JoinHandle<bool>, mut b: tokio::task::JoinHandle<bool>) {
    std::future::poll_fn(|context| {
        let a = std::pin::Pin::new(&mut a).poll(context).is_ready();
        if a || std::pin::Pin::new(&mut b).poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
}

/// JSON for machines, plain lines on a terminal; `RUST_LOG` chooses what.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,aws_config=warn,aws_smithy_runtime=warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
}
