//! Strings that come from an instance or a file name, made safe to show.

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;

/// A path as people and JSON get it (DESIGN.md §7): a byte that is not UTF-8 is `\xNN`, a backslash `\\`, so that no two
/// paths look alike. Still to be made [`visible`] before it meets a terminal or a page.
pub fn path(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                text.push('\\');
            }
            text.push(c);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Control and bidirectional characters as `\u{…}`: nothing that is shown can move the cursor or reorder a line
/// (PROTOCOL.md §3).
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_bidirectional(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A line of a text: [`visible`] but for tabs, which are a line's own business.
pub fn visible_line(line: &str) -> String {
    line.split('\t').map(visible).collect::<Vec<_>>().join("\t")
}

/// A text of several lines, each as [`visible_line`] has it.
pub fn visible_lines(text: &str) -> String {
    text.lines().map(visible_line).collect::<Vec<_>>().join("\n")
}

/// Any bytes, safe to show: [`path`], then [`visible`].
pub fn escape(bytes: &[u8]) -> String {
    visible(&path(bytes))
}

/// The same JSON, with what could confuse a terminal as `\uNNNN`. Such characters are in strings only, and JSON itself escapes
/// but the lowest of them.
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && (c.is_control() || is_bidirectional(c)) {
            // All of them are in the first plane: four digits are enough.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that reorder the text around them (Unicode UAX #9, §2), and the line separators that are no `is_control`.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (bytes, shown) in [
            (&b"lib/a.php"[..], "lib/a.php"),
            (b"a\\b", "a\\\\b"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"a\x1b[2J", "a\\u{1b}[2J"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            ("größe".as_bytes(), "größe"),
        ] {
            assert_eq!(escape(bytes), shown);
        }
        assert_eq!(visible_line("\ta\u{1b}[2J\tb\r"), "\ta\\u{1b}[2J\tb\\u{d}");
        assert_eq!(visible_lines("a\u{1b}\r\n\n\tb\n"), "a\\u{1b}\n\n\tb");
        assert_eq!(path(b"a\nb"), "a\nb", "JSON escapes control characters by itself");
    }

    #[test]
    fn json_cannot_confuse_a_terminal() {
        let json = serde_json::to_string("a\u{1b}\u{7f}\u{9b}\u{202e}ü\n").unwrap();
        let escaped = escaped_json(&json);
        assert_eq!(escaped, r#""a\u001b\u007f\u009b\u202eü\n""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), "a\u{1b}\u{7f}\u{9b}\u{202e}ü\n");
    }
}
