//! From the meaning to the fields.

use alloc::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use super::{Attribute, Check, Entries, Entry, Manifest, Text, Tree, Type};
use crate::{
    check::with_tables,
    manifest::{self, CheckKind, EntryKind, VERSION},
};

impl Serialize for manifest::Manifest {
    /// As PROTOCOL.md §1 has it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Manifest {
            version: VERSION,
            product: (&*self.product).into(),
            release: (&*self.release).into(),
            sequence: self.sequence,
            trees: self.trees.iter().map(Tree::from).collect(),
            checks: self.checks.iter().map(Check::from).collect(),
        }
        .serialize(serializer)
    }
}

impl<'a> From<&'a manifest::Tree> for Tree<'a> {
    fn from(tree: &'a manifest::Tree) -> Self {
        let attributes = [(tree.attributes.mode, Attribute::Mode), (tree.attributes.owner, Attribute::Owner)];
        Self {
            name: (&*tree.name).into(),
            root: (&*tree.root).into(),
            root_link: tree.root_link,
            extras: tree.extras,
            ignore: tree.ignore.iter().map(|pattern| (&**pattern).into()).collect(),
            attributes: attributes.into_iter().filter(|attribute| attribute.0).map(|attribute| attribute.1).collect(),
            restore: tree.restore,
            entries: Ok(Cow::Borrowed(&*tree.entries)),
        }
    }
}

/// One by one, each as it is written.
pub(super) fn entries<S: Serializer>(entries: &Entries<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().flat_map(|entries| &**entries).map(Entry::from))
}

impl<'a> From<&'a manifest::Entry> for Entry<'a> {
    fn from(entry: &'a manifest::Entry) -> Self {
        let (path, path_b64) = text_or_base64(&entry.path);
        let (mut size, mut sha256, mut target, mut target_b64) = (None, None, None, None);
        let (mut text, mut template) = (None, None);
        let r#type = match &entry.kind {
            EntryKind::Directory => Type::Dir,
            EntryKind::File { size: bytes, sha256: digest, text: kept } => {
                text = kept.as_deref().map(|text| Text(text.into()));
                size = Some(*bytes);
                sha256 = Some(Text(digest.to_hex().into()));
                Type::File
            }
            EntryKind::Template { template: text } => {
                template = Some(Text(text.as_str().into()));
                Type::File
            }
            EntryKind::Link { target: bytes } => {
                (target, target_b64) = text_or_base64(bytes);
                Type::Link
            }
        };
        let mode = entry.mode.map(|mode| Text(alloc::format!("{mode:04o}").into()));
        let (uid, gid) = (entry.owner.map(|owner| owner.uid), entry.owner.map(|owner| owner.gid));
        Self { path, path_b64, r#type, size, sha256, text, template, target, target_b64, mode, uid, gid }
    }
}

macro_rules! check {
    ($($module:ident: $Kind:ident,)*) => {
        impl<'a> From<&'a manifest::Check> for Check<'a> {
            fn from(check: &'a manifest::Check) -> Self {
                let mut argv = None;
                $(let mut $module = None;)*
                match &check.kind {
                    CheckKind::Command(command) => {
                        argv = Some(command.argv.iter().map(|argument| (&**argument).into()).collect());
                    }
                    $(CheckKind::$Kind(table) => $module = Some(Cow::Borrowed(table)),)*
                }
                Self {
                    name: (&*check.name).into(),
                    kind: check.kind.name().into(),
                    argv,
                    $($module,)*
                    timeout_ms: check.timeout_ms,
                    scope: check.scope,
                    after: check.after.iter().map(|name| (&**name).into()).collect(),
                    within: check.window.within,
                    hold: check.window.hold,
                    guard: check.guard,
                }
            }
        }
    };
}
with_tables!(check);

fn text_or_base64(bytes: &[u8]) -> (Option<Text<'_>>, Option<Text<'_>>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(Text(text.into())), None),
        Err(_) => (None, Some(Text(STANDARD.encode(bytes).into()))),
    }
}
