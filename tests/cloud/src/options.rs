//! What can be chosen when a cloud is made: seed, delays, limits, and the behaviour that no source settles.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// How a simulated cloud behaves. `Options::default()` is short delays and the likeliest behaviour.
#[derive(Clone, Debug)]
pub struct Options {
    /// The same seed and the same calls at the same times give the same ids and tokens.
    pub seed: u64,
    /// The Region in ARNs and availability zones.
    pub region: String,
    /// The account in ARNs and notices.
    pub account: String,
    /// The private address of the first launched instance; each further one has the next address.
    pub first_address: Ipv4Addr,
    /// How long things take by themselves.
    pub delays: Delays,
    /// The choices that AWS does not document.
    pub behaviour: Behaviour,
    /// The token bucket over all calls; `None` never throttles.
    pub rate: Option<Rate>,
    /// Who says that a registered target is healthy.
    pub target_health: TargetHealthSource,
}

/// How long things take, in milliseconds. The defaults are far shorter than AWS's, so that tests are quick.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// `Pending` until the hook fires (or until registration, without a hook).
    pub boot_ms: u64,
    /// `Pending:Proceed` until registration, and `Terminating:Proceed` until gone.
    pub proceed_ms: u64,
    /// From registration with the target groups until `InService`.
    pub register_ms: u64,
    /// `initial` until the target's health is looked at.
    pub initial_ms: u64,
    /// Deregistration delay: how long a target is `draining` (AWS's default is 300 s).
    pub drain_ms: u64,
    /// From an unhealthy mark until the instance is replaced.
    pub replace_ms: u64,
    /// After a few failed launches in a row, the first pause before the next; it doubles from there.
    pub relaunch_first_ms: u64,
    /// The longest pause between launches of a group that keeps failing.
    pub relaunch_most_ms: u64,
}

/// What no source settles about AWS; each can be had both ways.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Scale-in while launches wait: take a waiting instance before one in service?
    pub scale_in_takes_waiting_first: bool,
    /// Does an abandoned launch run the group's terminating hooks on its way out?
    pub abandoned_launch_runs_terminating_hooks: bool,
    /// After this long without one successful launch, AWS may suspend `Launch`; `None` never does.
    pub suspend_launches_after_ms: Option<u64>,
}

/// A token bucket: every call takes one token.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Tokens when full.
    pub burst: u32,
    /// Tokens added each second.
    pub per_second: u32,
}

/// Who says that a registered target is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetHealthSource {
    /// Every target becomes healthy after `initial_ms`, unless told otherwise.
    #[default]
    Automatic,
    /// A target stays `initial` until it is told: for embedders that probe real web servers.
    Told,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            region: "eu-west-1".into(),
            account: "123456789012".into(),
            first_address: Ipv4Addr::new(10, 0, 0, 10),
            delays: Delays::default(),
            behaviour: Behaviour::default(),
            rate: None,
            target_health: TargetHealthSource::default(),
        }
    }
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            boot_ms: 200,
            proceed_ms: 200,
            register_ms: 50,
            initial_ms: 200,
            drain_ms: 200,
            replace_ms: 200,
            relaunch_first_ms: 1_000,
            relaunch_most_ms: 900_000,
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            scale_in_takes_waiting_first: false,
            abandoned_launch_runs_terminating_hooks: false,
            suspend_launches_after_ms: Some(24 * 3_600_000),
        }
    }
}
