//! The configuration as people write it: nothing here is validated.

use std::{net::SocketAddr, path::PathBuf};

use portcullis::duration::Span;
use serde::Deserialize;

use super::WithoutController;

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
    pub(super) facts: toml::Table,
    #[serde(default)]
    pub(super) checks: Checks,
    #[serde(default)]
    pub(super) intervals: Intervals,
    #[serde(default)]
    pub(super) apply: Apply,
    #[serde(default)]
    pub(super) drift: Drift,
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Checks {
    pub(super) manifest: Option<PathBuf>,
    pub(super) root: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) root_commands: Vec<Vec<String>>,
    pub(super) cache: bool,
    pub(super) rehash_after_s: u64,
    pub(super) read_mib_per_s: Option<u64>,
}

impl Default for Checks {
    fn default() -> Self {
        // A cache may lie in ways that nobody has thought of: not for longer than an hour, which costs a second or two.
        Self {
            manifest: None,
            root: None,
            user: None,
            root_commands: Vec::new(),
            cache: true,
            rehash_after_s: 3_600,
            read_mib_per_s: None,
        }
    }
}

/// `[apply]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Apply {
    pub(super) undo: Vec<Vec<String>>,
    pub(super) undo_timeout: Span,
    pub(super) confirm_within: Span,
    pub(super) bytes_max: u64,
    pub(super) entries_max: usize,
}

impl Default for Apply {
    /// A minute to log in again; what a configuration has, and a small application.
    fn default() -> Self {
        Self {
            undo: Vec::new(),
            undo_timeout: Span::from_s(30),
            confirm_within: Span::from_s(60),
            bytes_max: 1 << 30,
            entries_max: 200_000,
        }
    }
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

/// `[drift]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Drift {
    pub(super) watch: bool,
    pub(super) without_controller: Option<WithoutController>,
}

impl Default for Drift {
    fn default() -> Self {
        Self { watch: true, without_controller: None }
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
        crate::config::STATE_DIR.into()
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
