//! The server as a program.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use portcullis_cloud::{Behaviour, Clock, Delays, Options, Rate, Server, ServerOptions, TargetHealthSource};

/// A simulated AWS Auto Scaling that really holds instances at their lifecycle hooks.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve Auto Scaling and target groups, and /_cloud/ for tests; prints `listening on http://ADDRESS`.
    Serve(Box<Serve>),
}

#[derive(Args)]
struct Serve {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4580")]
    listen: SocketAddr,
    /// The same seed and the same calls give the same ids and tokens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The Region in ARNs and zones.
    #[arg(long, default_value = "eu-west-1")]
    region: String,
    /// Simulated seconds per real second.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    speed: u32,
    /// Let time stand still except for POST /_cloud/advance; starts at this many milliseconds since 1970.
    #[arg(long, value_name = "MS", conflicts_with = "speed")]
    virtual_clock: Option<u64>,
    /// The private address of the first instance; each further one has the next.
    #[arg(long, default_value = "10.0.0.10")]
    first_address: Ipv4Addr,
    /// Who says that a registered target is healthy: time, or POST /_cloud/target-health.
    #[arg(long, value_enum, default_value_t = Health::Automatic)]
    target_health: Health,
    /// Take waiting instances before those in service when scaling in.
    #[arg(long)]
    scale_in_takes_waiting_first: bool,
    /// Run terminating hooks for abandoned launches.
    #[arg(long)]
    abandoned_launch_runs_terminating_hooks: bool,
    /// Throttle: tokens in the full bucket.
    #[arg(long, requires = "rate_per_second")]
    rate_burst: Option<u32>,
    /// Throttle: tokens added per second.
    #[arg(long, requires = "rate_burst")]
    rate_per_second: Option<u32>,
    #[command(flatten)]
    delays: DelayArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Delays in milliseconds")]
struct DelayArgs {
    /// Pending until the hook fires.
    #[arg(long, default_value_t = Delays::default().boot_ms)]
    boot_ms: u64,
    /// Pending:Proceed until registration; Terminating:Proceed until gone.
    #[arg(long, default_value_t = Delays::default().proceed_ms)]
    proceed_ms: u64,
    /// Registration until InService.
    #[arg(long, default_value_t = Delays::default().register_ms)]
    register_ms: u64,
    /// Target initial until its health counts.
    #[arg(long, default_value_t = Delays::default().initial_ms)]
    initial_ms: u64,
    /// Target draining.
    #[arg(long, default_value_t = Delays::default().drain_ms)]
    drain_ms: u64,
    /// Unhealthy until replaced.
    #[arg(long, default_value_t = Delays::default().replace_ms)]
    replace_ms: u64,
    /// The first pause of a group whose launches keep failing; it doubles.
    #[arg(long, default_value_t = Delays::default().relaunch_first_ms)]
    relaunch_first_ms: u64,
    /// The longest such pause.
    #[arg(long, default_value_t = Delays::default().relaunch_most_ms)]
    relaunch_most_ms: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Health {
    Automatic,
    Told,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Serve(serve) = Cli::parse().command;
    let listen = serve.listen;
    let server = Server::start(serve.options()).await.with_context(|| format!("failed to listen on {listen}"))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on {}", server.url()).and_then(|()| stdout.flush()).context("failed to write")?;
    drop(stdout);
    tokio::select! {
        biased;
        stop = tokio::signal::ctrl_c() => stop.context("failed to wait for a signal"),
        () = server.run() => Ok(()),
    }
}

impl Serve {
    fn options(self) -> ServerOptions {
        let clock = match self.virtual_clock {
            Some(start_ms) => Clock::Virtual { start_ms },
            None => Clock::Real { speed: self.speed },
        };
        let rate = self.rate_burst.zip(self.rate_per_second);
        let cloud = Options {
            seed: self.seed,
            region: self.region,
            first_address: self.first_address,
            delays: self.delays.delays(),
            behaviour: Behaviour {
                scale_in_takes_waiting_first: self.scale_in_takes_waiting_first,
                abandoned_launch_runs_terminating_hooks: self.abandoned_launch_runs_terminating_hooks,
                ..Behaviour::default()
            },
            rate: rate.map(|(burst, per_second)| Rate { burst, per_second }),
            target_health: match self.target_health {
                Health::Automatic => TargetHealthSource::Automatic,
                Health::Told => TargetHealthSource::Told,
            },
            ..Options::default()
        };
        ServerOptions { listen: self.listen, clock, cloud }
    }
}

impl DelayArgs {
    fn delays(&self) -> Delays {
        Delays {
            boot_ms: self.boot_ms,
            proceed_ms: self.proceed_ms,
            register_ms: self.register_ms,
            initial_ms: self.initial_ms,
            drain_ms: self.drain_ms,
            replace_ms: self.replace_ms,
            relaunch_first_ms: self.relaunch_first_ms,
            relaunch_most_ms: self.relaunch_most_ms,
        }
    }
}
