//! Facts of one instance, and templates that expected files are rendered from (PROTOCOL.md §2, “Facts”).
//!
//! The *expected* file is rendered and then compared, never the other way round: replacing values in the actual file would
//! let a literal placeholder pass.

use alloc::{
    borrow::Cow,
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    manifest::{Entry, EntryKind, Manifest, Tree},
};

/// The most bytes that the value of a fact has.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// A file is rendered up to this size: a value may stand in many places.
pub const RENDERED_BYTES_MAX: usize = 256 << 10;

/// The fact that the controller knows as well: it must be the instance that reports.
pub const INSTANCE: &str = "instance";

/// What is known of this instance, by name. A value is one line of printable text: it can never begin a new line of a
/// configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Facts(BTreeMap<String, String>);

impl TryFrom<BTreeMap<String, String>> for Facts {
    type Error = FactError;

    fn try_from(values: BTreeMap<String, String>) -> Result<Self, FactError> {
        let mut facts = Self::default();
        values.iter().try_for_each(|(name, value)| facts.insert(name, value)).map(|()| facts)
    }
}

impl Facts {
    /// Takes a value.
    ///
    /// # Errors
    /// When the name is not `[a-z][a-z0-9_]*` or the value is empty, longer than [`VALUE_BYTES_MAX`], or has a control character.
    pub fn insert(&mut self, name: &str, value: &dyn fmt::Display) -> Result<(), FactError> {
        let value = value.to_string();
        if !is_name(name) {
            return Err(FactError::Name);
        }
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(FactError::Value);
        }
        self.0.insert(name.into(), value);
        Ok(())
    }

    /// The value of that name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// By name, as they travel.
    pub fn into_values(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl Manifest {
    /// The names of all facts that its templates need.
    pub fn facts(&self) -> BTreeSet<&str> {
        self.trees.iter().flat_map(Tree::facts).collect()
    }
}

impl Tree {
    /// The names of all facts that its templates need.
    pub fn facts(&self) -> BTreeSet<&str> {
        self.entries.iter().filter_map(|entry| entry.kind.template()).flat_map(Template::facts).collect()
    }

    /// What it is on an instance with these facts: each template that can be rendered is a file. Of one that cannot, the
    /// places are left whose facts are not known (see [`Template::not_rendered`]).
    pub fn rendered(&self, facts: &Facts) -> Cow<'_, Self> {
        if !self.entries.iter().any(|entry| entry.kind.template().is_some()) {
            return Cow::Borrowed(self);
        }
        let kind = |kind: &EntryKind| kind.template().map_or_else(|| kind.clone(), |template| template.kind(facts));
        let entry = |entry: &Entry| Entry { kind: kind(&entry.kind), path: entry.path.clone(), ..*entry };
        Cow::Owned(Self { entries: self.entries.iter().map(entry).collect(), ..self.without_entries() })
    }

    pub(crate) fn without_entries(&self) -> Self {
        Self {
            name: self.name.clone(),
            root: self.root.clone(),
            ignore: self.ignore.clone(),
            entries: Vec::new(),
            ..*self
        }
    }
}

impl EntryKind {
    /// What it is rendered from, where it is.
    pub fn template(&self) -> Option<&Template> {
        if let Self::Template { template } = self { Some(template) } else { None }
    }
}

/// A fact that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// Not a name.
    #[error("a fact's name has lower-case letters, digits and `_`, and begins with a letter")]
    Name,
    /// Not a value.
    #[error("a fact's value is one line of 1 to {VALUE_BYTES_MAX} bytes without control characters")]
    Value,
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A text with places for facts: `{{ name }}`. A literal `{{` is written `{{{{`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
}

enum Piece<'a> {
    Text(&'a str),
    Fact(&'a str),
}

impl Template {
    /// Takes a text whose places are all well-formed.
    ///
    /// # Errors
    /// When a `{{` is neither a place for a fact nor doubled.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        pieces(text).map(drop)?;
        Ok(Self { text: text.into() })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the facts it needs, in order, with repetitions.
    pub fn facts(&self) -> Vec<&str> {
        let fact = |piece| if let Piece::Fact(name) = piece { Some(name) } else { None };
        pieces(&self.text).unwrap_or_default().into_iter().filter_map(fact).collect()
    }

    /// The text for an instance.
    ///
    /// # Errors
    /// The first fact that is not known there, or that there would be too much of it.
    pub fn render(&self, facts: &Facts) -> Result<String, NotRendered> {
        let mut out = String::with_capacity(self.text.len());
        for piece in pieces(&self.text).unwrap_or_default() {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Fact(name) => facts.value(name).ok_or_else(|| NotRendered::Unknown(name.into()))?,
            });
            if out.len() > RENDERED_BYTES_MAX {
                return Err(NotRendered::TooLarge);
            }
        }
        Ok(out)
    }

    fn kind(&self, facts: &Facts) -> EntryKind {
        match self.render(facts) {
            Ok(text) => EntryKind::File {
                size: text.len() as u64,
                sha256: Digest::of(text.as_bytes()),
                text: Some(text.into()),
            },
            Err(NotRendered::Unknown(_)) => EntryKind::Template { template: self.without(facts) },
            Err(NotRendered::TooLarge) => EntryKind::Template { template: Self { text: Box::default() } },
        }
    }

    /// Only what is not known is left to be filled in.
    fn without(&self, facts: &Facts) -> Self {
        let unknown = |piece| match piece {
            Piece::Fact(name) if facts.value(name).is_none() => Some(alloc::format!("{{{{{name}}}}}")),
            Piece::Fact(_) | Piece::Text(_) => None,
        };
        Self { text: pieces(&self.text).unwrap_or_default().into_iter().filter_map(unknown).collect::<String>().into() }
    }

    /// Why what is left of it could not be rendered.
    pub fn not_rendered(&self) -> NotRendered {
        let unknown = self.facts().first().map(|name| NotRendered::Unknown((*name).into()));
        unknown.unwrap_or(NotRendered::TooLarge)
    }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        pieces.push(Piece::Text(before));
        if let Some(literal) = after.strip_prefix("{{") {
            pieces.push(Piece::Text("{{"));
            rest = literal;
            continue;
        }
        let place = after.split_once("}}").map(|(name, after)| (name.trim_matches(' '), after));
        let Some((name, after)) = place.filter(|(name, _)| is_name(name)) else {
            let line = 1 + text[..text.len() - after.len()].matches('\n').count();
            return Err(TemplateError { line });
        };
        pieces.push(Piece::Fact(name));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// A place that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: `{{{{` begins no place for a fact such as `{{{{ instance }}}}`; a literal one is written `{{{{{{{{`"
)]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
}

