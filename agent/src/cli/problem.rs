//! What kept a command from its answer: told to people, and to machines that were to have JSON or JUnit's XML.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use portcullis::text::{escaped_json, visible, visible_lines};
use portcullis_agent::config::ConfigError;
use serde::Serialize;

use super::junit;

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
    /// Says it, on stdout too if a machine was to read the answer, and gives the exit status.
    pub(super) fn tell(&self, form: Form) -> ExitCode {
        eprintln!("error: {}", visible_lines(&self.text));
        if let Some(hint) = self.hint {
            eprintln!("hint: {}", visible(hint));
        }
        self.print(form);
        ExitCode::from(UNTOLD)
    }

    fn print(&self, form: Form) {
        // With stdout gone, stderr has told.
        let _ = match form {
            Form::Text => Ok(()),
            Form::Json => {
                let object = serde_json::to_string(&Json { ready: false, problem: self }).unwrap_or_default();
                writeln!(io::stdout(), "{}", escaped_json(&object))
            }
            Form::Junit => junit::nothing(&mut io::stdout(), &self.text),
        };
    }
}

/// What the answer was to be printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One object.
    Json,
    /// XML.
    Junit,
}

impl Form {
    /// By the options that were given; of two that exclude each other, JSON.
    pub(crate) const fn of(json: bool, junit: bool) -> Self {
        match (json, junit) {
            (true, _) => Self::Json,
            (false, true) => Self::Junit,
            (false, false) => Self::Text,
        }
    }
}

/// What the parser of the command line says, for machines; people were told.
pub(crate) fn usage(told: &str, form: Form) {
    Problem { text: told.trim_start_matches("error: ").trim_end().into(), hint: None }.print(form);
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self { hint: error.hint(), text: error.to_string() }
    }
}

/// Exit status of "could not tell".
pub(super) const UNTOLD: u8 = 2;
