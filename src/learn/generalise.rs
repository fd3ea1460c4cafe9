//! From paths to patterns that say the same of tomorrow's paths, and never of code.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{compare::Side, names, observation::bytes};

/// A pattern, and why it is proposed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reasoned {
    pub(super) pattern: String,
    pub(super) why: String,
}

/// Patterns for harmless paths that differ (none of them dangerous, none below a directory that differs too).
pub(super) fn patterns(side: &Side<'_>, paths: &[&str]) -> Vec<Reasoned> {
    let mut groups = BTreeMap::<(&str, String), Vec<&str>>::new();
    for path in paths {
        let ending = names::volatile_ending(path).map_or_else(|| ending(path), String::from);
        groups.entry((parent(path), ending)).or_default().push(path);
    }
    let mut out = Vec::new();
    for ((directory, ending), members) in groups {
        out.extend(group(side, directory, &ending, &members));
    }
    out
}

/// Files of one directory with one ending.
fn group(side: &Side<'_>, directory: &str, ending: &str, members: &[&str]) -> Vec<Reasoned> {
    let is_volatile = members.iter().all(|path| names::volatile_ending(path).is_some());
    let prefix = if directory.is_empty() { String::new() } else { quoted(directory) };
    let siblings = side.things.keys().filter(|path| parent(path) == directory && !side.is_directory(path));
    let equal = siblings.filter(|path| path.ends_with(ending) && side.difference(path).is_none()).count();
    if !ending.is_empty() && (is_volatile || members.len() >= SEVERAL && equal == 0) {
        let is_rotated = members.iter().any(|path| !path.ends_with(ending));
        let tail = if is_rotated { "*" } else { "" };
        let why = if is_volatile { "comes and goes, by its name" } else { "differ, each of them" };
        return Vec::from([Reasoned {
            pattern: format!("{prefix}/*{}{tail}", quoted(ending)),
            why: format!("{}: {}", counted(members.len()), why),
        }]);
    }
    let exact = |path: &&str| {
        let what = side.difference(path).map_or("comes and goes, by its name", super::compare::What::as_str);
        let slash = if side.is_directory(path) { "/" } else { "" };
        Reasoned { pattern: format!("/{}{slash}", quoted(path)), why: what.into() }
    };
    members.iter().map(exact).collect()
}

fn counted(files: usize) -> String {
    if files == 1 { "1 file".into() } else { format!("{files} files") }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn ending(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let dot = name.rfind('.').filter(|&dot| dot > 0);
    dot.map_or_else(String::new, |dot| name[dot..].into())
}

/// A path, or a part of one, as a pattern that matches nothing else: wildcards are quoted; a byte that is not UTF-8, which no
/// pattern can have, is any byte.
pub(super) fn quoted(path: &str) -> String {
    let mut out = String::new();
    for chunk in bytes(path).utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\' | '!') {
                out.push('\\');
            }
            out.push(c);
        }
        chunk.invalid().iter().for_each(|_| out.push('?'));
    }
    out
}

/// So many that it is no coincidence.
const SEVERAL: usize = 3;
