//! `certificate`: a certificate in a file, or the one that an endpoint presents, is one that clients will take, and goes on
//! being so for a while.
//!
//! ```toml
//! [[check]]
//! name = "site certificate"
//! certificate = { file = "/etc/ssl/site.pem", key = "/etc/ssl/site.key", names = ["shop.example", "*.shop.example"] }
//!
//! [[check]]
//! name = "what the server presents"
//! certificate = { connect = "127.0.0.1:443", server_name = "shop.example", roots = "system" }
//! ```
//!
//! Here is what is wanted and the rules that need no parser: [`margin`] and [`names`], and when the clock is to be believed.
//! Certificates are read in the agent.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    Wanted,
    tcp::{host_and_port, scope_of_host},
};
use crate::{duration::Span, manifest::Scope, text};

pub mod clock;
pub mod margin;
pub mod names;

/// A certificate, with its chain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A file with certificates in PEM or DER, the server's own first. Either this or `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file with the private key of the first certificate. Only with `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The file is a collection (of authorities, say) and no chain: each certificate is judged by itself.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub collection: bool,
    /// `host:port` of a TLS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// The name that the server is asked for (SNI); without it, the host of `connect`, or none where that is an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Every name the certificate must be good for: DNS names, `*.` names (as they stand), IP addresses. For an endpoint the
    /// default is what it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Whom the chain must lead to: `system`, or a file with certificates in PEM. Without it, only its order is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
    /// With less time left than this it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Span>,
    /// With less time left than this it warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_for: Option<Span>,
}

impl Wanted for Certificate {
    const NAME: &'static str = "certificate";

    fn validate(&self) -> Result<(), String> {
        self.one_source()?;
        let files = [("file", &self.file), ("key", &self.key), ("roots", &self.roots)];
        for (field, path) in files {
            match path.as_deref() {
                Some(SYSTEM) if field == "roots" => {}
                Some(path) if !is_plain(path) => {
                    return Err(format!("`{field}` is `{}`, not a plain absolute path", text::visible(path)));
                }
                _ => {}
            }
        }
        let wanted = self.names.as_deref().unwrap_or_default();
        if wanted.len() > NAMES_MAX {
            return Err(format!("`names` has more than {NAMES_MAX} names"));
        }
        for name in wanted.iter().chain(&self.server_name) {
            names::validate(name).map_err(|why| format!("`{}` {why}", text::visible(name)))?;
        }
        if self.server_name.as_ref().is_some_and(|name| name.starts_with('*')) {
            return Err("has a `server_name` with a `*`: a client asks for one name".into());
        }
        self.margins_mean_something()
    }

    fn scope(&self) -> Scope {
        let host = self.connect.as_deref().and_then(host_and_port);
        host.map_or(Scope::Both, |(host, _)| scope_of_host(host))
    }

    fn summary(&self) -> String {
        match (&self.file, &self.connect, &self.server_name) {
            (Some(file), ..) => text::visible(file),
            (_, Some(connect), Some(name)) => text::visible(&format!("{connect} as {name}")),
            (_, connect, _) => text::visible(connect.as_deref().unwrap_or_default()),
        }
    }
}

impl Certificate {
    /// The names it must be good for.
    pub fn wanted_names(&self) -> Vec<&str> {
        match &self.names {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => self.asked_for().into_iter().collect(),
        }
    }

    /// The name that an endpoint is asked for.
    pub fn asked_for(&self) -> Option<&str> {
        let host = || self.connect.as_deref().and_then(host_and_port).map(|(host, _)| host);
        self.server_name.as_deref().or_else(|| host().filter(|host| host.parse::<core::net::IpAddr>().is_err()))
    }

    /// How much time must be left.
    pub fn margins(&self) -> margin::Margins {
        margin::Margins { fail: self.valid_for, warn: self.warn_for }
    }

