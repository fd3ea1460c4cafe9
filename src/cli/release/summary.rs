//! A manifest for people: what it is, and what it wants.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use portcullis::{
    check::{command::quoted, window::Window},
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
    for line in counts.kept() {
        let _ = writeln!(out, "          {line}");
    }
    if tree.restore {
        let Counts { texts, templates, files, .. } = counts;
        let _ =
            writeln!(out, "          edits that break a guard are undone: in {} of {files} files", texts + templates);
    }
}

/// For a summary without trees: a line for each that keeps more than digests.
pub(crate) fn kept(manifest: &Manifest) -> String {
    let lines = manifest.trees.iter().flat_map(|tree| {
        let line = move |kept: String| format!("tree      {}: {kept}\n", visible(&tree.name));
        Counts::of(tree).kept().map(line)
    });
    lines.collect()
}

/// A check in one line.
pub(crate) fn check_line(check: &Check) -> String {
    let scope = match check.scope {
        Scope::Launch => ", at launch only",
        Scope::Serving => ", while serving only",
        Scope::Both => "",
    };
    let (name, summary) = (visible(&check.name), check.kind.summary());
    let what = match &check.kind {
        CheckKind::Command(_) => format!("runs {summary}"),
        other => match other.runs() {
            Some(argv) => format!("{} {summary}, runs {}", other.name(), quoted(&argv)),
            None => format!("{} {summary}", other.name()),
        },
    };
    let guard = if check.guard { ", guards changes" } else { "" };
    let Window { within, hold } = check.window;
    let within = within.map(|within| format!(", true within {within}")).unwrap_or_default();
    let hold = hold.map(|hold| format!(", true for {hold} on end")).unwrap_or_default();
    format!("{name}: {what} for at most {} ms{within}{hold}{scope}{guard}", check.timeout_ms)
}

/// How much there is in a tree.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    entries: usize,
    directories: usize,
    files: usize,
    links: usize,
    bytes: u64,
    texts: usize,
    texts_bytes: u64,
    templates: usize,
}

impl Counts {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut counts = Self { entries: tree.entries.len(), ..Self::default() };
        for entry in &tree.entries {
            match &entry.kind {
                EntryKind::Directory => counts.directories += 1,
                EntryKind::Link { .. } => counts.links += 1,
                EntryKind::Template { .. } => {
                    counts.files += 1;
                    counts.templates += 1;
                }
                EntryKind::File { size, text, .. } => {
                    counts.files += 1;
                    counts.bytes = counts.bytes.saturating_add(*size);
                    counts.texts += usize::from(text.is_some());
                    counts.texts_bytes += text.as_ref().map_or(0, |text| text.len() as u64);
                }
            }
        }
        counts
    }

    /// What is kept of it besides digests.
    fn kept(&self) -> impl Iterator<Item = String> + use<> {
        let Self { texts, texts_bytes, templates, .. } = *self;
        let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let texts =
            (texts > 0).then(|| format!("keeps the text of {} ({})", counted(texts, "file"), HumanBytes(texts_bytes)));
        let templates = (templates > 0).then(|| format!("renders {}", counted(templates, "template")));
        texts.into_iter().chain(templates)
    }

    fn line(&self) -> String {
        let Self { entries, directories, files, links, bytes, .. } = self;
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
