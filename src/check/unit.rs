//! `unit`: systemd says that a unit is active, has been for a while, and runs by the file that is there now.
//!
//! ```toml
//! [[check]]
//! name = "shop runs"
//! unit = { unit = "shop.service", restarts_max = 2, up_for = "10s" }
//! ```
//!
//! A unit that is started again and again is `active` for some of the time. Each start begins `up_for` anew, so a loop that is
//! shorter never gets there; one that is longer is caught by `restarts_max`. Without `up_for`, a unit that systemd had to
//! restart must have stayed up for [`SETTLED`] since.

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use super::{Wanted, fields::not_empty};
use crate::{duration::Span, text};

/// What was restarted by itself and has stayed up for so long is no crash loop worth the name: systemd's own limit, five
/// starts within 10 s, would have ended a faster one.
pub const SETTLED: Span = Span::from_s(10);

/// A unit that is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Its whole name, type included: `shop.service`, `worker@3.service`, `backup.timer`.
    pub unit: String,
    /// systemd may have restarted it so often by itself since somebody started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts_max: Option<u64>,
    /// It must have been active for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_for: Option<Span>,
}

impl Wanted for Unit {
    const NAME: &'static str = "unit";

    fn validate(&self) -> Result<(), String> {
        not_empty("unit", &self.unit)?;
        let shown = text::visible(&self.unit);
        // A backslash stands in names that systemd escaped.
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@' | '*' | '?' | '[');
        if !self.unit.chars().all(letter) || self.unit.starts_with('-') {
            return Err(format!("`unit` is `{shown}`, which is no unit's name"));
        }
        // A pattern would be answered for whatever is loaded, and nothing is an answer too.
        if self.unit.contains(['*', '?', '[']) {
            return Err(format!("`unit` is `{shown}`, a pattern; name one unit"));
        }
        let typed = self.unit.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && TYPES.contains(&kind));
        typed.then_some(()).ok_or_else(|| format!("`unit` is `{shown}`, without a type such as `.service`"))
    }

    fn summary(&self) -> String {
        text::visible(&self.unit)
    }
}

/// systemd.unit(5).
const TYPES: [&str; 11] = [
    "service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (unit, usable) in [
            ("shop.service", true),
            ("worker@3.service", true),
            ("dev-disk-by\\x2duuid.device", true),
            ("backup.timer", true),
            ("shop", false),
            (".service", false),
            ("shop.conf", false),
            ("shop*.service", false),
            ("--all.service", false),
            ("a b.service", false),
        ] {
            assert_eq!(Unit { unit: unit.into(), restarts_max: None, up_for: None }.validate().is_ok(), usable, "{unit}");
        }
    }
}
