//! `[[haproxy]]`, and what a group of servers says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use portcullis::{instance::GroupName, policy::OnDrift};

use super::{
    ConfigError, Length, refused,
    written::{Balancer, Drift, Group, Limits},
};

/// The balancers, and what they have to do with each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// Where their Runtime APIs are.
    pub sockets: Vec<Socket>,
    /// The servers of each group.
    pub pools: BTreeMap<GroupName, Pool>,
}

/// Where a Runtime API is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// A socket in the file system.
    Unix(PathBuf),
    /// Address and port, on loopback: the Runtime API asks nobody who they are.
    Tcp(SocketAddr),
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// The servers of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Where they are; servers of the same name are the same machine.
    pub backends: Vec<String>,
    /// How many of them should serve; all that nobody drained, if it is not said.
    pub wanted: Option<u32>,
    /// What the policy calls our hook: it names the hold, here as there.
    pub hook: String,
}

/// What is written about balancers and their groups; `None` when there are no balancers.
pub(super) fn haproxy(
    balancers: &[Balancer],
    groups: &BTreeMap<GroupName, Group>,
    dir: &Path,
) -> Result<Option<Haproxy>, ConfigError> {
    if balancers.is_empty() {
        return nothing_of_servers(groups).map(|()| None);
    }
    let sockets: Vec<Socket> =
        balancers.iter().map(|balancer| socket(&balancer.socket, dir)).collect::<Result<_, _>>()?;
    if let Some(again) = sockets.iter().enumerate().find(|(n, socket)| sockets[..*n].contains(socket)) {
        return Err(refused("haproxy.socket", &format!("{} is there twice", again.1)));
    }
    let (mut pools, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (name, group) in groups {
        nothing_of_launches(name, group)?;
        let pool = pool(name, group)?;
        for backend in &pool.backends {
            if !taken.insert(backend.clone()) {
                return Err(refused(&format!("groups.{name}.backends"), &format!("`{backend}` is there twice")));
            }
        }
        pools.insert(name.clone(), pool);
    }
    Ok(Some(Haproxy { sockets, pools }))
}

/// Balancers are on this machine, and tell what they know in a tenth of a millisecond: a restart should be mended sooner than a
/// person notices it.
pub(super) fn limits(mut written: Limits) -> Limits {
    written.describe_every.get_or_insert(Length(DESCRIBE_EVERY));
    written
}

fn socket(written: &str, dir: &Path) -> Result<Socket, ConfigError> {
    match SocketAddr::from_str(written) {
        Ok(address) if address.ip().is_loopback() => Ok(Socket::Tcp(address)),
        Ok(address) => {
            let because = format!(
                "{address} is not a loopback address, and whoever reaches a Runtime API is its master: forward its \
                 socket (`ssh -L`), and name that"
            );
            Err(refused("haproxy.socket", &because))
        }
        Err(_) if written.contains('/') => Ok(Socket::Unix(dir.join(written))),
        Err(_) => {
            Err(refused("haproxy.socket", "must be a path such as `/run/haproxy/admin.sock`, or `127.0.0.1:9999`"))
        }
    }
}

fn pool(name: &GroupName, group: &Group) -> Result<Pool, ConfigError> {
    let backends = group.backends.clone().unwrap_or_else(|| vec![name.0.clone()]);
    let plain = |name: &String| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    if backends.is_empty() || !backends.iter().all(plain) {
        let because =
            "must name backends of HAProxy: letters, digits and `-_.:`; without it, the group's own name is taken";
        return Err(refused(&format!("groups.{name}.backends"), because));
    }
    Ok(Pool { backends, wanted: group.wanted, hook: portcullis::policy::GroupPolicy::default().hook })
}

fn nothing_of_servers(groups: &BTreeMap<GroupName, Group>) -> Result<(), ConfigError> {
    for (name, group) in groups {
        for (key, is_written) in [("backends", group.backends.is_some()), ("wanted", group.wanted.is_some())] {
            if is_written {
                return Err(refused(
                    &format!("groups.{name}.{key}"),
                    "is of servers behind HAProxy: give `[[haproxy]]`",
                ));
            }
        }
    }
    Ok(())
}

/// A key that would do nothing is a mistake.
fn nothing_of_launches(name: &GroupName, group: &Group) -> Result<(), ConfigError> {
    let keys = [
        ("hook", group.hook.is_some()),
        ("abandon_interval_min", group.abandon_interval_min.is_some()),
        ("abandon_outdated", group.abandon_outdated.is_some()),
        ("breaker_failures", group.breaker_failures.is_some()),
        ("breaker_window", group.breaker_window.is_some()),
        ("breaker_retry_after", group.breaker_retry_after.is_some()),
        ("survivors_guard", group.survivors_guard.is_some()),
        ("on_drift", matches!(group.on_drift, Drift::Replace)),
        ("on_bypass", matches!(group.on_bypass, OnDrift::Replace)),
    ];
    match keys.into_iter().find(|(_, is_written)| *is_written) {
        Some((key, _)) => {
            let because =
                "is of launches, which HAProxy does not have: a server is held where it is, and never given up";
            Err(refused(&format!("groups.{name}.{key}"), because))
        }
        None => Ok(()),
    }
}

const DESCRIBE_EVERY: Duration = Duration::from_secs(1);
