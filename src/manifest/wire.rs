//! The JSON of a manifest, field by field, both ways. What a field's *form* can get wrong is refused here; what only its
//! meaning can, in `rules`.

use alloc::{borrow::Cow, string::String, vec::Vec};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer};

use super::{Attributes, CHECKS_MAX, CheckKind, ENTRIES_MAX, EntryKind, Extras, ManifestError, Owner, Place, Scope};
use super::{TREES_MAX, VERSION, Violation};
use crate::{check::command::ARGUMENTS_MAX, digest::Digest, glob::PATTERNS_MAX, json};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest<'a> {
    version: u64,
    product: Cow<'a, str>,
    release: Cow<'a, str>,
    sequence: u64,
    #[serde(deserialize_with = "json::at_most::<_, _, TREES_MAX>")]
    trees: Vec<Tree<'a>>,
    #[serde(deserialize_with = "json::at_most::<_, _, CHECKS_MAX>")]
    checks: Vec<Check<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree<'a> {
    name: Cow<'a, str>,
    root: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_false")]
    root_link: bool,
    extras: Extras,
    #[serde(deserialize_with = "json::at_most::<_, _, PATTERNS_MAX>")]
    ignore: Vec<Cow<'a, str>>,
    #[serde(deserialize_with = "json::at_most::<_, _, 2>")]
    attributes: Vec<Attribute>,
    #[serde(deserialize_with = "json::at_most::<_, _, ENTRIES_MAX>")]
    entries: Vec<Entry<'a>>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Attribute {
    Mode,
    Owner,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<Cow<'a, str>>,
    r#type: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Dir,
    File,
    Link,
}

/// The fields of all kinds; which of them belong to which kind, [`CheckKind::from_wire`] knows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check<'a> {
    name: Cow<'a, str>,
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "arguments")]
    argv: Option<Vec<Cow<'a, str>>>,
    timeout_ms: u64,
    scope: Scope,
}

fn arguments<'de, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Cow<'a, str>>>, D::Error> {
    json::at_most::<_, _, ARGUMENTS_MAX>(deserializer).map(Some)
}

fn is_false(value: &bool) -> bool {
    !value
}

impl TryFrom<Manifest<'_>> for super::Manifest {
    type Error = ManifestError;

    fn try_from(wire: Manifest<'_>) -> Result<Self, ManifestError> {
        if wire.version != VERSION {
            return Err(Place::Manifest.breaks(Violation::Version(wire.version)));
        }
        Ok(Self {
            product: wire.product.into_owned(),
            release: wire.release.into_owned(),
            sequence: wire.sequence,
            trees: wire.trees.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            checks: wire.checks.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<Tree<'_>> for super::Tree {
    type Error = ManifestError;

    fn try_from(wire: Tree<'_>) -> Result<Self, ManifestError> {
        let name = wire.name.into_owned();
        if let [one, other] = wire.attributes[..]
            && one == other
        {
            let expected = "a list of different attributes";
            return Err(Place::tree(&name).breaks(Violation::Malformed { field: "attributes", expected }));
        }
        let entry = |entry: Entry<'_>| {
            let shown = entry.path.as_ref().or(entry.path_b64.as_ref());
            let place = Place::entry(&name, shown.map_or(b"", |path| path.as_bytes()));
            super::Entry::try_from(entry).map_err(|violation| place.breaks(violation))
        };
        Ok(Self {
            entries: wire.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
            root: wire.root.into_owned(),
            root_link: wire.root_link,
            extras: wire.extras,
            ignore: wire.ignore.into_iter().map(Cow::into_owned).collect(),
            attributes: Attributes {
                mode: wire.attributes.contains(&Attribute::Mode),
                owner: wire.attributes.contains(&Attribute::Owner),
            },
            name,
        })
    }
}

impl TryFrom<Entry<'_>> for super::Entry {
    type Error = Violation;

    fn try_from(wire: Entry<'_>) -> Result<Self, Violation> {
        let path = bytes("path", wire.path, wire.path_b64)?.ok_or(Violation::Missing("path"))?;
        let target = bytes("target", wire.target, wire.target_b64)?;
        let kind = match (wire.r#type, wire.size, wire.sha256, target) {
            (Type::Dir, None, None, None) => EntryKind::Directory,
            (Type::File, Some(size), Some(sha256), None) => EntryKind::File { size, sha256: digest(&sha256)? },
            (Type::File, None, _, None) => return Err(Violation::Missing("size")),
            (Type::File, _, None, None) => return Err(Violation::Missing("sha256")),
            (Type::Link, None, None, Some(target)) => EntryKind::Link { target },
            (Type::Link, None, None, None) => return Err(Violation::Missing("target")),
            (Type::Dir | Type::File, _, _, Some(_)) => return Err(Violation::Unexpected("target")),
            (Type::Dir | Type::Link, Some(_), _, _) => return Err(Violation::Unexpected("size")),
            (Type::Dir | Type::Link, _, Some(_), _) => return Err(Violation::Unexpected("sha256")),
        };
        let owner = match (wire.uid, wire.gid) {
            (Some(uid), Some(gid)) => Some(Owner { uid, gid }),
            (None, None) => None,
            (None, Some(_)) => return Err(Violation::Missing("uid")),
            (Some(_), None) => return Err(Violation::Missing("gid")),
        };
        Ok(Self { path, kind, mode: wire.mode.map(|mode| octal(&mode)).transpose()?, owner })
    }
}