    fn one_source(&self) -> Result<(), String> {
        match (&self.file, &self.connect) {
            (None, None) => return Err("has neither a `file` nor a `connect`".into()),
            (Some(_), Some(_)) => return Err("has both a `file` and a `connect`".into()),
            (Some(_), None) if self.server_name.is_some() => {
                return Err("has a `server_name`, which is for `connect`; for a file it is `names`".into());
            }
            (None, Some(address)) if host_and_port(address).is_none() => {
                return Err(format!("`connect` is `{}`, not `host:port`", text::visible(address)));
            }
            (None, Some(_)) if self.key.is_some() => return Err("has a `key`, which is for `file`".into()),
            (None, Some(_)) if self.collection => return Err("is a `collection`, which is for `file`".into()),
            _ => {}
        }
        let chain_only = [self.key.is_some(), self.names.is_some(), self.roots.is_some()];
        if self.collection && chain_only.contains(&true) {
            return Err("is a `collection`: it has no `key`, no `names` and no `roots`".into());
        }
        Ok(())
    }

    fn margins_mean_something(&self) -> Result<(), String> {
        for (field, margin) in [("valid_for", self.valid_for), ("warn_for", self.warn_for)] {
            if let Some(span) = margin.filter(|span| *span > MARGIN_MAX) {
                return Err(format!("`{field}` is {span}; at most {MARGIN_MAX}"));
            }
        }
        match (self.valid_for, self.warn_for) {
            (Some(fail), Some(warn)) if warn < fail => {
                Err(format!("`warn_for` is {warn}, less than `valid_for`, {fail}: it would never warn"))
            }
            _ => Ok(()),
        }
    }
}

/// Absolute, and the same for whoever reads it.
fn is_plain(path: &str) -> bool {
    let components = || path.split('/').skip(1);
    path.starts_with('/')
        && path.len() <= crate::manifest::PATH_BYTES_MAX
        && !path.contains('\0')
        && components().all(|component| !matches!(component, "" | "." | ".."))
}

/// The word for the operating system's roots.
pub const SYSTEM: &str = "system";

/// More names than this are a mistake: public authorities put at most 100 into a certificate.
pub const NAMES_MAX: usize = 1_000;

