//! What kept a command from its answer: told to people, and to machines that were to have JSON.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use portcullis::text::{escaped_json, visible, visible_lines};
use portcullis_agent::config::ConfigError;
use serde::Serialize;

/// The user's world, not ours.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "error")]
    pub(super) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<&'static str>,
}

/// Not ready, whatever else. There are no `outcomes`: an empty list of them would look as if nothing had failed.
#[derive(Serialize)]
struct Json<'a> {
    ready: bool,
    #[serde(flatten)]
    problem: &'a Problem,
}

impl Problem {
    /// Says it, on stdout too if JSON was asked for, and gives the exit status.
    pub(super) fn tell(&self, json: bool) -> ExitCode {
        eprintln!("error: {}", visible_lines(&self.text));
        if let Some(hint) = self.hint {
            eprintln!("hint: {}", visible(hint));
        }
        if json {
            self.print();
        }
        ExitCode::from(UNTOLD)
    }

    fn print(&self) {
        let object = serde_json::to_string(&Json { ready: false, problem: self }).unwrap_or_default();
        // With stdout gone, stderr has told.
        let _ = writeln!(io::stdout(), "{}", escaped_json(&object));
    }
}

/// What the parser of the command line says, for machines.
pub(crate) fn usage(told: &str) {
    Problem { text: told.trim_start_matches("error: ").trim_end().into(), hint: None }.print();
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self { hint: error.hint(), text: error.to_string() }
    }
}

/// Exit status of "could not tell".
pub(super) const UNTOLD: u8 = 2;
