//! The configuration as people write it: nothing here is validated.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragments {
    #[serde(default = "defaults::audience")]
    pub(super) audience: String,
    #[serde(default = "defaults::state_dir")]
    pub(super) state_dir: PathBuf,
    pub(super) release_file: Option<PathBuf>,
    pub(super) trust: Vec<PathBuf>,
    #[serde(default = "defaults::threshold")]
    pub(super) threshold: usize,
    pub(super) product: Option<String>,
    pub(super) sequence_min: Option<u64>,
    #[serde(default = "defaults::listen")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) public_details: bool,
    #[serde(default = "defaults::boot_id_file")]
    pub(super) boot_id_file: PathBuf,
    pub(super) controller: Option<Controller>,
    pub(super) identity: Option<Identity>,
    #[serde(default)]
    pub(super) checks: Checks,
    #[serde(default)]
    pub(super) intervals: Intervals,
}

/// `[controller]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Controller {
    pub(super) url: String,
    pub(super) ca: Option<PathBuf>,
    pub(super) join_token_file: Option<PathBuf>,
}

/// `[identity]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) source: IdentitySource,
    pub(super) instance: Option<String>,
    #[serde(default)]
    pub(super) allow_unverified_identity: bool,
    #[serde(default = "defaults::imds_url")]
    pub(super) imds_url: String,
}

/// `identity.source`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdentitySource {
    Static,
    Imds,
}

/// `[checks]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checks {
    pub(super) manifest: Option<PathBuf>,
    pub(super) root: Option<PathBuf>,
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) root_commands: Vec<Vec<String>>,
}

/// `[intervals]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Intervals {
    pub(super) waiting_s: u64,
    pub(super) serving_s: u64,
}

impl Default for Intervals {
    /// Often enough that a repaired instance is admitted within seconds; rarely enough that hashing costs a server nothing.
    fn default() -> Self {
        Self { waiting_s: 5, serving_s: 60 }
    }
}

mod defaults {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        path::PathBuf,
    };

    pub(super) fn audience() -> String {
        "default".into()
    }

    pub(super) fn state_dir() -> PathBuf {
        "/var/lib/portcullis".into()
    }

    pub(super) fn threshold() -> usize {
        1
    }

    pub(super) fn listen() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7410))
    }

    pub(super) fn boot_id_file() -> PathBuf {
        "/proc/sys/kernel/random/boot_id".into()
    }

    pub(super) fn imds_url() -> String {
        "http://169.254.169.254".into()
    }
}
