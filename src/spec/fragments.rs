//! A spec as written, key by key.

use alloc::{string::String, vec::Vec};

use serde::Deserialize;

use super::{PRODUCT, Spec, SpecError, Texts};
use crate::{
    check::{self, Command, window::Window, with_tables},
    duration::Span,
    glob::Ignore,
    manifest::{self, Attributes, CheckKind, Extras, Scope},
};

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
    #[serde(default)]
    secret: Vec<String>,
    #[serde(default)]
    templates: Vec<String>,
    #[serde(default)]
    restore: bool,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Attribute {
    Mode,
    Owner,
}

macro_rules! check {
    ($($module:ident: $Kind:ident,)*) => {
        /// The fields of all kinds; the one that is there says which kind it is.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Check {
            name: String,
            command: Option<Vec<String>>,
            $($module: Option<check::$module::$Kind>,)*
            timeout: Option<Span>,
            scope: Option<Scope>,
            #[serde(default)]
            after: Vec<String>,
            within: Option<Span>,
            #[serde(rename = "for")]
            hold: Option<Span>,
            #[serde(default)]
            guard: bool,
        }

        impl Check {
            /// Every kind that it says it is.
            fn kinds(&mut self) -> Vec<CheckKind> {
                let command = self.command.take().map(|argv| CheckKind::Command(Command { argv }));
                let tables = [$(self.$module.take().map(CheckKind::$Kind)),*];
                core::iter::once(command).chain(tables).flatten().collect()
            }
        }
    };
}
with_tables!(check);

impl TryFrom<File> for Spec {
    type Error = SpecError;

    fn try_from(file: File) -> Result<Self, SpecError> {
        Ok(Self {
            product: file.product.unwrap_or_else(|| PRODUCT.into()),
            texts: file.tree.iter().map(texts).collect::<Result<_, _>>()?,
            trees: file.tree.into_iter().map(manifest::Tree::from).collect(),
            checks: file.check.into_iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            warnings: Vec::new(),
        })
    }
}

fn texts(tree: &Tree) -> Result<Texts, SpecError> {
    if tree.restore && !tree.text {
        return Err(SpecError::RestoreWithoutText { tree: tree.name.clone() });
    }
    for (key, patterns) in [("secret", &tree.secret), ("templates", &tree.templates)] {
        Ignore::new(patterns).map_err(|error| SpecError::Glob { tree: tree.name.clone(), key, error })?;
    }
    Ok(Texts { keep: tree.text, secret: tree.secret.clone(), templates: tree.templates.clone() })
}

impl From<Tree> for manifest::Tree {
    fn from(tree: Tree) -> Self {
        Self {
            name: tree.name,
            root: tree.root,
            root_link: tree.root_link,
            extras: tree.extras,
            ignore: tree.ignore,
            attributes: Attributes {
                mode: tree.attributes.contains(&Attribute::Mode),
                owner: tree.attributes.contains(&Attribute::Owner),
            },
            restore: tree.restore,
            entries: Vec::new(),
        }
    }
}

impl TryFrom<Check> for manifest::Check {
    type Error = SpecError;

    fn try_from(mut check: Check) -> Result<Self, SpecError> {
        let mut kinds = check.kinds().into_iter();
        let Some(kind) = kinds.next() else { return Err(SpecError::NoKind { check: check.name }) };
        if let Some(other) = kinds.next() {
            return Err(SpecError::ManyKinds { check: check.name, one: kind.name(), other: other.name() });
        }
        Ok(Self {
            name: check.name,
            scope: check.scope.unwrap_or_else(|| kind.scope()),
            timeout_ms: check.timeout.map_or_else(|| kind.timeout_ms(), |timeout| timeout.ms),
            after: check.after,
            window: Window { within: check.within, hold: check.hold },
            guard: check.guard,
            kind,
        })
    }
}
