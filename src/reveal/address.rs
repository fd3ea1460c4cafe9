//! Addresses as the configurations of web servers write them.

use alloc::string::String;
use core::{fmt, net::Ipv6Addr};

/// A host, or all of them, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets; `None` is every address of this machine.
    pub host: Option<String>,
    /// From 1.
    pub port: u16,
}

impl fmt::Display for Address {
    /// `*:80`, `127.0.0.1:80`, `[::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "*:{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Reads `80`, `:80`, `*:80`, `shop.example:80`, `[::]:80`, `shop.example` (with the port that is usual there). `None` for
/// sockets of other families, variables and whatever else is no address.
pub fn address(text: &str, usual_port: Option<u16>) -> Option<Address> {
    let text = ["ipv4@", "ipv6@"].iter().find_map(|family| text.strip_prefix(family)).unwrap_or(text);
    if let Ok(port) = text.parse() {
        return Some(Address { host: None, port }).filter(|address| address.port > 0);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, usual_port?),
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.parse::<Ipv6Addr>().is_ok())?,
        None => host,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    match host {
        _ if port == 0 => None,
        "" | "*" | "0.0.0.0" | "::" => Some(Address { host: None, port }),
        host if host.len() <= HOST_BYTES_MAX && host.chars().all(is_name) => {
            let is_address = !host.contains(':') || host.parse::<Ipv6Addr>().is_ok();
            is_address.then(|| Address { host: Some(host.into()), port })
        }
        _ => None,
    }
}

/// Of a host name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn table() {
        for (text, usual_port, shown) in [
            ("80", None, Some("*:80")),
            (":80", None, Some("*:80")),
            ("*:80", None, Some("*:80")),
            ("0.0.0.0:80", None, Some("*:80")),
            ("[::]:443", None, Some("*:443")),
            ("[::1]:443", None, Some("[::1]:443")),
            ("127.0.0.1:9000", None, Some("127.0.0.1:9000")),
            ("shop.example", Some(443), Some("shop.example:443")),
            ("[::1]", Some(80), Some("[::1]:80")),
            ("ipv4@10.0.0.1:80", None, Some("10.0.0.1:80")),
            ("shop.example", None, None),
            ("unix:/run/a.sock", None, None),
            ("/run/a.sock", Some(80), None),
            ("$host:80", None, None),
            ("a:0", None, None),
            ("a:99999", None, None),
            ("0", None, None),
            ("", None, None),
        ] {
            assert_eq!(address(text, usual_port).map(|address| address.to_string()).as_deref(), shown, "{text}");
        }
    }
}
