//! Results on stdout, diagnostics on stderr.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use anyhow::Context as _;
use portcullis::text::visible;
use serde::Serialize;

use super::answer::Hinted;

/// Writes a result. A reader that has seen enough and is gone (`| head`) is no error.
pub(crate) fn result(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to stdout"),
    }
}

/// Writes a result for machines.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("failed to write JSON")?;
    result(&format!("{}\n", escaped(&text)))
}

/// The same JSON, with what could confuse a terminal as `\uNNNN`. Such characters are in strings only, and JSON itself
/// escapes but the lowest of them.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' || visible(c.encode_utf8(&mut [0; 4])).starts_with(c) {
            out.push(c);
        } else {
            // All of them are in the first plane: four digits are enough.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}

/// Says what went wrong, and what to do about it.
pub(crate) fn failure(error: &anyhow::Error) {
    diagnostic("error", &format_args!("{error:#}"));
    if let Some(hinted) = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()) {
        diagnostic("hint", &hinted.hint);
    }
}

/// Says what one should know.
pub(crate) fn warning(message: &impl Display) {
    diagnostic("warning", message);
}

fn diagnostic(kind: &str, message: &impl Display) {
    // With stderr gone, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{kind}: {message}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_cannot_confuse_a_terminal() {
        let json = serde_json::to_string("a\u{1b}\u{7f}\u{9b}\u{202e}ü\n").unwrap();
        let escaped = super::escaped(&json);
        assert_eq!(escaped, r#""a\u001b\u007f\u009b\u202eü\n""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), "a\u{1b}\u{7f}\u{9b}\u{202e}ü\n");
    }
}
