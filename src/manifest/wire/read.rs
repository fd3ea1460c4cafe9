//! From the fields to their meaning.

use alloc::{borrow::Cow, vec::Vec};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserializer;

use super::{Attribute, Check, ENTRIES_MAX, Entries, Entry, Manifest, Text, Tree, Type};
use crate::{
    check::{Command, window::Window, with_tables},
    digest::Digest,
    facts::Template,
    json,
    manifest::{self, Attributes, CheckKind, EntryKind, ManifestError, Owner, Place, VERSION, Violation},
};

impl TryFrom<Manifest<'_>> for manifest::Manifest {
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

impl TryFrom<Tree<'_>> for manifest::Tree {
    type Error = ManifestError;

    fn try_from(wire: Tree<'_>) -> Result<Self, ManifestError> {
        let name = wire.name.into_owned();
        if let [one, other] = wire.attributes[..]
            && one == other
        {
            let expected = "a list of different attributes";
            return Err(Place::tree(&name).breaks(Violation::Malformed { field: "attributes", expected }));
        }
        Ok(Self {
            entries: match wire.entries {
                Ok(entries) => entries.into_owned(),
                Err(Broken { path, violation }) => return Err(Place::entry(&name, &path).breaks(violation)),
            },
            root: wire.root.into_owned(),
            root_link: wire.root_link,
            extras: wire.extras,
            ignore: wire.ignore.into_iter().map(Cow::into_owned).collect(),
            attributes: Attributes {
                mode: wire.attributes.contains(&Attribute::Mode),
                owner: wire.attributes.contains(&Attribute::Owner),
            },
            restore: wire.restore,
            name,
        })
    }
}

/// An entry that means nothing.
pub(super) struct Broken {
    path: Vec<u8>,
    violation: Violation,
}

/// After one that is broken the others are still read: that the JSON is none comes before what it means.
pub(super) fn entries<'de, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Entries<'a>, D::Error> {
    let mut entries = Ok(Vec::new());
    json::each_at_most::<_, _, ENTRIES_MAX>(deserializer, |wire| {
        if let Ok(all) = &mut entries {
            match entry(wire) {
                Ok(entry) => all.push(entry),
                Err(broken) => entries = Err(broken),
            }
        }
    })?;
    Ok(entries.map(Cow::Owned))
}

fn entry(wire: Entry<'_>) -> Result<manifest::Entry, Broken> {
    // Should the path itself be broken: base64 as it stands shows where.
    let shown = wire.path_b64.as_ref().map(|path| path.0.as_bytes().to_vec());
    let path = bytes("path", wire.path, wire.path_b64).and_then(|path| path.ok_or(Violation::Missing("path")));
    let path = path.map_err(|violation| Broken { path: shown.unwrap_or_default(), violation })?;
    let (text, template) = (wire.text, wire.template);
    let kind = bytes("target", wire.target, wire.target_b64).and_then(|target| match template {
        Some(template) => rendered(
            wire.r#type,
            &template.0,
            wire.size.is_some() || wire.sha256.is_some() || text.is_some() || target.is_some(),
        ),
        None => kind(wire.r#type, wire.size, wire.sha256, text, target),
    });
    let mode = wire.mode.map(|mode| octal(&mode.0)).transpose();
    let rest = kind.and_then(|kind| Ok((kind, mode?, owner(wire.uid, wire.gid)?)));
    match rest {
        Ok((kind, mode, owner)) => Ok(manifest::Entry { path, kind, mode, owner }),
        Err(violation) => Err(Broken { path, violation }),
    }
}

/// Each kind has its own fields, all of them and no other.
fn kind(
    r#type: Type,
    size: Option<u64>,
    sha256: Option<Text<'_>>,
    text: Option<Text<'_>>,
    target: Option<Vec<u8>>,
) -> Result<EntryKind, Violation> {
    if text.is_some() && !matches!(r#type, Type::File) {
        return Err(Violation::Unexpected("text"));
    }
    match (r#type, size, sha256, target) {
        (Type::Dir, None, None, None) => Ok(EntryKind::Directory),
        (Type::File, Some(size), Some(sha256), None) => {
            Ok(EntryKind::File { size, sha256: digest(&sha256.0)?, text: text.map(|text| text.0.into()) })
        }
        (Type::Link, None, None, Some(target)) => Ok(EntryKind::Link { target }),
        (Type::File, None, _, None) => Err(Violation::Missing("size")),
        (Type::File, _, None, None) => Err(Violation::Missing("sha256")),
        (Type::Link, None, None, None) => Err(Violation::Missing("target")),
        (Type::Dir | Type::File, _, _, Some(_)) => Err(Violation::Unexpected("target")),
        (Type::Dir | Type::Link, Some(_), _, _) => Err(Violation::Unexpected("size")),
        (Type::Dir | Type::Link, _, Some(_), _) => Err(Violation::Unexpected("sha256")),
    }
}

/// A file whose size and digest nobody knows before it is rendered.
fn rendered(r#type: Type, template: &str, others: bool) -> Result<EntryKind, Violation> {
    if others || !matches!(r#type, Type::File) {
        return Err(Violation::Unexpected("template"));
    }
    Ok(EntryKind::Template { template: Template::parse(template).map_err(Violation::Template)? })
}

fn owner(uid: Option<u32>, gid: Option<u32>) -> Result<Option<Owner>, Violation> {
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok(Some(Owner { uid, gid })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Violation::Missing("uid")),
        (Some(_), None) => Err(Violation::Missing("gid")),
    }
}

