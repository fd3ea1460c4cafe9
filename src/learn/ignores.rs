//! What of a tree is to be ignored, and what a person must decide.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{
    compare::{Side, What},
    generalise::{Reasoned, patterns, quoted},
    names,
    observation::bytes,
};
use crate::glob::Ignore;

/// What is proposed for a tree.
#[derive(Debug, Default)]
pub(super) struct Ignores {
    /// In the order in which they are to stand.
    pub(super) patterns: Vec<Reasoned>,
    /// What differs and is not ignored, with why not.
    pub(super) asks: Vec<(String, String)>,
}

/// Looks through a tree; `explained` are paths whose differences facts explain.
pub(super) fn ignores(side: &Side<'_>, explained: &BTreeSet<&str>) -> Ignores {
    let mut ignores = Ignores::default();
    for directory in volatile_directories(side) {
        ignores.patterns.extend(directory_patterns(side, directory));
    }
    let hidden = ignores.globs();
    let open: Vec<&str> = side.things.keys().copied().filter(|path| is_open(side, path, &hidden, explained)).collect();
    let (asked, harmless): (Vec<&str>, Vec<&str>) = open.into_iter().partition(|path| must_ask(side, path));
    for reasoned in patterns(side, &harmless) {
        if let Some(files) = reasoned.pattern.strip_prefix('!').and_then(|pattern| pattern.strip_suffix("*/")) {
            // What brings directories back has nothing to bring back where no pattern before it was proposed.
            let hides = ignores.patterns.iter().any(|before| before.pattern.starts_with(files));
            ignores.patterns.extend(hides.then_some(reasoned));
            continue;
        }
        // A pattern that would take out more than it was made for is not proposed, whatever made it.
        if hides_danger(side, &reasoned.pattern) {
            let why = format!("`{}` would hide code or configuration", reasoned.pattern);
            ignores.asks.push((reasoned.pattern, why));
        } else {
            ignores.patterns.push(reasoned);
        }
    }
    let hidden = ignores.globs();
    let asked = asked.into_iter().filter(|path| !hidden.hides(&bytes(path), side.is_directory(path))).collect();
    ignores.asks.extend(asks(side, asked));
    ignores.asks.extend(recent(side, &hidden).into_iter().map(|path| (path.into(), RECENT.into())));
    ignores
}

impl Ignores {
    /// As the manifest will have them.
    pub(super) fn globs(&self) -> Ignore {
        let patterns: Vec<String> = self.patterns.iter().map(|reasoned| reasoned.pattern.clone()).collect();
        Ignore::new(&patterns).unwrap_or_default()
    }
}

/// The outermost directories whose names say that what is in them comes and goes.
fn volatile_directories<'a>(side: &Side<'a>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for path in side.things.keys().copied().filter(|path| side.is_directory(path)) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_below = found.iter().any(|outer| path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/')));
        if names::is_volatile_directory(name) && !is_below {
            found.push(path);
        }
    }
    found
}

/// What to ignore of such a directory: all of it but what is not known to be data and can be brought back, which only
/// works for what is directly in it.
fn directory_patterns(side: &Side<'_>, directory: &str) -> Vec<Reasoned> {
    let inside: Vec<&str> = side.below(directory).collect();
    let differ = inside.iter().filter(|path| side.difference(path).is_some() && side.is_harmless(path)).count();
    let comparable = side.instances > 1 && side.difference(directory).is_none();
    if comparable && differ == 0 && !inside.is_empty() {
        // The same on every instance: part of the release, whatever its name.
        return Vec::new();
    }
    let unknown: Vec<&str> = inside.iter().copied().filter(|path| !side.is_harmless(path)).collect();
    let is_direct = |path: &&str| !path[directory.len() + 1..].contains('/');
    let harmless = inside.iter().filter(|path| !side.is_directory(path) && side.is_harmless(path)).count();
    if unknown.len() > KEPT_MAX.min(harmless) || !unknown.iter().all(is_direct) {
        // A folder of code with a telling name, such as `lib/Cache`, or of files whose names say nothing.
        return Vec::new();
    }
    let why = match (inside.len(), differ) {
        (0, _) => "empty here, and fills as it serves, by its name".into(),
        (_, 0) => format!("comes and goes, by its name ({} there)", inside.len()),
        (_, differ) => format!("comes and goes, by its name ({differ} of {} differ)", inside.len()),
    };
    // Both have a slash in their middle, which ties them to the root of the tree.
    let all = Reasoned { pattern: format!("{}/**", quoted(directory)), why };
    let keep =
        |path: &&str| Reasoned { pattern: format!("!{}", quoted(path)), why: "may be code or configuration".into() };
    core::iter::once(all).chain(unknown.iter().map(keep)).collect()
}

