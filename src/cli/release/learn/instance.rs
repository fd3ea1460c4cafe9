//! Looking at one instance: its trees, and what listens and runs where it is this machine.

use std::{
    collections::BTreeMap,
    fs,
    net::UdpSocket,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use portcullis::{
    facts::Facts,
    learn::{
        Observation,
        observation::{ENTRIES_MAX, TEXTS_BYTES_MAX, VERSION},
    },
};

use super::{discover, system, walk};
use crate::cli::files;

/// What is to be seen of the instance below `root`.
pub(super) fn observe(root: &Path, asked: &[PathBuf], facts: Option<&str>) -> anyhow::Result<Observation> {
    let root = root.canonicalize().with_context(|| format!("failed to find `{}`", files::shown(root)))?;
    let is_this_machine = root == Path::new("/");
    let (listening, running) = if is_this_machine { system::look() } else { Default::default() };
    let found = discover::discover(&root, &running);
    let candidates = if asked.is_empty() {
        found.trees
    } else {
        asked.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?
    };
    let mut budget = walk::Budget { entries: ENTRIES_MAX, text_bytes: TEXTS_BYTES_MAX };
    let trees = candidates.iter().map(|path| {
        let seen = walk::tree(&root, path, &mut budget);
        seen.with_context(|| format!("failed to look at `{}` in `{}`", files::shown(path), files::shown(&root)))
    });
    Ok(Observation {
        version: VERSION,
        trees: trees.collect::<anyhow::Result<_>>()?,
        facts: all_facts(&root, is_this_machine, facts)?,
        listening,
        running,
        certificates: found.certificates,
        servers: found.servers,
    })
}

/// A tree's root is written as it will be in the spec.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || path == Path::new("/") || path.to_str().is_none() {
        bail!(
            "failed to use `--tree {}`: it is no absolute path of a directory, in UTF-8, without `..`",
            files::shown(path)
        );
    }
    // Without the slash at its end.
    Ok(path.components().collect())
}

/// Those that the agent knows by itself, and those that were given, which come first.
fn all_facts(root: &Path, is_this_machine: bool, given: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::<String, String>::new();
    let file = if is_this_machine { PathBuf::from("/proc/sys/kernel/hostname") } else { root.join("etc/hostname") };
    let hostname = files::read(&file, HOSTNAME_BYTES_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    facts.extend(hostname.map(|name| ("hostname".into(), name.trim().into())));
    if is_this_machine {
        facts.extend(address("0.0.0.0:0", "192.0.2.1:9").map(|address| ("ipv4".into(), address)));
        facts.extend(address("[::]:0", "[2001:db8::1]:9").map(|address| ("ipv6".into(), address)));
    }
    for pair in given.into_iter().flat_map(|given| given.split(',')) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| anyhow!("failed to use `--facts`: `{pair}` is not NAME=VALUE"))?;
        facts.insert(name.into(), value.into());
    }
    for (name, value) in &facts {
        Facts::default().insert(name, value).with_context(|| format!("failed to use the fact `{name}`"))?;
    }
    Ok(facts)
}

/// The address this machine would send from. Connecting a UDP socket sends nothing; the other end is one that is reserved for
/// documentation (RFC 5737, RFC 3849).
fn address(from: &str, to: &str) -> Option<String> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).map(|ip| ip.to_string())
}

/// Linux allows 64.
const HOSTNAME_BYTES_MAX: usize = 4_096;

/// Whether a directory of the instance is there.
pub(super) fn is_directory(root: &Path, path: &Path) -> bool {
    fs::metadata(under(root, path)).is_ok_and(|it| it.is_dir())
}

/// A path of the instance, as a path of this machine.
pub(super) fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
