//! `http`: a request gets the answer that it should: status, headers, and what is in the body.
//!
//! ```toml
//! [[check]]
//! name = "shop is healthy"
//! http = { url = "http://127.0.0.1:8080/health", json = { pointer = "/status", equals = "ok" } }
//!
//! [[check]]
//! name = "site answers under its own name"
//! http = { url = "https://shop.example.com/", connect = "127.0.0.1", status = [200, 204], body_contains = "<h1>Shop" }
//! ```
//!
//! What stands in `headers` is in the manifest for everyone to read: no place for secrets.

use alloc::{collections::BTreeMap, format, string::String};

use serde::{Deserialize, Serialize};

use super::{
    Wanted,
    fields::{ELEMENTS_MAX, OneOrMany, Scalar, TEXT_BYTES_MAX, absolute, if_there, not_empty},
    tcp::{host_and_port, scope_of_host},
};
use crate::{digest::Digest, manifest::Scope, text};

/// A larger body is a finding of its own: what is looked at must fit in the memory of an agent.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// A request, and the answer that it should get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// `http://` or `https://`, no user, no fragment.
    pub url: String,
    /// The host or address to connect to instead of the URL's: the name in the URL is still asked for, in TLS too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// `GET` unless given.
    #[serde(default, skip_serializing_if = "is_get")]
    pub method: Method,
    /// Sent with the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Any of these; 200 unless given.
    #[serde(default = "ok", skip_serializing_if = "is_ok")]
    pub status: OneOrMany<u16>,
    /// Headers that the answer must have, with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header_equals: BTreeMap<String, String>,
    /// Headers that the answer must have, with this in their value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header_contains: BTreeMap<String, String>,
    /// What the body must have in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// A place in the body, which must be JSON, and what must stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    /// The SHA-256 of the whole body, 64 lower-case hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// `refuse` unless given: a redirect is an answer with its own status.
    #[serde(default, skip_serializing_if = "is_refuse")]
    pub redirects: Redirects,
    /// A file with the certificates of the authorities to believe (PEM); the system's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The whole answer.
    #[default]
    Get,
    /// All but the body.
    Head,
}

/// What to make of an answer that points elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirects {
    /// It is the answer.
    #[default]
    Refuse,
    /// Go there, a few times, on the same host, never from `https` to `http`.
    Follow,
}

/// A place in a JSON document, and what must stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// RFC 6901: `/status`, `/checks/0/ok`; empty for the whole document.
    pub pointer: String,
    /// What must stand there.
    pub equals: Scalar,
}

impl Wanted for Http {
    const NAME: &'static str = "http";

    fn validate(&self) -> Result<(), String> {
        let url = Url::parse(&self.url).ok_or_else(|| {
            format!("`url` is `{}`, not `http://host/…` or `https://host/…` without user and fragment", text::visible(&self.url))
        })?;
        if_there("connect", self.connect.as_ref(), is_host)?;
        if self.connect.is_some() && url.host.parse::<core::net::IpAddr>().is_ok() {
            return Err("`connect` is given, but the host of `url` is an address already".into());
        }
        if self.roots.is_some() && !url.tls {
            return Err("`roots` is given, but `url` is plain http".into());
        }
        if_there("roots", self.roots.as_ref(), absolute)?;
        self.statuses_are_some()?;
        for (table, headers) in
            [("headers", &self.headers), ("header_equals", &self.header_equals), ("header_contains", &self.header_contains)]
        {
            headers_are_headers(table, headers)?;
        }
        self.body_is_checkable()
    }

    fn scope(&self) -> Scope {
        let url = Url::parse(&self.url);
        self.connect.as_deref().or(url.map(|url| url.host)).map_or(Scope::Both, scope_of_host)
    }

    fn summary(&self) -> String {
        text::visible(&match &self.connect {
            Some(connect) => format!("{} at {connect}", self.url),
            None => self.url.clone(),
        })
    }
}

impl Http {
    /// Whether anything is wanted of the body, so that it has to be read.
    pub fn wants_body(&self) -> bool {
        self.body_contains.is_some() || self.json.is_some() || self.body_sha256.is_some()
    }

