//! The configuration: fragments as written → settings, validated. Unknown keys are refused, and so is all that would be
//! unsafe by accident. Secrets are files that it names, never values in it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis::{
    instance::InstanceId,
    signature::{PublicKey, TrustedKeys},
};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{apply::Limits, checks};

mod facts;
mod fragments;
mod source;
mod user;

use fragments::Fragments;

/// All that the agent is told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from: for processes that read it anew.
    pub file: PathBuf,
    /// The controller's name: what is meant for another is refused there.
    pub audience: String,
    /// Where the key, the binding, the admission and the last good manifest are kept.
    pub state_dir: PathBuf,
    /// The digest that the image claims to carry.
    pub release_file: Option<PathBuf>,
    /// Whose signatures make a manifest.
    pub trust: TrustedKeys,
    /// Which manifests this image takes at all.
    pub pin: Pin,
    /// Where probes are answered.
    pub listen: SocketAddr,
    /// Whether details are told to clients that are not on this machine.
    pub public_details: bool,
    /// Where the boot's id is read.
    pub boot_id_file: PathBuf,
    /// Where manifests come from.
    pub source: Source,
    /// How checks are run.
    pub checks: checks::Options,
    /// After this long every file is read again, though nothing seems to have changed; absent: each time.
    pub rehash_after: Option<Duration>,
    /// How long to wait between rounds when nobody says otherwise.
    pub intervals: Intervals,
    /// How changes are undone.
    pub apply: Apply,
    /// Whether trees are watched between rounds.
    pub watch: bool,
}

/// Where manifests come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A controller that admits.
    Controller(Box<Controller>),
    /// A file; no controller.
    File(PathBuf, WithoutController),
}

/// What drift does to readiness where nobody else decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutController {
    /// It is told, and nothing else: ready is what has passed once since the agent was started.
    #[default]
    Observe,
    /// Ready is what passed the last verification.
    Unready,
}

/// How to speak with the controller.
#[derive(Debug, Clone)]
pub struct Controller {
    /// Its agents' listener; ends with a slash.
    pub url: Url,
    /// PEM file with the only authorities believed; the system's when absent.
    pub ca: Option<PathBuf>,
    /// As whom to speak.
    pub identity: Identity,
}

/// As whom to speak, and what shows it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who.
    pub instance: Instance,
    /// What shows it.
    pub evidence: Evidence,
    /// The metadata service, for what comes from there.
    pub imds_url: Url,
}

/// Where the instance's id comes from.
#[derive(Debug, Clone)]
pub enum Instance {
    /// The configuration.
    Static(InstanceId),
    /// The instance metadata service.
    Imds,
}

/// What shows that the agent speaks for its instance.
#[derive(Debug, Clone)]
pub enum Evidence {
    /// A token in this file.
    JoinToken(PathBuf),
    /// The identity document of the metadata service, whose signature nobody verifies yet.
    UnverifiedDocument,
}

impl Evidence {
    /// Whether anything that can reach the metadata service could have said the same.
    pub fn is_unverified(&self) -> bool {
        matches!(self, Self::UnverifiedDocument)
    }
}

/// Which manifests this image takes at all, however well they are signed (PROTOCOL.md §1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Only of this product.
    pub product: Option<String>,
    /// Only with this sequence or a later one.
    pub sequence_min: Option<u64>,
}

/// How long to wait between rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Until admitted.
    pub waiting: Duration,
    /// From then on.
    pub serving: Duration,
}

/// How changes are undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// Commands that are run after files were put back, as the agent's own user.
    pub undo: Vec<Vec<String>>,
    /// Each of them may take so long.
    pub undo_timeout: Duration,
    /// Unless the command line says otherwise.
    pub confirm_within: Duration,
    /// What may be remembered at most.
    pub limits: Limits,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read `{}`: {because}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        because: String,
    },
    /// Not TOML, an unknown key, a wrong type, not a key.
    #[error("`{}`: {because}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// The parser's words.
        because: String,
    },
    /// A value that is not allowed.
    #[error("`{}`: `{key}`: {because}", path.display())]
    Refused {
        /// In which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// Why, and what to do.
        because: String,
    },
}

impl ConfigError {
    /// What to do, where the error itself does not say it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { .. } => Some(
                "name another file with `--config FILE`, or correct the path in it; it is read as the user of this command",
            ),
            Self::Malformed { .. } => Some("correct it there; deploy/agent.toml is an example with every key"),
            Self::Refused { .. } => None,
        }
    }

    /// What looks at a value does not know the file that it is in.
    fn in_file(self, file: &Path) -> Self {
        match self {
            Self::Refused { key, because, .. } => Self::Refused { path: file.into(), key, because },
            other => other,
        }
    }
}

