//! Results on stdout, diagnostics on stderr.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write as _},
};

use anyhow::Context as _;
use portcullis::text::{escaped_json, visible_lines};
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

/// Says what went wrong, and what to do about it; to machines too, if they were to have the result.
pub(crate) fn failure(error: &anyhow::Error) {
    let hint = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()).map(|hinted| hinted.hint.as_str());
    diagnostic("error", &visible_lines(&format!("{error:#}")));
    if let Some(hint) = hint {
        diagnostic("hint", &hint);
    }
    failure_json(&format!("{error:#}"), hint);
}

/// The same on stdout, in a line, where JSON was asked for: whoever reads it need not know what was printed elsewhere.
pub(crate) fn failure_json(error: &str, hint: Option<&str>) {
    let asked = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    if asked {
        let hint = hint.map(|hint| ("hint", hint));
        let object: BTreeMap<_, _> = [("error", error)].into_iter().chain(hint).collect();
        let text = serde_json::to_string(&object).unwrap_or_default();
        // With stdout gone, stderr has told.
        let _ = result(&format!("{}\n", escaped_json(&text)));
    }
}

/// Says what went wrong where machines have it with the result.
pub(crate) fn error(message: &impl Display) {
    diagnostic("error", message);
}

/// Says what one should know.
pub(crate) fn warning(message: &impl Display) {
    diagnostic("warning", message);
}

fn diagnostic(kind: &str, message: &impl Display) {
    // With stderr gone, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{kind}: {message}");
}
