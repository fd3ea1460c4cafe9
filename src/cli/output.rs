//! Results on stdout, diagnostics on stderr.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use anyhow::Context as _;
use portcullis::text::escaped_json;
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
    result(&format!("{}\n", escaped_json(&text)))
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