impl Config {
    /// Reads and validates a file; relative paths in it are relative to its directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let fragments = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.into(), because: error.to_string() })?;
        let file = std::path::absolute(path)
            .map_err(|error| ConfigError::Unreadable { path: path.into(), because: error.to_string() })?;
        Self::validate(fragments, file).map_err(|error| error.in_file(path))
    }

    fn validate(written: Fragments, file: PathBuf) -> Result<Self, ConfigError> {
        let dir = &file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let source = source::source(&written, dir)?;
        Ok(Self {
            audience: named("audience", written.audience)?,
            state_dir: dir.join(written.state_dir),
            release_file: written.release_file.map(|file| dir.join(file)),
            trust: trust(&written.trust, written.threshold, dir)?,
            pin: Pin { product: written.product, sequence_min: written.sequence_min },
            listen: written.listen,
            public_details: written.public_details,
            boot_id_file: dir.join(written.boot_id_file),
            source,
            rehash_after: rehash_after(&written.checks)?,
            checks: checks::Options {
                facts: facts::facts(&written.facts, written.controller.is_some())?,
                ..checks(written.checks, dir)?
            },
            intervals: Intervals {
                waiting: seconds("intervals.waiting_s", written.intervals.waiting_s)?,
                serving: seconds("intervals.serving_s", written.intervals.serving_s)?,
            },
            apply: apply(written.apply)?,
            watch: written.drift.watch,
            file,
        })
    }
}

fn trust(files: &[PathBuf], threshold: usize, dir: &Path) -> Result<TrustedKeys, ConfigError> {
    let mut keys = Vec::new();
    for file in files {
        let path = dir.join(file);
        let key = PublicKey::from_pem(&read_text(&path)?);
        keys.push(key.map_err(|error| ConfigError::Malformed { path, because: error.to_string() })?);
    }
    TrustedKeys::new(keys, threshold).map_err(|error| refused("trust", error.to_string()))
}

fn checks(written: fragments::Checks, dir: &Path) -> Result<checks::Options, ConfigError> {
    if written.root_commands.iter().any(Vec::is_empty) {
        return Err(refused("checks.root_commands", "an empty command"));
    }
    let mib = written.read_mib_per_s;
    if mib.is_some_and(|mib| !(1..=READ_MIB_PER_S_MAX).contains(&mib)) {
        return Err(refused("checks.read_mib_per_s", format!("not from 1 to {READ_MIB_PER_S_MAX}")));
    }
    let defaults = checks::Options::default();
    Ok(checks::Options {
        read_bytes_per_s: mib.map(|mib| mib << 20),
        // Whoever wants it slow must wait for it.
        tree_timeout: if mib.is_some() { checks::CAPPED_TREE_TIMEOUT } else { defaults.tree_timeout },
        root: written.root.map(|root| dir.join(root)),
        root_commands: written.root_commands,
        user: written.user.map_or(Ok(defaults.user), |user| user::ids(&user))?,
        ..defaults
    })
}

fn rehash_after(written: &fragments::Checks) -> Result<Option<Duration>, ConfigError> {
    if !(1..=REHASH_AFTER_S_MAX).contains(&written.rehash_after_s) {
        let because = format!("{} is not from 1 to {REHASH_AFTER_S_MAX}", written.rehash_after_s);
        return Err(refused("checks.rehash_after_s", because));
    }
    Ok(written.cache.then(|| Duration::from_secs(written.rehash_after_s)))
}

fn apply(written: fragments::Apply) -> Result<Apply, ConfigError> {
    for argv in &written.undo {
        portcullis::check::command::validate(argv)
            .map_err(|error| refused("apply.undo", format!("a command {error}")))?;
    }
    if !(1..=UNDO_TIMEOUT_MS_MAX).contains(&written.undo_timeout.ms) {
        return Err(refused("apply.undo_timeout", format!("{} is not from 1ms to 10m", written.undo_timeout)));
    }
    let confirm_within = Duration::from_millis(written.confirm_within.ms);
    if !CONFIRM_WITHIN.contains(&confirm_within) {
        return Err(refused("apply.confirm_within", format!("{} is not from 1s to 1d", written.confirm_within)));
    }
    Ok(Apply {
        undo: written.undo,
        undo_timeout: Duration::from_millis(written.undo_timeout.ms),
        confirm_within,
        limits: Limits { bytes_max: written.bytes_max, entries_max: written.entries_max },
    })
}

fn seconds(key: &'static str, seconds: u64) -> Result<Duration, ConfigError> {
    if !(1..=INTERVAL_S_MAX).contains(&seconds) {
        return Err(refused(key, format!("{seconds} is not from 1 to {INTERVAL_S_MAX}")));
    }
    Ok(Duration::from_secs(seconds))
}

/// A name that travels in every message and stands in every log.
fn named(key: &'static str, name: String) -> Result<String, ConfigError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refused(key, format!("1 to {NAME_BYTES_MAX} bytes without white space or control characters")));
    }
    Ok(name)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.into(), because: error.to_string() })
}

fn refused(key: &'static str, because: impl Into<String>) -> ConfigError {
    ConfigError::Refused { path: PathBuf::new(), key, because: because.into() }
}

/// An hour: drift that is noticed later than that may as well not be looked for.
const INTERVAL_S_MAX: u64 = 3_600;
/// More than any disk gives.
const READ_MIB_PER_S_MAX: u64 = 1 << 20;
/// A day: what no time on the instance shows is not to stay longer.
const REHASH_AFTER_S_MAX: u64 = 86_400;
/// Unless the configuration says otherwise.
pub const STATE_DIR: &str = "/var/lib/portcullis";
/// A reload that takes longer has failed.
const UNDO_TIMEOUT_MS_MAX: u64 = 600_000;
/// Less is no time to look, more is no confirmation.
pub const CONFIRM_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
