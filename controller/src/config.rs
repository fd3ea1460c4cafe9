//! The configuration: as written → validated. Unknown keys are refused, and so is everything unsafe by accident.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis::{
    digest::Digest,
    instance::GroupName,
    policy::Policy,
    signature::{PublicKey, TrustedKeys},
};

mod duration;
mod haproxy;
mod written;

pub use duration::Length;
pub use haproxy::{Haproxy, Pool, Socket};
use written::ping_every;
pub use written::{Agents, Alerts, Aws, Balancer, Drift, Group, Limits, Operators, Tls, Token, Trust, Written};

/// All that the controller is told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that agents address; a report for another audience is refused.
    pub audience: String,
    /// The store's file.
    pub store: PathBuf,
    /// How many audit lines it keeps; older ones are dropped.
    pub audit_lines_max: u64,
    /// Whether an identity document whose signature was not verified may enrol an agent.
    pub allow_unverified_identity: bool,
    /// Where agents are listened to.
    pub agents: Listener,
    /// Where operators are listened to.
    pub operators: Listener,
    /// Who may speak as an operator: name by the SHA-256 of the token.
    pub operator_tokens: Vec<(Digest, String)>,
    /// Who holds the instances.
    pub holder: Holder,
    /// Whose signatures make a manifest.
    pub trust: TrustedKeys,
    /// What may be promoted in which group.
    pub pins: BTreeMap<GroupName, Pin>,
    /// Where alerts are told, by name.
    pub sinks: BTreeMap<String, SinkKind>,
    /// Who is pinged for as long as alerts would be told.
    pub dead_man: DeadMan,
    /// What the decisions go by.
    pub policy: Policy,
}

/// Who holds the instances, and lets them in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// AWS Auto Scaling.
    Aws(Aws),
    /// HAProxy, in front of servers that nobody launches.
    Haproxy(Haproxy),
}

/// The dead man's switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadMan {
    /// Who is pinged, if anybody: by `GET`, or by running it.
    pub to: Option<SinkKind>,
    /// How often.
    pub every: Duration,
}

/// A place where alerts are told.
#[derive(Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// `POST` to this URL.
    Webhook(String),
    /// This command, with the message on its standard input.
    Command(Vec<String>),
}

impl std::fmt::Debug for SinkKind {
    /// A webhook's URL is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Webhook(_) => "Webhook(…)",
            Self::Command(_) => "Command(…)",
        })
    }
}

/// An address, and how it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes any.
    pub listen: SocketAddr,
    /// Certificate and key; none on loopback only.
    pub tls: Option<Tls>,
    /// Of one client address.
    pub requests_per_minute_max: u32,
    /// Of one client address, at the same time.
    pub connections_max: usize,
}

/// What may be promoted in a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pin {
    /// Only releases of this product.
    pub product: Option<String>,
    /// Only releases with this sequence or a later one.
    pub sequence_min: Option<u64>,
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
    /// Not TOML, an unknown key, a wrong type.
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
        key: String,
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
            Self::Malformed { .. } => Some(
                "correct it there, then `portcullis-controller check-config`; deploy/controller.toml is an example with every key",
            ),
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
    ///
    /// # Errors
    /// When it or a file it names cannot be read, or a value is not allowed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let written = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.into(), because: error.to_string() })?;
        Self::validate(written, path.parent().unwrap_or(Path::new(""))).map_err(|error| error.in_file(path))
    }

    fn validate(written: Written, dir: &Path) -> Result<Self, ConfigError> {
        if written.audience.trim().is_empty() {
            return Err(refused("audience", "must name this controller, as agents address it"));
        }
        if written.audit_lines_max < AUDIT_LINES_MIN {
            return Err(refused("audit_lines_max", &format!("must be {AUDIT_LINES_MIN} at least")));
        }
        let sinks = sinks(written.alerts, dir)?;
        let haproxy = haproxy::haproxy(&written.haproxy, &written.groups, dir)?;
        let (holder, limits) = match (haproxy, written.aws) {
            (Some(_), Some(_)) => return Err(refused("aws", "one controller has either `[aws]` or `[[haproxy]]`")),
            (Some(haproxy), None) => (Holder::Haproxy(haproxy), haproxy::limits(written.limits)),
            (None, aws) => (Holder::Aws(cloud(aws.unwrap_or_default())?), written.limits),
        };
        let dead_man = dead_man(written.dead_man, dir)?;
        let Operators { listen, tls, requests_per_minute_max, connections_max, tokens: operator_tokens } =
            written.operators;
        let operators = Agents { listen, tls, requests_per_minute_max, connections_max };
        Ok(Self {
            audience: written.audience,
            store: dir.join(written.store),
            audit_lines_max: written.audit_lines_max,
            allow_unverified_identity: written.allow_unverified_identity,
            agents: listener("agents", written.agents, dir)?,
            operators: listener("operators", operators, dir)?,
            operator_tokens: tokens(operator_tokens, dir)?,
            holder,
            trust: trust(&written.trust, dir)?,
            pins: written.groups.iter().map(|(name, group)| (name.clone(), group.pin())).collect(),
            policy: Policy { sinks: sinks.keys().cloned().collect(), ..written::policy(written.groups, &limits)? },
            sinks,
            dead_man,
        })
    }
}

