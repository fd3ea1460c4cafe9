//! `tcp`: something accepts connections at an address, and says what it should.
//!
//! ```toml
//! [[check]]
//! name = "database answers"
//! tcp = { connect = "db.internal:5432" }
//!
//! [[check]]
//! name = "redis answers"
//! tcp = { connect = "127.0.0.1:6379", send = "PING\r\n", expect = "+PONG" }
//! ```
//!
//! That a connection is accepted is the kernel's word, not the program's: one that hangs still has its connections accepted.

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use super::{
    Wanted,
    fields::{if_there, not_empty},
};
use crate::{manifest::Scope, text};

/// Something that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    /// `host:port`; the host is a name, an IPv4 address, or an IPv6 address in brackets.
    pub connect: String,
    /// Sent first, as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// What the peer must say first: `220 `, `SSH-2.0-`, `+PONG`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

impl Wanted for Tcp {
    const NAME: &'static str = "tcp";

    fn validate(&self) -> Result<(), String> {
        host_and_port(&self.connect).ok_or_else(|| format!("`connect` is `{}`, not `host:port`", text::visible(&self.connect)))?;
        if self.send.is_some() && self.expect.is_none() {
            return Err("`send` is given without `expect`: nobody would look at the answer".into());
        }
        if_there("send", self.send.as_ref(), not_empty)?;
        if_there("expect", self.expect.as_ref(), not_empty)
    }

    fn scope(&self) -> Scope {
        host_and_port(&self.connect).map_or(Scope::Both, |(host, _)| scope_of_host(host))
    }

    fn summary(&self) -> String {
        text::visible(&self.connect)
    }
}

/// `host:port` taken apart, an IPv6 address without its brackets.
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&number: &u16| number > 0 && !port.starts_with('+'))?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.parse::<core::net::Ipv6Addr>().is_ok())?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    let plain = !bare.is_empty() && !bare.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '[' | ']'));
    plain.then_some((bare, port))
}

/// What is on this machine always counts; what lies outside it, only at launch: when a database is down, taking out every
/// server that notices would make it worse (DESIGN.md §6).
pub fn scope_of_host(host: &str) -> Scope {
    let is_here = host == "localhost" || host.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_here { Scope::Both } else { Scope::Launch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, apart) in [
            ("127.0.0.1:80", Some(("127.0.0.1", 80))),
            ("[::1]:443", Some(("::1", 443))),
            ("db.internal:5432", Some(("db.internal", 5432))),
            ("::1:443", None),
            ("[db]:1", None),
            ("localhost", None),
            (":80", None),
            ("localhost:0", None),
            ("localhost:+80", None),
            ("localhost:65536", None),
            ("a b:1", None),
            ("http://a:1", None),
        ] {
            assert_eq!(host_and_port(address), apart, "{address}");
        }
    }

    #[test]
    fn what_is_said() {
        for (send, expect, usable) in [
            (None, None, true),
            (None, Some("220 "), true),
            (Some("PING\r\n"), Some("+PONG"), true),
            (Some("PING\r\n"), None, false),
            (None, Some(""), false),
        ] {
            let tcp = Tcp { connect: "a:1".into(), send: send.map(Into::into), expect: expect.map(Into::into) };
            assert_eq!(tcp.validate().is_ok(), usable, "{tcp:?}");
        }
    }

    #[test]
    fn what_is_outside_counts_at_launch_only() {
        for (connect, scope) in [
            ("127.0.0.1:80", Scope::Both),
            ("[::1]:80", Scope::Both),
            ("localhost:80", Scope::Both),
            ("10.0.0.1:80", Scope::Launch),
            ("db.internal:5432", Scope::Launch),
        ] {
            let tcp = Tcp { connect: connect.into(), send: None, expect: None };
            assert_eq!(tcp.scope(), scope, "{connect}");
        }
    }
}
