//! The rules that a manifest's meaning must keep, whoever put it together: PROTOCOL.md §1, rules 1, 6 and 7.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    CHECKS_MAX, COMPONENT_BYTES_MAX, ENTRIES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, TEXT_BYTES_MAX, TIMEOUT_MS_MAX,
    TREES_MAX,
};
use super::{Check, CheckKind, Entry, EntryKind, Manifest, ManifestError, Place, Tree, Violation};
use crate::{digest::Digest, duration::Span, glob::Ignore};

impl Manifest {
    /// Every rule that does not depend on how it is written. Whether there is anything to verify is part of it.
    pub fn validate(&self) -> Result<(), ManifestError> {
        self.validate_shape()?;
        let entries = self.entries_total();
        if entries > ENTRIES_MAX {
            return Err(Place::Manifest.breaks(Violation::TooManyEntries(entries)));
        }
        if entries == 0 && self.checks.is_empty() {
            return Err(Place::Manifest.breaks(Violation::Nothing));
        }
        self.trees.iter().try_for_each(entries_are_well_formed)
    }

    /// The rules that a manifest keeps before its trees have been read: all but those about entries.
    pub(crate) fn validate_shape(&self) -> Result<(), ManifestError> {
        for (field, name) in [("product", &self.product), ("release", &self.release)] {
            name_is_usable(field, name).map_err(|violation| Place::Manifest.breaks(violation))?;
        }
        if self.trees.len() > TREES_MAX {
            return Err(Place::Manifest.breaks(Violation::TooManyTrees(self.trees.len())));
        }
        if self.checks.len() > CHECKS_MAX {
            return Err(Place::Manifest.breaks(Violation::TooManyChecks(self.checks.len())));
        }
        self.names_are_unique()?;
        self.nothing_waits_for_itself()?;
        for check in &self.checks {
            check_is_well_formed(check).map_err(|violation| Place::check(&check.name).breaks(violation))?;
        }
        let ignores = self.trees.iter().map(tree_is_well_formed).collect::<Result<Vec<_>, _>>()?;
        self.no_root_is_inside_another(&ignores)
    }

    /// Rule 7.
    fn names_are_unique(&self) -> Result<(), ManifestError> {
        let trees = self.trees.iter().map(|tree| (&tree.name, Place::tree(&tree.name)));
        let checks = self.checks.iter().map(|check| (&check.name, Place::check(&check.name)));
        let mut names = BTreeSet::new();
        for (name, place) in trees.chain(checks) {
            let unique = if names.insert(name) { Ok(()) } else { Err(Violation::DuplicateName) };
            unique.and_then(|()| name_is_usable("name", name)).map_err(|violation| place.breaks(violation))?;
        }
        Ok(())
    }

    /// What a check waits for is a tree or a check before it, so that there is an order.
    fn nothing_waits_for_itself(&self) -> Result<(), ManifestError> {
        let mut known: BTreeSet<_> = self.trees.iter().map(|tree| &tree.name).collect();
        for check in &self.checks {
            if let Some(unknown) = check.after.iter().find(|name| !known.contains(name)) {
                return Err(Place::check(&check.name).breaks(Violation::After(unknown.clone())));
            }
            known.insert(&check.name);
        }
        Ok(())
    }

    /// Rule 7. The outer tree must ignore the inner one's root or a directory above it, or both would list what is there.
    fn no_root_is_inside_another(&self, ignores: &[Ignore]) -> Result<(), ManifestError> {
        for inner in &self.trees {
            for (outer, ignore) in self.trees.iter().zip(ignores) {
                let inside = below(&inner.root, &outer.root).filter(|_| inner.name != outer.name);
                if inside.is_some_and(|path| path.is_empty() || !ignore.hides(path.as_bytes(), true)) {
                    return Err(Place::tree(&inner.name).breaks(Violation::RootInside { outer: outer.name.clone() }));
                }
            }
        }
        Ok(())
    }
}

/// Where `inner` is, relative to `outer`, if it is there at all; empty when they are the same.
fn below<'a>(inner: &'a str, outer: &str) -> Option<&'a str> {
    let rest = inner.strip_prefix(outer.trim_end_matches('/'))?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// Rule 1.
fn name_is_usable(field: &'static str, name: &str) -> Result<(), Violation> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) { Ok(()) } else { Err(Violation::NameLength(field)) }
}

fn check_is_well_formed(check: &Check) -> Result<(), Violation> {
    if !(1..=TIMEOUT_MS_MAX).contains(&check.timeout_ms) {
        return Err(Violation::Timeout(check.timeout_ms));
    }
    for (field, span) in [("within", check.window.within), ("for", check.window.hold)] {
        if span.is_some_and(|span| !(1..=TIMEOUT_MS_MAX).contains(&span.ms)) {
            return Err(Violation::Window { field, span: span.unwrap_or(Span::from_ms(0)) });
        }
    }
    let table = if let CheckKind::Command(_) = check.kind { "argv" } else { check.kind.name() };
    let malformed = |because| Violation::Check { table, because };
    check.kind.validate().map_err(malformed)
}

fn tree_is_well_formed(tree: &Tree) -> Result<Ignore, ManifestError> {
    let broken = |violation| Place::tree(&tree.name).breaks(violation);
    root_is_plain(&tree.root).map_err(broken)?;
    Ignore::new(&tree.ignore).map_err(|error| broken(Violation::Ignore(error)))
}

