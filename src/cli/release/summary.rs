//! A manifest for people: what it is, and what it wants.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use portcullis::{
    digest::Digest,
    manifest::{Check, CheckKind, EntryKind, Extras, Manifest, Scope, Tree},
    text::visible,
};
use serde::Serialize;

/// The lines that say which manifest it is.
pub(crate) fn identity(manifest: &Manifest, digest: &Digest) -> String {
    format!(
        "product   {}\nrelease   {}\nsequence  {}\ndigest    {digest}\n",
        visible(&manifest.product),
        visible(&manifest.release),
        manifest.sequence,
    )
}

/// The lines that say what it wants: trees with counts, what they let pass, and commands.
pub(crate) fn content(manifest: &Manifest) -> String {
    let mut out = String::new();
    for tree in &manifest.trees {
        tree_lines(&mut out, tree);
    }
    for check in &manifest.checks {
        let _ = writeln!(out, "check     {}", check_line(check));
    }
    out
}

fn tree_lines(out: &mut String, tree: &Tree) {
    let counts = Counts::of(tree);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "tree      {}: {} in {}", visible(&tree.name), counts.line(), visible(&tree.root));
    if tree.root_link {
        out.push_str("          the root may be a link\n");
    }
    if tree.extras == Extras::Allow {
        out.push_str("          extras are allowed\n");
    }
    for pattern in &tree.ignore {
        let _ = writeln!(out, "          ignores {}", visible(pattern));
    }
    let compared = [("mode", tree.attributes.mode), ("owner", tree.attributes.owner)];
    for (attribute, _) in compared.iter().filter(|(_, compared)| *compared) {
        let _ = writeln!(out, "          compares {attribute}");
    }
}

/// A check in one line.
pub(crate) fn check_line(check: &Check) -> String {
    let CheckKind::Command { argv } = &check.kind;
    let scope = match check.scope {
        Scope::Launch => ", at launch only",
        Scope::Serving => ", while serving only",
        Scope::Both => "",
    };
    format!("{}: runs {} for at most {} ms{scope}", visible(&check.name), arguments(argv), check.timeout_ms)
}

/// Quoted, so that one sees where an argument ends.
fn arguments(argv: &[String]) -> String {
    visible(&serde_json::Value::from(argv).to_string())
}

/// How much there is in a tree.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    entries: usize,
    directories: usize,
    files: usize,
    links: usize,
    bytes: u64,
}

impl Counts {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut counts = Self { entries: tree.entries.len(), ..Self::default() };
        for entry in &tree.entries {
            match entry.kind {
                EntryKind::Directory => counts.directories += 1,
                EntryKind::Link { .. } => counts.links += 1,
                EntryKind::File { size, .. } => {
                    counts.files += 1;
                    counts.bytes = counts.bytes.saturating_add(size);
                }
            }
        }
        counts
    }

    fn line(&self) -> String {
        let Self { entries, directories, files, links, bytes } = self;
        format!(
            "{entries} entries ({files} files with {}, {directories} directories, {links} links)",
            HumanBytes(*bytes)
        )
    }
}

/// A manifest for machines, as far as it fits in a line: the entries counted.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    product: &'a str,
    release: &'a str,
    sequence: u64,
    digest: &'a Digest,
    trees: Vec<TreeSummary<'a>>,
}

#[derive(Debug, Serialize)]
struct TreeSummary<'a> {
    tree: &'a str,
    root: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

impl<'a> Summary<'a> {
    pub(crate) fn of(manifest: &'a Manifest, digest: &'a Digest) -> Self {
        let tree = |tree: &'a Tree| TreeSummary { tree: &tree.name, root: &tree.root, counts: Counts::of(tree) };
        Self {
            product: &manifest.product,
            release: &manifest.release,
            sequence: manifest.sequence,
            digest,
            trees: manifest.trees.iter().map(tree).collect(),
        }
    }
}
