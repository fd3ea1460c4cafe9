//! The proposal as TOML, with a reason beside everything that was guessed.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt::Write as _;

use super::{
    checks::{Checks, Proposed},
    generalise::Reasoned,
};
use crate::text;

/// A tree to be written.
#[derive(Debug, Clone)]
pub(super) struct TreeDraft {
    pub(super) name: String,
    pub(super) root: String,
    pub(super) root_link: bool,
    pub(super) entries: usize,
    pub(super) text: bool,
    pub(super) secret: Vec<String>,
    pub(super) attributes: Vec<&'static str>,
    pub(super) templates: Vec<String>,
    pub(super) patterns: Vec<Reasoned>,
    pub(super) asks: Vec<(String, String)>,
    pub(super) notes: Vec<String>,
}

/// The whole file.
pub(super) fn spec(instances: usize, trees: &[TreeDraft], checks: &Checks) -> String {
    let mut out =
        String::from("# Proposed by `portcullis release learn`. Read it: it knows what it saw, not what you want.\n");
    out.push_str(match instances {
        1 => "# Seen on one instance. What differs between instances shows only when two are compared.\n",
        _ => "",
    });
    if instances > 1 {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# Seen on {instances} instances.");
    }
    trees.iter().for_each(|draft| tree(&mut out, draft));
    if !checks.asks.is_empty() {
        out.push('\n');
        asks(&mut out, &checks.asks);
    }
    checks.proposed.iter().for_each(|proposed| check(&mut out, proposed));
    if checks.left_out > 0 {
        let _ = writeln!(out, "\n# and {} more checks, too many for one spec: decide", checks.left_out);
    }
    out
}

fn tree(out: &mut String, draft: &TreeDraft) {
    let _ = writeln!(out, "\n[[tree]]   # {} entries", draft.entries);
    let _ = writeln!(out, "name = {}\nroot = {}\nextras = \"refuse\"", string(&draft.name), string(&draft.root));
    if draft.root_link {
        let _ = writeln!(out, "root_link = true   # its root is a symlink here");
    }
    if !draft.attributes.is_empty() {
        let _ = writeln!(out, "attributes = {}", list(draft.attributes.iter().copied()));
    }
    for note in &draft.notes {
        let _ = writeln!(out, "# {}", comment(note));
    }
    if draft.text {
        let _ = writeln!(out, "text = true   # configuration: differences are shown word by word");
    }
    if draft.text && !draft.secret.is_empty() {
        let _ = writeln!(out, "secret = {}", list(draft.secret.iter().map(String::as_str)));
    }
    if !draft.templates.is_empty() {
        let _ = writeln!(out, "templates = {}", list(draft.templates.iter().map(String::as_str)));
    }
    patterns(out, &draft.patterns);
    asks(out, &draft.asks);
}

fn patterns(out: &mut String, patterns: &[Reasoned]) {
    if patterns.is_empty() {
        return;
    }
    let kept = patterns.len().min(crate::glob::PATTERNS_MAX);
    let _ = writeln!(out, "ignore = [");
    for Reasoned { pattern, why } in &patterns[..kept] {
        let _ = writeln!(out, "  {},   # {}", string(pattern), comment(why));
    }
    let _ = writeln!(out, "]");
    if kept < patterns.len() {
        let _ = writeln!(out, "# and {} more that differ, too many for one tree: decide", patterns.len() - kept);
    }
}

fn asks(out: &mut String, asks: &[(String, String)]) {
    for (path, why) in asks.iter().take(ASKS_MAX) {
        let _ = writeln!(out, "# differs: {}: {}: decide", comment(path), comment(why));
    }
    if asks.len() > ASKS_MAX {
        let _ = writeln!(out, "# differs: and {} more: decide", asks.len() - ASKS_MAX);
    }
}

fn check(out: &mut String, proposed: &Proposed) {
    let reason =
        if proposed.comment.is_empty() { String::new() } else { format!("   # {}", comment(&proposed.comment)) };
    let _ = writeln!(out, "\n[[check]]{reason}\nname = {}\n{}", string(&proposed.name), proposed.lines);
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(string).collect::<Vec<_>>().join(", "))
}

/// A basic string of TOML: nothing in it can end it, or begin a line.
pub(super) fn string(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if text::visible(c.encode_utf8(&mut [0; 4])) != c.to_string() => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What may stand behind a `#`: one line, of a bearable length.
fn comment(value: &str) -> String {
    let visible = text::visible(value);
    let end = visible.floor_char_boundary(COMMENT_BYTES_MAX);
    if end < visible.len() { format!("{}…", &visible[..end]) } else { visible }
}

/// Of one tree. Who has more to decide has compared the wrong things.
const ASKS_MAX: usize = 50;

/// Of one comment.
const COMMENT_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_string() {
        for value in ["plain", "a\"b", "a\\b", "a\nb = \"c\"", "\u{202e}x\u{7f}", "größe \u{1f600}", "\u{0}"] {
            let parsed: toml::Table = toml::from_str(&format!("a = {}", string(value))).unwrap();
            assert_eq!(parsed["a"].as_str(), Some(value));
        }
        assert!(!comment("a\nb").contains('\n'));
    }

    #[test]
    fn as_many_and_as_long_as_is_bearable() {
        let told = |write: &dyn Fn(&mut String)| {
            let mut out = String::new();
            write(&mut out);
            let more = out.lines().find(|line| line.contains(" more")).map(String::from);
            (out.lines().filter(|line| !line.contains(" more")).count(), more)
        };
        let many = |count| alloc::vec![Reasoned { pattern: "a".into(), why: "b".into() }; count];
        let max = crate::glob::PATTERNS_MAX;
        assert_eq!(told(&|out| patterns(out, &[])), (0, None));
        assert_eq!(told(&|out| patterns(out, &many(max))), (max + 2, None));
        let more = "# and 2 more that differ, too many for one tree: decide";
        assert_eq!(told(&|out| patterns(out, &many(max + 2))), (max + 2, Some(more.into())));
        let many = |count| alloc::vec![("a".to_string(), "b".to_string()); count];
        assert_eq!(told(&|out| asks(out, &many(ASKS_MAX))), (ASKS_MAX, None));
        let more = "# differs: and 2 more: decide";
        assert_eq!(told(&|out| asks(out, &many(ASKS_MAX + 2))), (ASKS_MAX, Some(more.into())));
        let longest = "x".repeat(COMMENT_BYTES_MAX);
        assert_eq!(comment(&longest), longest);
        assert_eq!(comment(&(longest.clone() + "x")), longest + "…");
    }
}