/// Whether a path differs (or cannot be in a manifest, or comes and goes) and nothing proposed so far speaks of it.
fn is_open(side: &Side<'_>, path: &str, hidden: &Ignore, explained: &BTreeSet<&str>) -> bool {
    let differs = side.difference(path).is_some();
    let volatile = names::volatile(path).is_some() && !side.is_directory(path);
    let inside_another = path.match_indices('/').any(|(slash, _)| side.difference(&path[..slash]).is_some());
    (differs || volatile)
        && !inside_another
        && !explained.contains(path)
        && !hidden.hides(&bytes(path), side.is_directory(path))
}

/// All but what is known to be data. Of a directory that not all have nobody knows what will be in it.
fn must_ask(side: &Side<'_>, path: &str) -> bool {
    match side.difference(path) {
        Some(What::Kind) => true,
        Some(What::Presence) if side.is_directory(path) => true,
        _ => !side.is_harmless(path),
    }
}

/// Each by itself; of many in a directory whose name says that they come and go, the directory.
fn asks(side: &Side<'_>, paths: Vec<&str>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> =
        volatile_directories(side).into_iter().filter_map(|directory| ask_at_once(side, directory, &paths)).collect();
    let told = |path: &&str| out.iter().any(|(directory, _)| path.starts_with(directory.as_str()));
    let alone: Vec<&str> = paths.into_iter().filter(|path| !told(path)).collect();
    out.extend(alone.into_iter().map(|path| (path.to_string(), why_ask(side, path))));
    out
}

fn ask_at_once(side: &Side<'_>, directory: &str, paths: &[&str]) -> Option<(String, String)> {
    let stem = format!("{directory}/");
    let below = paths.iter().filter(|path| path.starts_with(&stem)).count();
    let why = format!("{below} of {} there; {UNKNOWN}", side.below(directory).count());
    (below > SEPARATE_MAX).then_some((stem, why))
}

fn why_ask(side: &Side<'_>, path: &str) -> String {
    let what = side.difference(path).map_or("comes and goes", What::as_str);
    let kind = if side.is_directory(path) { "a directory, and what will be in it" } else { UNKNOWN };
    format!("{what}; {kind}")
}

/// Of one instance alone, the few files that were changed just before it was looked at: what changes as it serves.
fn recent<'a>(side: &Side<'a>, hidden: &Ignore) -> Vec<&'a str> {
    let is_recent =
        |all: &Vec<Option<&super::Seen>>| all.iter().flatten().any(|one| one.recent && one.kind == super::Kind::File);
    let found: Vec<&str> = side.things.iter().filter(|(_, all)| is_recent(all)).map(|(path, _)| *path).collect();
    if side.instances > 1 || found.len() * FEW > side.things.len() {
        return Vec::new();
    }
    found.into_iter().filter(|path| !hidden.hides(&bytes(path), false)).collect()
}

/// Whether a pattern takes out something that must not be taken out by a guess.
fn hides_danger(side: &Side<'_>, pattern: &String) -> bool {
    let Ok(ignore) = Ignore::new(core::slice::from_ref(pattern)) else { return true };
    side.things.keys().any(|path| !side.is_harmless(path) && ignore.hides(&bytes(path), false))
}

/// More exceptions than this, and the directory is no place for what comes and goes.
const KEPT_MAX: usize = 8;

/// As many of one directory are asked about one by one.
const SEPARATE_MAX: usize = 4;

const UNKNOWN: &str = "may be code, configuration or a key";

/// Where more than one in so many is recent, it was deployed just now.
const FEW: usize = 20;

const RECENT: &str = "changed within minutes of being looked at";