impl TryFrom<Check<'_>> for super::Check {
    type Error = ManifestError;

    fn try_from(wire: Check<'_>) -> Result<Self, ManifestError> {
        let name = wire.name.into_owned();
        let argv = wire.argv.map(|argv| argv.into_iter().map(Cow::into_owned).collect());
        let kind = CheckKind::from_wire(&wire.kind, argv).map_err(|violation| Place::check(&name).breaks(violation))?;
        Ok(Self { name, scope: wire.scope, timeout_ms: wire.timeout_ms, kind })
    }
}

impl CheckKind {
    fn from_wire(kind: &str, argv: Option<Vec<String>>) -> Result<Self, Violation> {
        match kind {
            "command" => Ok(Self::Command { argv: argv.ok_or(Violation::Missing("argv"))? }),
            unknown => Err(Violation::UnknownKind(unknown.into())),
        }
    }
}

/// Text when it is UTF-8, base64 when it is not: one form for each value.
fn bytes(
    field: &'static str,
    text: Option<Cow<'_, str>>,
    base64: Option<Cow<'_, str>>,
) -> Result<Option<Vec<u8>>, Violation> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Violation::BothForms(field)),
        (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
        (None, None) => Ok(None),
        (None, Some(base64)) => {
            let expected = "padded standard base64";
            let bytes = STANDARD.decode(&*base64).map_err(|_| Violation::Malformed { field, expected })?;
            if str::from_utf8(&bytes).is_ok() { Err(Violation::NeedlessBase64(field)) } else { Ok(Some(bytes)) }
        }
    }
}

fn digest(hex: &str) -> Result<Digest, Violation> {
    Digest::from_hex(hex).ok_or(Violation::Malformed { field: "sha256", expected: "64 lower-case hex digits" })
}

fn octal(mode: &str) -> Result<u32, Violation> {
    let digits = mode.len() == 4 && mode.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let value = if digits { u32::from_str_radix(mode, 8).ok() } else { None };
    value.ok_or(Violation::Malformed { field: "mode", expected: "four octal digits" })
}

impl Serialize for super::Manifest {
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

impl<'a> From<&'a super::Tree> for Tree<'a> {
    fn from(tree: &'a super::Tree) -> Self {
        let attributes = [(tree.attributes.mode, Attribute::Mode), (tree.attributes.owner, Attribute::Owner)];
        Self {
            name: (&*tree.name).into(),
            root: (&*tree.root).into(),
            root_link: tree.root_link,
            extras: tree.extras,
            ignore: tree.ignore.iter().map(|pattern| (&**pattern).into()).collect(),
            attributes: attributes.into_iter().filter(|attribute| attribute.0).map(|attribute| attribute.1).collect(),
            entries: tree.entries.iter().map(Entry::from).collect(),
        }
    }
}

impl<'a> From<&'a super::Entry> for Entry<'a> {
    fn from(entry: &'a super::Entry) -> Self {
        let (path, path_b64) = text_or_base64(&entry.path);
        let (mut size, mut sha256, mut target, mut target_b64) = (None, None, None, None);
        let r#type = match &entry.kind {
            EntryKind::Directory => Type::Dir,
            EntryKind::File { size: bytes, sha256: digest } => {
                size = Some(*bytes);
                sha256 = Some(digest.to_hex().into());
                Type::File
            }
            EntryKind::Link { target: bytes } => {
                (target, target_b64) = text_or_base64(bytes);
                Type::Link
            }
        };
        let mode = entry.mode.map(|mode| alloc::format!("{mode:04o}").into());
        let (uid, gid) = (entry.owner.map(|owner| owner.uid), entry.owner.map(|owner| owner.gid));
        Self { path, path_b64, r#type, size, sha256, target, target_b64, mode, uid, gid }
    }
}

impl<'a> From<&'a super::Check> for Check<'a> {
    fn from(check: &'a super::Check) -> Self {
        let CheckKind::Command { argv } = &check.kind;
        Self {
            name: (&*check.name).into(),
            kind: check.kind.name().into(),
            argv: Some(argv.iter().map(|argument| (&**argument).into()).collect()),
            timeout_ms: check.timeout_ms,
            scope: check.scope,
        }
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes).into())),
    }
}