/// Why a template could not be rendered on an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRendered {
    /// It needs a fact that this instance does not have.
    #[error("the fact `{0}` is not known here")]
    Unknown(String),
    /// More than [`RENDERED_BYTES_MAX`].
    #[error("it would have more than {RENDERED_BYTES_MAX} bytes")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut facts = Facts::default();
        facts.insert("instance", &"i-1").unwrap();
        facts.insert("port", &8080).unwrap();
        facts
    }

    #[test]
    fn rendered() {
        for (text, rendered) in [
            ("", Some("")),
            ("server { }", Some("server { }")),
            ("a {{ instance }}:{{port}} b", Some("a i-1:8080 b")),
            ("{{{{ instance }}", Some("{{ instance }}")),
            ("{{ absent }}", None),
        ] {
            assert_eq!(Template::parse(text).unwrap().render(&facts()).ok().as_deref(), rendered, "{text}");
        }
    }

    #[test]
    fn refused() {
        for (text, line) in
            [("{{", 1), ("a\n{{ b", 2), ("{{ }}", 1), ("{{ a b }}", 1), ("{{A}}", 1), ("\n\n{{ a\n}}", 3)]
        {
            assert_eq!(Template::parse(text), Err(TemplateError { line }), "{text}");
        }
        let mut facts = Facts::default();
        assert_eq!(facts.insert("Port", &1), Err(FactError::Name));
        assert_eq!(facts.insert("port", &"1\nroot /;"), Err(FactError::Value));
        assert_eq!(facts.insert("port", &""), Err(FactError::Value));
        assert_eq!(facts.insert("port", &"x".repeat(VALUE_BYTES_MAX + 1)), Err(FactError::Value));
        assert_eq!(facts, Facts::default(), "nothing of all that was taken");
    }

    #[test]
    fn values_there_and_back() {
        let travels = |name: &str, value: &str| BTreeMap::from([(name.to_string(), value.to_string())]);
        let longest = travels("zone_1b", &"x".repeat(VALUE_BYTES_MAX));
        assert_eq!(Facts::try_from(longest.clone()).map(Facts::into_values), Ok(longest));
        assert_eq!(Facts::try_from(travels("Zone", "x")), Err(FactError::Name));
    }

    #[test]
    fn as_large_as_may_be() {
        let text = "x".repeat(RENDERED_BYTES_MAX);
        let template = Template::parse(&text).unwrap();
        assert_eq!((template.as_str(), template.render(&facts())), (&*text, Ok(text.clone())));
        let more = Template::parse(&(text + "x")).unwrap();
        assert_eq!(more.render(&facts()), Err(NotRendered::TooLarge));
    }

    fn tree(templates: &[&str]) -> Tree {
        let entry = |(index, text): (usize, &&str)| Entry {
            path: alloc::format!("{index}").into_bytes(),
            kind: EntryKind::Template { template: Template::parse(text).unwrap() },
            mode: Some(0o640),
            owner: None,
        };
        Tree { entries: templates.iter().enumerate().map(entry).collect(), ..Tree::new("app", "/a") }
    }

    #[test]
    fn a_tree_is_files_once_the_facts_are_known() {
        let huge = "{{ instance }}".repeat(RENDERED_BYTES_MAX / 3 + 1);
        let tree = tree(&["id={{ instance }}", "{{ port }} {{ zone }} {{{{ {{ rack }}", "plain", &huge]);
        assert_eq!(tree.facts().into_iter().collect::<Vec<_>>(), ["instance", "port", "rack", "zone"]);
        let rendered = tree.rendered(&facts());
        let told = |entry: &Entry| match &entry.kind {
            EntryKind::File { size, sha256, text: Some(text) } => {
                assert_eq!((*size, *sha256), (text.len() as u64, Digest::of(text.as_bytes())));
                text.to_string()
            }
            EntryKind::Template { template } => template.not_rendered().to_string(),
            other => panic!("{other:?}"),
        };
        let told: Vec<_> = rendered.entries.iter().map(told).collect();
        let expected = ["id=i-1", "the fact `zone` is not known here", "plain", "it would have more than 262144 bytes"];
        assert_eq!(told, expected);
        assert!(rendered.entries.iter().all(|entry| entry.mode == Some(0o640)));
        assert_eq!((&rendered.name, &rendered.root), (&tree.name, &tree.root));
    }

    #[test]
    fn a_tree_without_templates_is_not_copied() {
        assert!(matches!(tree(&[]).rendered(&facts()), Cow::Borrowed(_)));
    }
}
