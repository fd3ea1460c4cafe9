//! What happened, when, as the person in front of the terminal reads it.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{Arc, Mutex},
};

use crate::clock::Stopwatch;

/// Prints one line an event, with the seconds since the drill began, and keeps them.
#[derive(Debug, Clone)]
pub struct Timeline {
    began: Stopwatch,
    lines: Arc<Mutex<Vec<String>>>,
    colour: bool,
}

/// How a line is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something that was done.
    Plain,
    /// Something that should be.
    Good,
    /// Something that hurts.
    Bad,
}

impl Timeline {
    /// Starts now.
    pub fn start() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { began: Stopwatch::start(), lines: Arc::default(), colour }
    }

    /// A heading.
    pub fn heading(&self, text: &str) {
        self.print(&format!("\n{text}\n{}", "─".repeat(text.chars().count())));
    }

    /// An event.
    pub fn say(&self, tone: Tone, text: &str) {
        let (before, after) = match (self.colour, tone) {
            (false, _) | (_, Tone::Plain) => ("", ""),
            (true, Tone::Good) => ("\x1b[32m", "\x1b[0m"),
            (true, Tone::Bad) => ("\x1b[31m", "\x1b[0m"),
        };
        let seconds = self.began.elapsed().as_secs_f64();
        let mut lines = text.lines();
        self.print(&format!("{seconds:7.2} s  {before}{}{after}", lines.next().unwrap_or_default()));
        for line in lines {
            self.print(&format!("           {before}{line}{after}"));
        }
    }

    /// A broken pipe is no reason to stop half-way: what the drill started must be ended in order.
    fn print(&self, line: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.to_owned());
    }
}
