//! The JSON of a manifest, field by field, both ways. What a field's *form* can get wrong is refused here; what only its
//! meaning can, in `rules`.

use alloc::{borrow::Cow, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{CHECKS_MAX, ENTRIES_MAX, Extras, Scope, TREES_MAX};
use crate::{
    check::{self, command::ARGUMENTS_MAX, with_tables},
    duration::Span,
    glob::PATTERNS_MAX,
    json, manifest,
};

mod read;
mod write;

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
    #[serde(default, skip_serializing_if = "is_false")]
    restore: bool,
    #[serde(serialize_with = "write::entries", deserialize_with = "read::entries")]
    entries: Entries<'a>,
}

/// Never all in the form of [`Entry`], which takes three times the room; or the first that means nothing.
type Entries<'a> = Result<Cow<'a, [manifest::Entry]>, read::Broken>;

/// What serde borrows inside an `Option` too.
#[derive(Serialize, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Attribute {
    Mode,
    Owner,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    path: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<Text<'a>>,
    r#type: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Text<'a>>,
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

macro_rules! check {
    ($($module:ident: $Kind:ident,)*) => {
        /// The fields of all kinds; which of them belong to which kind, `read` knows.
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Check<'a> {
            name: Cow<'a, str>,
            kind: Cow<'a, str>,
            #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "arguments")]
            argv: Option<Vec<Cow<'a, str>>>,
            $(
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $module: Option<Cow<'a, check::$module::$Kind>>,
            )*
            timeout_ms: u64,
            scope: Scope,
            #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "json::at_most::<_, _, AFTER_MAX>")]
            after: Vec<Cow<'a, str>>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            within: Option<Span>,
            #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
            hold: Option<Span>,
            #[serde(default, skip_serializing_if = "is_false")]
            guard: bool,
        }
    };
}
with_tables!(check);

/// Every tree and every check.
const AFTER_MAX: usize = TREES_MAX + CHECKS_MAX;

fn arguments<'de, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Cow<'a, str>>>, D::Error> {
    json::at_most::<_, _, ARGUMENTS_MAX>(deserializer).map(Some)
}

fn is_false(value: &bool) -> bool {
    !value
}
