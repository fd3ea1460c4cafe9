//! How far a build has come: on stderr, and only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis::tree::Progress;

/// One line for all trees.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Nothing is drawn where stderr is no terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        Self(bar.with_style(ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Says which tree is being read.
    pub(crate) fn tree(&self, name: &str) {
        self.0.set_message(portcullis::text::visible(name));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn walked(&self, entries: u64) {
        self.0.inc_length(entries);
    }

    fn hashed(&self, files: u64, _bytes: u64) {
        self.0.inc(files);
    }
}

/// Directories are walked and not hashed, so the bar ends before its end.
const TEMPLATE: &str = "{msg}: {human_pos} files hashed, {human_len} entries found [{elapsed}]";
const REDRAWS_PER_SECOND: u8 = 10;
