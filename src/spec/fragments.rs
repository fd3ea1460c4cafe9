//! A spec as written, key by key.

use alloc::{string::String, vec::Vec};

use serde::Deserialize;

use super::{COMMAND_TIMEOUT_MS, PRODUCT, Spec, SpecError, duration_ms};
use crate::manifest::{self, Attributes, CheckKind, Extras, Scope};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    product: Option<String>,
    #[serde(default)]
    tree: Vec<Tree>,
    #[serde(default)]
    check: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree {
    name: String,
    root: String,
    #[serde(default)]
    root_link: bool,
    #[serde(default)]
    extras: Extras,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    text: bool,
    templates: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Attribute {
    Mode,
    Owner,
}

/// The fields of all kinds; the one that is there says which kind it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    name: String,
    command: Option<Vec<String>>,
    timeout: Option<String>,
    #[serde(default)]
    scope: Scope,
}

impl TryFrom<File> for Spec {
    type Error = SpecError;

    fn try_from(file: File) -> Result<Self, SpecError> {
        let warnings = file.tree.iter().filter(|tree| tree.text).map(text_is_not_kept).collect();
        Ok(Self {
            product: file.product.unwrap_or_else(|| PRODUCT.into()),
            trees: file.tree.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            checks: file.check.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            warnings,
        })
    }
}

/// A hint for people only: without it nothing passes that would fail.
fn text_is_not_kept(tree: &Tree) -> String {
    alloc::format!(
        "tree `{}`: `text` is taken, but texts are not kept in the manifest yet: `explain` will show no diff",
        crate::text::visible(&tree.name)
    )
}

impl TryFrom<Tree> for manifest::Tree {
    type Error = SpecError;

    fn try_from(tree: Tree) -> Result<Self, SpecError> {
        if tree.templates.is_some() {
            // Not a hint: the files it names would be expected as they are in the image, not as rendered.
            return Err(SpecError::Unsupported { tree: tree.name, key: "templates" });
        }
        Ok(Self {
            name: tree.name,
            root: tree.root,
            root_link: tree.root_link,
            extras: tree.extras,
            ignore: tree.ignore,
            attributes: Attributes {
                mode: tree.attributes.contains(&Attribute::Mode),
                owner: tree.attributes.contains(&Attribute::Owner),
            },
            entries: Vec::new(),
        })
    }
}

impl TryFrom<Check> for manifest::Check {
    type Error = SpecError;

    fn try_from(check: Check) -> Result<Self, SpecError> {
        let Some(argv) = check.command else { return Err(SpecError::NoKind { check: check.name }) };
        let timeout_ms = match check.timeout {
            None => COMMAND_TIMEOUT_MS,
            Some(timeout) => match duration_ms(&timeout) {
                Some(timeout_ms) => timeout_ms,
                None => return Err(SpecError::Duration { check: check.name, timeout }),
            },
        };
        Ok(Self { name: check.name, scope: check.scope, timeout_ms, kind: CheckKind::Command { argv } })
    }
}
