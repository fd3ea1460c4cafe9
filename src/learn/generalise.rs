//! From paths to patterns that say the same of tomorrow's paths, and never of code.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::{compare::Side, names, observation::bytes};

/// A pattern, and why it is proposed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reasoned {
    pub(super) pattern: String,
    pub(super) why: String,
}

/// Patterns for harmless paths that differ (all of them known to be data, none below a directory that differs too).
pub(super) fn patterns(side: &Side<'_>, paths: &[&str]) -> Vec<Reasoned> {
    let mut groups = BTreeMap::<(&str, String), Vec<&str>>::new();
    for path in paths {
        let ending = names::volatile(path).map_or_else(|| ending(path), |(ending, _)| ending.into());
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
    let is_volatile = members.iter().all(|path| names::volatile(path).is_some());
    let prefix = if directory.is_empty() { String::new() } else { quoted(directory) };
    let siblings = side.things.keys().filter(|path| parent(path) == directory && !side.is_directory(path));
    let equal = siblings.filter(|path| path.ends_with(ending) && side.difference(path).is_none()).count();
    if !ending.is_empty() && (is_volatile || members.len() >= SEVERAL && equal == 0) {
        let why = if is_volatile { "comes and goes, by its name" } else { "differ, each of them" };
        let why = format!("{}: {why}", counted(members.len()));
        let pattern = |tail| Reasoned { pattern: format!("{prefix}/*{}{tail}", quoted(ending)), why: why.clone() };
        // A pattern for files is one for directories too, and in a directory that is called `a.log` anything may lie.
        let directories = Reasoned { pattern: format!("!{prefix}/*{}*/", quoted(ending)), why: NO_DIRECTORY.into() };
        return tails(members).into_iter().map(pattern).chain([directories]).collect();
    }
    let exact = |path: &&str| {
        let what = side.difference(path).map_or("comes and goes, by its name", super::compare::What::as_str);
        let slash = if side.is_directory(path) { "/" } else { "" };
        Reasoned { pattern: format!("/{}{slash}", quoted(path)), why: what.into() }
    };
    members.iter().map(exact).collect()
}

/// What rotation puts behind the ending of these, and behind that of their successors. No `*`, which would take out `a.log.php`.
fn tails(members: &[&str]) -> BTreeSet<String> {
    let mut tails = BTreeSet::from([String::new()]);
    for behind in members.iter().filter_map(|path| names::volatile(path)).map(|(_, behind)| behind) {
        let (number, packed) = behind.find(".gz").map_or((behind, ".gz"), |at| behind.split_at(at));
        if number.is_empty() {
            continue;
        }
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let shape = number.replace(|c: char| c.is_ascii_digit(), DIGIT);
        let longer = (digits == 1).then(|| format!("{shape}{DIGIT}"));
        let shorter = (digits == 2).then(|| shape.replacen(DIGIT, "", 1));
        for shape in [Some(shape), longer, shorter].into_iter().flatten() {
            tails.extend([format!("{shape}{packed}"), shape]);
        }
    }
    tails
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

/// In a pattern.
const DIGIT: &str = "[0-9]";

const NO_DIRECTORY: &str = "but no directory of such a name";

/// So many that it is no coincidence.
const SEVERAL: usize = 3;
