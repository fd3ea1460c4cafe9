//! `listen`: something on this machine listens, on that address, and it is the right program.
//!
//! ```toml
//! [[check]]
//! name = "nginx has 443"
//! listen = { address = "0.0.0.0:443", executable = "/usr/sbin/nginx" }
//! ```
//!
//! `"0.0.0.0:443"` is every IPv4 address, `"[::]:443"` every IPv6 address, `"10.0.0.5:443"` that one, and `"443"` any at all. An
//! address is also listened on by whatever listens on all of them.

use alloc::{format, string::String};
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    Wanted,
    fields::{absolute, if_there, one_word},
};
use crate::text;

/// A socket that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `address:port`, or a port alone.
    pub address: String,
    /// `tcp` unless given.
    #[serde(default, skip_serializing_if = "is_tcp")]
    pub protocol: Protocol,
    /// Who holds it must run this file. Whoever else holds it too is a failure; systemd may, which hands sockets on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Some process that holds it must run as this user: a name in `/etc/passwd`, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Of the transport layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Accepts connections.
    #[default]
    Tcp,
    /// Takes datagrams.
    Udp,
}

impl Protocol {
    /// As `/proc/net` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that `skip_serializing_if` asks for")]
fn is_tcp(protocol: &Protocol) -> bool {
    *protocol == Protocol::Tcp
}

impl Listen {
    /// The port, and the address unless any will do.
    pub fn endpoint(&self) -> Option<(Option<IpAddr>, u16)> {
        let port = |text: &str| text.parse().ok().filter(|&port: &u16| port > 0 && !text.starts_with('+'));
        if let Some(port) = port(&self.address) {
            return Some((None, port));
        }
        let address: SocketAddr = self.address.parse().ok()?;
        (address.port() > 0).then_some((Some(address.ip()), address.port()))
    }
}

impl Wanted for Listen {
    const NAME: &'static str = "listen";

    fn validate(&self) -> Result<(), String> {
        let shown = text::visible(&self.address);
        self.endpoint().ok_or_else(|| format!("`address` is `{shown}`, neither `address:port` nor a port; names are not looked up"))?;
        if_there("executable", self.executable.as_ref(), absolute)?;
        if_there("user", self.user.as_ref(), one_word)
    }

    fn summary(&self) -> String {
        text::visible(&format!("{} {}", self.protocol.as_str(), self.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_told_where_it_is_not_tcp() {
        for (json, summary) in
            [(r#"{"address":"443"}"#, "tcp 443"), (r#"{"address":"443","protocol":"udp"}"#, "udp 443")]
        {
            let listen: Listen = serde_json::from_str(json).unwrap();
            assert_eq!((listen.summary().as_str(), serde_json::to_string(&listen).unwrap().as_str()), (summary, json));
        }
    }

    #[test]
    fn addresses() {
        let ip = |text: &str| Some(text.parse().unwrap());
        for (address, endpoint) in [
            ("443", Some((None, 443))),
            ("0.0.0.0:443", Some((ip("0.0.0.0"), 443))),
            ("[::1]:80", Some((ip("::1"), 80))),
            ("localhost:80", None),
            ("127.0.0.1", None),
            ("127.0.0.1:0", None),
            ("0", None),
            ("+80", None),
            ("65536", None),
            (":80", None),
            ("", None),
        ] {
            let listen = Listen { address: address.into(), protocol: Protocol::Tcp, executable: None, user: None };
            assert_eq!(listen.endpoint(), endpoint, "{address}");
            assert_eq!(listen.validate().is_ok(), endpoint.is_some(), "{address}");
        }
    }
}