/// A URL that leads nowhere would be found out by a fleet that nobody describes.
fn cloud(aws: Aws) -> Result<Aws, ConfigError> {
    let urls = [("aws.endpoint_url", &aws.endpoint_url), ("aws.lifecycle_queue_url", &aws.lifecycle_queue_url)];
    for (key, url) in urls {
        let is_usable = |url: &String| {
            let parsed = reqwest::Url::parse(url);
            parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        };
        if url.as_ref().is_some_and(|url| !is_usable(url)) {
            return Err(refused(
                key,
                "must be a URL: `https://` (or `http://`), a host, and a port where it has its own",
            ));
        }
    }
    Ok(aws)
}

/// Off loopback only with TLS: a challenge or a bearer token in the clear is anybody's.
fn listener(name: &str, written: Agents, dir: &Path) -> Result<Listener, ConfigError> {
    let Agents { listen, tls, requests_per_minute_max, connections_max } = written;
    if requests_per_minute_max == 0 {
        return Err(refused(&format!("{name}.requests_per_minute_max"), "must not be zero"));
    }
    if connections_max == 0 {
        return Err(refused(&format!("{name}.connections_max"), "must not be zero"));
    }
    if tls.is_none() && !listen.ip().is_loopback() {
        let because = format!("{listen} is not a loopback address: give `[{name}.tls]` with `cert` and `key`");
        return Err(refused(&format!("{name}.listen"), &because));
    }
    let tls = tls.map(|tls| Tls { cert: dir.join(tls.cert), key: dir.join(tls.key) });
    Ok(Listener { listen, tls, requests_per_minute_max, connections_max })
}

fn sinks(written: Vec<Alerts>, dir: &Path) -> Result<BTreeMap<String, SinkKind>, ConfigError> {
    let mut sinks = BTreeMap::new();
    for Alerts { name, webhook_file, command } in written {
        let kind = sink("alerts", webhook_file, command, dir)?
            .ok_or_else(|| refused("alerts", &format!("`{name}` needs either `webhook_file` or `command`")))?;
        if name.trim().is_empty() || sinks.insert(name.clone(), kind).is_some() {
            return Err(refused("alerts.name", "must be there, and different for each"));
        }
    }
    Ok(sinks)
}

/// One of the two, or neither.
fn sink(
    table: &str,
    file: Option<PathBuf>,
    command: Option<Vec<String>>,
    dir: &Path,
) -> Result<Option<SinkKind>, ConfigError> {
    match (file, command) {
        (None, None) => Ok(None),
        (Some(file), None) => Ok(Some(SinkKind::Webhook(read_text(&dir.join(file))?.trim().into()))),
        (None, Some(argv)) if argv.first().is_some_and(|program| program.starts_with('/')) => {
            Ok(Some(SinkKind::Command(argv)))
        }
        (None, Some(_)) => Err(refused(&format!("{table}.command"), "must begin with the program's absolute path")),
        (Some(_), Some(_)) => Err(refused(table, "takes a file with a URL, or `command`, not both")),
    }
}

fn dead_man(written: Option<written::DeadMan>, dir: &Path) -> Result<DeadMan, ConfigError> {
    let Some(written::DeadMan { url_file, command, every }) = written else {
        return Ok(DeadMan { to: None, every: ping_every() });
    };
    let every = every.map_or_else(ping_every, |Length(every)| every);
    if every.is_zero() {
        return Err(refused("dead_man.every", "must not be zero"));
    }
    match sink("dead_man", url_file, command, dir)? {
        Some(to) => Ok(DeadMan { to: Some(to), every }),
        None => Err(refused("dead_man", "needs either `url_file` or `command`")),
    }
}

fn tokens(written: Vec<Token>, dir: &Path) -> Result<Vec<(Digest, String)>, ConfigError> {
    if written.is_empty() {
        return Err(refused("operators.tokens", "at least one is needed, with `name` and `file` or `sha256`"));
    }
    written.into_iter().map(|token| Ok((token_hash(&token, dir)?, token.name))).collect()
}

fn token_hash(token: &Token, dir: &Path) -> Result<Digest, ConfigError> {
    match (&token.file, &token.sha256) {
        (Some(file), None) => {
            let secret = read_text(&dir.join(file))?;
            let secret = secret.trim();
            if secret.len() < TOKEN_CHARS_MIN {
                let because = format!("the token of `{}` has fewer than {TOKEN_CHARS_MIN} characters", token.name);
                return Err(refused("operators.tokens", &because));
            }
            Ok(Digest::of(secret.as_bytes()))
        }
        (None, Some(hex)) => Digest::from_hex(hex.trim_start_matches("sha256:"))
            .ok_or_else(|| refused("operators.tokens", "`sha256` must be 64 lower-case hex digits")),
        _ => Err(refused("operators.tokens", &format!("`{}` needs either `file` or `sha256`", token.name))),
    }
}

fn trust(written: &Trust, dir: &Path) -> Result<TrustedKeys, ConfigError> {
    let mut keys = Vec::new();
    for file in &written.keys {
        let path = dir.join(file);
        let pem = read_text(&path)?;
        let key = PublicKey::from_pem(&pem)
            .map_err(|error| ConfigError::Malformed { path: path.clone(), because: error.to_string() })?;
        keys.push(key);
    }
    TrustedKeys::new(keys, written.threshold).map_err(|error| refused("trust", &error.to_string()))
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.into(), because: error.to_string() })
}

pub(crate) fn refused(key: &str, because: &str) -> ConfigError {
    ConfigError::Refused { path: PathBuf::new(), key: key.into(), because: because.into() }
}

/// A busy day of a small fleet: whoever looks in the morning must find the night.
const AUDIT_LINES_MIN: u64 = 1_000;
/// Shorter ones can be guessed; `openssl rand -hex 32` gives 64.
const TOKEN_CHARS_MIN: usize = 20;

#[cfg(test)]
mod tests;