/// Longer than any server's certificate lives.
const MARGIN_MAX: Span = Span::from_days(3_650);

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec};

    use super::*;

    fn parse(json: &str) -> Result<Certificate, String> {
        let wanted: Certificate = serde_json::from_str(json).map_err(|error| format!("{error}"))?;
        wanted.validate().map(|()| wanted)
    }

    #[test]
    fn what_can_be_wanted() {
        for (json, told) in [
            (r#"{"file":"/a.pem"}"#, ""),
            (r#"{"file":"/a.pem","key":"/a.key","names":["a.example","*.a.example","10.0.0.1","::1"],"roots":"system"}"#, ""),
            (r#"{"file":"/a.pem","roots":"/ca.pem","valid_for":"7d","warn_for":"30d"}"#, ""),
            (r#"{"file":"/a.pem","collection":true}"#, ""),
            (r#"{"connect":"127.0.0.1:443","server_name":"a.example","names":[]}"#, ""),
            ("{}", "neither a `file` nor a `connect`"),
            (r#"{"file":"/a.pem","connect":"a:1"}"#, "both a `file` and a `connect`"),
            (r#"{"file":"a.pem"}"#, "`file` is `a.pem`, not a plain absolute path"),
            (r#"{"file":"/a/../b.pem"}"#, "not a plain absolute path"),
            (r#"{"file":"/a.pem","key":""}"#, "`key` is ``"),
            (r#"{"file":"/a.pem","roots":"System"}"#, "`roots` is `System`"),
            (r#"{"file":"/a.pem","server_name":"a.example"}"#, "for a file it is `names`"),
            (r#"{"file":"/a.pem","names":["a..example"]}"#, "`a..example` has an empty label"),
            (r#"{"file":"/a.pem","collection":true,"key":"/a.key"}"#, "no `key`, no `names`"),
            (r#"{"file":"/a.pem","collection":true,"names":["a.example"]}"#, "no `key`, no `names`"),
            (r#"{"file":"/a.pem","collection":true,"roots":"system"}"#, "no `key`, no `names`"),
            (r#"{"file":"/a.pem","valid_for":"3650d"}"#, ""),
            (r#"{"file":"/a.pem","valid_for":"3651d"}"#, "at most 3650d"),
            (r#"{"file":"/a.pem","warn_for":"3651d"}"#, "at most 3650d"),
            (r#"{"file":"/a.pem","valid_for":"7d","warn_for":"7d"}"#, ""),
            (r#"{"file":"/a.pem","valid_for":"7d","warn_for":"6d"}"#, "it would never warn"),
            (r#"{"file":"/a.pem","valid_for":"7"}"#, "not a duration"),
            (r#"{"file":"/a.pem","chain":true}"#, "unknown field"),
            (r#"{"connect":"a"}"#, "not `host:port`"),
            (r#"{"connect":"a:1","server_name":"*.a.example"}"#, "a client asks for one name"),
            (r#"{"connect":"a:1","key":"/a.key"}"#, "which is for `file`"),
            (r#"{"connect":"a:1","collection":true}"#, "which is for `file`"),
        ] {
            let came = parse(json).err().unwrap_or_default();
            assert!(came.contains(told) && came.is_empty() == told.is_empty(), "{json}: {came}");
        }
    }

    #[test]
    fn what_it_comes_to() {
        let told = |json| parse(json).map(|wanted| Wanted::summary(&wanted));
        for (json, summary) in [
            (r#"{"file":"/a.pem"}"#, "/a.pem"),
            (r#"{"connect":"a:443"}"#, "a:443"),
            (r#"{"connect":"a:443","server_name":"b"}"#, "a:443 as b"),
        ] {
            assert_eq!(told(json).as_deref(), Ok(summary));
        }
        let wanted = parse(r#"{"file":"/a.pem","valid_for":"3d","warn_for":"9d"}"#).unwrap();
        let margins = margin::Margins { fail: Some(Span::from_days(3)), warn: Some(Span::from_days(9)) };
        assert_eq!(wanted.margins(), margins);
        assert!(parse(r#"{"file":"system"}"#).is_err(), "the system's roots are no file");
    }

    #[test]
    fn bounds() {
        let names = |count: usize| format!(r#"{{"file":"/a.pem","names":[{}]}}"#, vec![r#""a.example""#; count].join(","));
        assert!(parse(&names(NAMES_MAX)).is_ok());
        assert_eq!(parse(&names(NAMES_MAX + 1)).unwrap_err(), "`names` has more than 1000 names");
        let longest = "/".to_string() + &"a".repeat(crate::manifest::PATH_BYTES_MAX - 1);
        for (path, is_usable) in
            [(longest.as_str(), true), (&(longest.clone() + "a"), false), ("/a\0b", false), ("/a/./b", false), ("/a//b", false)]
        {
            assert_eq!(is_plain(path), is_usable, "{path:?}");
        }
    }

    #[test]
    fn what_is_outside_counts_at_launch_only() {
        for (json, scope, names) in [
            (r#"{"file":"/a.pem"}"#, Scope::Both, &[][..]),
            (r#"{"connect":"127.0.0.1:443"}"#, Scope::Both, &[]),
            (r#"{"connect":"[::1]:443","server_name":"a.example"}"#, Scope::Both, &["a.example"]),
            (r#"{"connect":"a.example:443"}"#, Scope::Launch, &["a.example"]),
            (r#"{"connect":"10.0.0.1:443","names":["10.0.0.1"]}"#, Scope::Launch, &["10.0.0.1"]),
            (r#"{"connect":"a.example:443","names":[]}"#, Scope::Launch, &[]),
        ] {
            let wanted = parse(json).unwrap();
            assert_eq!((wanted.scope(), &wanted.wanted_names()[..]), (scope, names), "{json}");
        }
    }
}
