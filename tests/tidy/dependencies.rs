//! The dependency policy of `deny.toml`, enforced from `cargo metadata` alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{cargo, read, top};

/// The locked dependency graph, all features, all platforms that we build for.
fn packages() -> Vec<Value> {
    let version = cargo(&["--version", "--verbose"]);
    let platform = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = cargo(&["metadata", "--format-version=1", "--locked", "--filter-platform", platform]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let used: BTreeSet<&str> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

fn policy() -> toml::Table {
    toml::from_str(&read(&top().join("deny.toml"))).unwrap()
}

fn strings<'a>(value: &'a toml::Value, key: Option<&str>) -> Vec<&'a str> {
    let items = value.as_array().unwrap().iter();
    items.map(|item| key.map_or(item, |key| &item[key]).as_str().unwrap()).collect()
}

#[test]
fn licences_are_on_the_list() {
    let policy = policy();
    let allowed = strings(&policy["licenses"]["allow"], None);
    for package in packages() {
        let expression = package["license"].as_str().unwrap_or("none given").replace('/', " OR ");
        assert!(satisfies(&expression, &allowed), "{}: {expression}", package["name"]);
    }
}

/// `(A OR B) AND C`, as far as crates write it: every AND part needs one allowed alternative.
fn satisfies(expression: &str, allowed: &[&str]) -> bool {
    expression.split(" AND ").all(|part| {
        let alternatives = part.trim().trim_start_matches('(').trim_end_matches(')').split(" OR ");
        alternatives.map(str::trim).any(|licence| allowed.contains(&licence))
    })
}

#[test]
fn expressions() {
    for (expression, holds) in
        [("MIT", true), ("GPL-3.0", false), ("(MIT OR GPL-3.0) AND ISC", true), ("MIT AND GPL-3.0", false)]
    {
        assert_eq!(satisfies(expression, &["MIT", "ISC"]), holds, "{expression}");
    }
}

#[test]
fn sources_are_the_registry_or_ours() {
    for package in packages() {
        let ours = package["source"].is_null() && package["name"].as_str().unwrap().starts_with("portcullis");
        let registry = package["source"].as_str().is_some_and(|source| source.starts_with("registry+"));
        assert!(ours || registry, "{} comes from {}", package["name"], package["source"]);
    }
}

#[test]
fn no_banned_crate_and_no_duplicate_without_a_reason() {
    let policy = policy();
    let banned = strings(&policy["bans"]["deny"], Some("crate"));
    let skipped = strings(&policy["bans"]["skip"], Some("crate"));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        assert!(!banned.contains(&name), "{name} is banned by deny.toml");
        let is_skipped = skipped.iter().any(|skip| {
            let (skip_name, skip_version) = skip.split_once('@').unwrap();
            name == skip_name && (version == skip_version || version.starts_with(&format!("{skip_version}.")))
        });
        if !is_skipped {
            versions.entry(name.into()).or_default().insert(version.into());
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.is_empty(), "more than one version, and no reason in deny.toml: {versions:?}");
}

/// The agent is baked into every image: it carries no cloud SDK and no database.
#[test]
fn the_agent_stays_small() {
    let tree = cargo(&["tree", "--package", "portcullis-agent", "--edges", "normal", "--prefix", "none", "--locked"]);
    for heavy in ["aws-", "redb", "axum", "indicatif", "proptest"] {
        assert!(!tree.lines().any(|line| line.starts_with(heavy)), "the agent depends on {heavy}…");
    }
}

/// The core can be built without any edge: no runtime, no client, no file system in its tree.
#[test]
fn the_core_stays_pure() {
    let tree = cargo(&[
        "tree",
        "--package",
        "portcullis",
        "--no-default-features",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
    ]);
    for edge in ["tokio", "reqwest", "rustix", "clap", "getrandom", "hyper"] {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(edge)), "the core depends on {edge}");
    }
}