    fn statuses_are_some(&self) -> Result<(), String> {
        let odd = self.status.0.iter().find(|status| !(200..=599).contains(*status));
        match odd {
            Some(status) => Err(format!("`status` has {status}, which is no final status of HTTP")),
            None if self.status.0.is_empty() => Err("`status` is empty: no answer would do".into()),
            None => Ok(()),
        }
    }

    fn body_is_checkable(&self) -> Result<(), String> {
        if self.wants_body() && self.method == Method::Head {
            return Err("something is wanted of the body, which the answer to a `HEAD` does not have".into());
        }
        if_there("body_contains", self.body_contains.as_ref(), not_empty)?;
        let pointer = self.json.as_ref().map_or("", |json| json.pointer.as_str());
        if !(pointer.is_empty() || pointer.starts_with('/')) || pointer.len() > TEXT_BYTES_MAX {
            return Err(format!("`json` `pointer` is `{}`, which is no JSON pointer such as `/status`", text::visible(pointer)));
        }
        let digest = self.body_sha256.as_deref().filter(|hex| Digest::from_hex(hex).is_none());
        digest.map_or(Ok(()), |_| Err("`body_sha256` is not 64 lower-case hex digits".into()))
    }
}

/// What of a URL matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// `https`
    pub tls: bool,
    /// An IPv6 address without its brackets.
    pub host: &'a str,
    /// Given, or the scheme's own.
    pub port: u16,
}

impl<'a> Url<'a> {
    /// Takes apart what can be asked for: visible ASCII, a host that [`host_and_port`] takes, no user, no fragment.
    pub fn parse(url: &'a str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let plain = url.len() <= TEXT_BYTES_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || url.contains(['#', '\\', '"', '<', '>', '^', '`', '{', '|', '}']) {
            return None;
        }
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        let scheme_port = if tls { 443 } else { 80 };
        let (host, port) = match host_and_port(authority) {
            Some(apart) => apart,
            None => (is_bare(authority)?, scheme_port),
        };
        (!host.contains('@')).then_some(Self { tls, host, port })
    }
}

/// A host without a port; an IPv6 address has its brackets.
fn is_bare(authority: &str) -> Option<&str> {
    let with_port = |rest: &str| !rest.is_empty() && !rest.contains([':', '[', ']', '@']);
    match authority.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.parse::<core::net::Ipv6Addr>().is_ok()),
        None => Some(authority).filter(|host| with_port(host)),
    }
}

fn is_host(field: &str, host: &str) -> Result<(), String> {
    not_empty(field, host)?;
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let usable = host.parse::<core::net::IpAddr>().is_ok() || host.chars().all(letter);
    usable.then_some(()).ok_or_else(|| format!("`{field}` is `{}`, neither a host nor an address; the port is the URL's", text::visible(host)))
}

/// RFC 9110: a name is a token; a value is visible, and has spaces only between words.
fn headers_are_headers(table: &str, headers: &BTreeMap<String, String>) -> Result<(), String> {
    if headers.len() > ELEMENTS_MAX {
        return Err(format!("`{table}` has more than {ELEMENTS_MAX} entries"));
    }
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    for (name, value) in headers {
        let usable = !name.is_empty() && name.len() <= TEXT_BYTES_MAX && name.chars().all(token);
        let words = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !usable || !words || value.trim() != value {
            return Err(format!("`{table}` has `{}`, which is no header, or whose value is none", text::visible(name)));
        }
        not_empty(name, value).map_err(|fault| format!("`{table}`: {fault}"))?;
    }
    Ok(())
}

fn ok() -> OneOrMany<u16> {
    OneOrMany([200].into())
}

fn is_ok(status: &OneOrMany<u16>) -> bool {
    *status == ok()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that `skip_serializing_if` asks for")]
fn is_get(method: &Method) -> bool {
    *method == Method::Get
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that `skip_serializing_if` asks for")]
fn is_refuse(redirects: &Redirects) -> bool {
    *redirects == Redirects::Refuse
}

#[cfg(test)]
mod tests;