impl TryFrom<Check<'_>> for manifest::Check {
    type Error = ManifestError;

    fn try_from(wire: Check<'_>) -> Result<Self, ManifestError> {
        let name = wire.name.clone().into_owned();
        let (scope, timeout_ms, guard) = (wire.scope, wire.timeout_ms, wire.guard);
        let window = Window { within: wire.within, hold: wire.hold };
        let after = wire.after.iter().map(|name| name.clone().into_owned()).collect();
        let kind = kind_of_check(wire).map_err(|violation| Place::check(&name).breaks(violation))?;
        Ok(Self { name, scope, timeout_ms, after, window, guard, kind })
    }
}

macro_rules! kind_of_check {
    ($($module:ident: $Kind:ident,)*) => {
        /// Each kind has its own table, and no other.
        fn kind_of_check(wire: Check<'_>) -> Result<CheckKind, Violation> {
            const TABLES: &[&str] = &["argv", $(stringify!($module)),*];
            let there = [wire.argv.is_some(), $(wire.$module.is_some()),*];
            let own = if wire.kind == "command" { "argv" } else { &*wire.kind };
            let foreign = TABLES.iter().zip(there).find(|(table, there)| *there && **table != own);
            let kind = match &*wire.kind {
                "command" => {
                    let argv = wire.argv.ok_or(Violation::Missing("argv"))?;
                    CheckKind::Command(Command { argv: argv.into_iter().map(Cow::into_owned).collect() })
                }
                $(stringify!($module) => {
                    CheckKind::$Kind(wire.$module.ok_or(Violation::Missing(stringify!($module)))?.into_owned())
                })*
                unknown => return Err(Violation::UnknownKind(unknown.into())),
            };
            match foreign {
                Some((table, _)) => Err(Violation::Unexpected(table)),
                None => Ok(kind),
            }
        }
    };
}
with_tables!(kind_of_check);

/// Text when it is UTF-8, base64 when it is not: one form for each value.
fn bytes(field: &'static str, text: Option<Text<'_>>, base64: Option<Text<'_>>) -> Result<Option<Vec<u8>>, Violation> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Violation::BothForms(field)),
        (Some(Text(text)), None) => Ok(Some(text.into_owned().into_bytes())),
        (None, None) => Ok(None),
        (None, Some(Text(base64))) => {
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