/// Rules 1 and 7.
fn root_is_plain(root: &str) -> Result<(), Violation> {
    if root == "/" {
        return Ok(());
    }
    let path = root.strip_prefix('/').ok_or_else(|| Violation::Root(root.into()))?;
    path_is_well_formed("root", path.as_bytes()).map_err(|violation| match violation {
        Violation::EmptyComponent | Violation::DotComponent => Violation::Root(root.into()),
        other => other,
    })
}

fn entries_are_well_formed(tree: &Tree) -> Result<(), ManifestError> {
    let ignore = tree_is_well_formed(tree)?;
    // Most entries are in the same directory as the one before: found once, it need not be searched again.
    let mut parent: Option<&[u8]> = None;
    for (index, entry) in tree.entries.iter().enumerate() {
        path_is_well_formed("path", &entry.path)
            .and_then(|()| kind_is_well_formed(&entry.kind))
            .and_then(|()| attributes_are_complete(tree, entry))
            .and_then(|()| place_is_right(&tree.entries[..index], entry, parent))
            .and_then(|()| {
                let ignored = ignore.matches(&entry.path, matches!(entry.kind, EntryKind::Directory));
                if ignored { Err(Violation::Ignored) } else { Ok(()) }
            })
            .map_err(|violation| Place::entry(&tree.name, &entry.path).breaks(violation))?;
        parent = parent_of(entry).or(parent);
    }
    Ok(())
}

fn parent_of(entry: &Entry) -> Option<&[u8]> {
    entry.path.iter().rposition(|&byte| byte == b'/').map(|slash| &entry.path[..slash])
}

/// Rules 1 and 6: relative, and one way to write it.
fn path_is_well_formed(field: &'static str, path: &[u8]) -> Result<(), Violation> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Violation::TooLong(field));
    }
    if path.contains(&0) {
        return Err(Violation::Nul(field));
    }
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" => return Err(Violation::EmptyComponent),
            b"." | b".." => return Err(Violation::DotComponent),
            _ if component.len() > COMPONENT_BYTES_MAX => return Err(Violation::ComponentTooLong(field)),
            _ => {}
        }
    }
    Ok(())
}

/// Rules 1 and 6, for a link's target: it may point anywhere. A text that is kept is the very content.
fn kind_is_well_formed(kind: &EntryKind) -> Result<(), Violation> {
    let target = match kind {
        EntryKind::Link { target } => target,
        EntryKind::File { size, sha256, text: Some(text) } => return text_is_content(*size, *sha256, text),
        EntryKind::Template { template } if template.as_str().len() > TEXT_BYTES_MAX => {
            return Err(Violation::TextTooLong("template"));
        }
        EntryKind::Directory | EntryKind::File { text: None, .. } | EntryKind::Template { .. } => return Ok(()),
    };
    match target.len() {
        0 => Err(Violation::Malformed { field: "target", expected: "a path" }),
        1..=PATH_BYTES_MAX if target.contains(&0) => Err(Violation::Nul("target")),
        1..=PATH_BYTES_MAX => Ok(()),
        _ => Err(Violation::TooLong("target")),
    }
}

fn text_is_content(size: u64, sha256: Digest, text: &str) -> Result<(), Violation> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Violation::TextTooLong("text"));
    }
    let same = text.len() as u64 == size && Digest::of(text.as_bytes()) == sha256;
    if same { Ok(()) } else { Err(Violation::TextDiffers) }
}

/// What the tree compares is there, and an owner only then. A mode may stand where modes are not compared, for its set-id
/// bits; links have none.
fn attributes_are_complete(tree: &Tree, entry: &Entry) -> Result<(), Violation> {
    let is_link = matches!(entry.kind, EntryKind::Link { .. });
    match entry.mode {
        None if tree.attributes.mode && !is_link => return Err(Violation::Missing("mode")),
        Some(_) if is_link => return Err(Violation::Unexpected("mode")),
        Some(mode) if mode > 0o7777 => {
            return Err(Violation::Malformed { field: "mode", expected: "four octal digits" });
        }
        _ => {}
    }
    match (tree.attributes.owner, entry.owner) {
        (true, None) => Err(Violation::Missing("uid")),
        (false, Some(_)) => Err(Violation::Unexpected("uid")),
        (true, Some(_)) | (false, None) => Ok(()),
    }
}

/// Rule 6: after the entry before it, and in a listed directory, such as `known`. `before` is known to be ascending.
fn place_is_right(before: &[Entry], entry: &Entry, known: Option<&[u8]>) -> Result<(), Violation> {
    if let Some(last) = before.last()
        && last.path >= entry.path
    {
        return Err(Violation::NotAscending { after: last.path.clone() });
    }
    let Some(parent) = parent_of(entry).filter(|parent| Some(*parent) != known) else { return Ok(()) };
    match before.binary_search_by(|other| other.path.as_slice().cmp(parent)) {
        Ok(found) if matches!(before[found].kind, EntryKind::Directory) => Ok(()),
        Ok(_) => Err(Violation::BelowNonDirectory { parent: parent.into() }),
        Err(_) => Err(Violation::ParentNotListed { parent: parent.into() }),
    }
}
