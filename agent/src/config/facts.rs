//! `[facts]`: what templates are rendered with, besides what the agent knows by itself.

use portcullis::facts::{Facts, INSTANCE};
use toml::Value;

use super::{ConfigError, refused};

/// Reads them: strings, integers and booleans. `enrols`: the agent shows a controller who it is, and nobody else says so.
pub(super) fn facts(written: &toml::Table, enrols: bool) -> Result<Facts, ConfigError> {
    let mut facts = Facts::default();
    for (name, value) in written {
        let wrong = |because: String| refused("facts", format!("`{}`: {because}", portcullis::text::visible(name)));
        if enrols && name == INSTANCE {
            return Err(wrong("with a `[controller]`, that is who the agent enrols as: leave it out".into()));
        }
        let taken = match value {
            Value::String(value) => facts.insert(name, value),
            Value::Integer(value) => facts.insert(name, value),
            Value::Boolean(value) => facts.insert(name, value),
            other => {
                return Err(wrong(format!(
                    "it is of type {}, not a string, an integer or a boolean",
                    other.type_str()
                )));
            }
        };
        taken.map_err(|error| wrong(error.to_string()))?;
    }
    Ok(facts)
}
