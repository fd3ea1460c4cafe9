//! `container`: a container of Docker or Podman runs, from the image that it should, and is healthy.
//!
//! ```toml
//! [[check]]
//! name = "orders runs"
//! container = { name = "orders", image_digest = "sha256:…", up_for = "10s", healthy = true }
//! ```

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use super::{
    Wanted,
    fields::{absolute, if_there, not_empty},
};
use crate::{duration::Span, text};

/// What was restarted by itself must have stayed up for so long: the engines wait up to a minute between restarts, but
/// count anew what stayed up for 10 s.
pub const SETTLED: Span = Span::from_s(10);

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Its name or id.
    pub name: String,
    /// `sha256:…`: of the image's manifest as it was pushed, or of its configuration (the image id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// The name that it was started from: `registry.example/orders:2026.11.20`. A tag moves; a digest does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The engine may have restarted it so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts_max: Option<u64>,
    /// It must have run for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_for: Option<Span>,
    /// `true`: it must have a health check, and that must pass. `false`: whatever it says does not count. Unless given: it
    /// must pass if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Where the engine listens. Unless given, Docker's socket, else Podman's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
}

impl Wanted for Container {
    const NAME: &'static str = "container";

    fn validate(&self) -> Result<(), String> {
        not_empty("name", &self.name)?;
        // It becomes part of a URL's path.
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !self.name.chars().all(letter) || !self.name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(format!("`name` is `{}`, which is no container's name", text::visible(&self.name)));
        }
        if_there("image", self.image.as_ref(), not_empty)?;
        if_there("image_digest", self.image_digest.as_ref(), digest)?;
        if_there("socket", self.socket.as_ref(), absolute)
    }

    fn summary(&self) -> String {
        text::visible(&self.name)
    }
}

fn digest(field: &str, value: &str) -> Result<(), String> {
    let hex = value.strip_prefix("sha256:").filter(|hex| crate::digest::Digest::from_hex(hex).is_some());
    hex.map(drop).ok_or_else(|| format!("`{field}` is `{}`, not `sha256:` and 64 lower-case hex digits", text::visible(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, image_digest, socket, usable) in [
            ("orders", None, None, true),
            ("shop-orders_1.a", Some(digest.as_str()), Some("/run/podman/podman.sock"), true),
            ("", None, None, false),
            ("../images", None, None, false),
            ("a/json?x=", None, None, false),
            ("orders", Some("sha256:a"), None, false),
            ("orders", Some("latest"), None, false),
            ("orders", None, Some("tcp://a:1"), false),
        ] {
            let container = Container {
                name: name.into(),
                image_digest: image_digest.map(Into::into),
                image: None,
                restarts_max: None,
                up_for: None,
                healthy: None,
                socket: socket.map(Into::into),
            };
            assert_eq!(container.validate().is_ok(), usable, "{container:?}");
        }
    }
}
