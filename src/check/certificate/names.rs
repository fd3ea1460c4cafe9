//! Which names a certificate is good for (RFC 9525): those of its subjectAltName alone, never its common name.

use alloc::{format, string::String, vec::Vec};
use core::net::IpAddr;

use crate::text;

/// The names in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Its dNSName entries.
    pub dns: Vec<String>,
    /// Its iPAddress entries.
    pub addresses: Vec<IpAddr>,
    /// Of its subject: nobody looks at it any more, but people still wonder.
    pub common_name: Option<String>,
}

impl Names {
    /// Whether a client that wants `name` would take it. A `*.` name is wanted as it stands.
    pub fn cover(&self, name: &str) -> bool {
        match name.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.dns.iter().any(|presented| matches(presented, name)),
        }
    }

    /// Why it does not, in words that say what to do.
    pub fn why_not(&self, name: &str) -> String {
        if name.parse::<IpAddr>().is_ok() {
            if self.dns.iter().any(|presented| presented == name) {
                return format!("{name} stands there as a dNSName; an address must be an iPAddress");
            }
        } else if let Some(near) = self.dns.iter().find_map(|presented| near_miss(presented, name)) {
            return near;
        }
        match &self.common_name {
            Some(common) if common.eq_ignore_ascii_case(name) => {
                "it is the common name only, which clients no longer look at: it must be a subjectAltName".into()
            }
            _ => self.list(),
        }
    }

    fn list(&self) -> String {
        let dns = self.dns.iter().map(|name| text::visible(name));
        let all: Vec<String> = dns.chain(self.addresses.iter().map(|address| format!("{address}"))).collect();
        match all.len() {
            0 => "it has no subjectAltName at all".into(),
            count if count > LISTED_MAX => {
                format!("it is for {} and {} more", all[..LISTED_MAX].join(", "), count - LISTED_MAX)
            }
            _ => format!("it is for {}", all.join(", ")),
        }
    }
}

/// RFC 9525 §6.3: without regard to case; `*` is a whole left-most label and stands for exactly one. As browsers do, at least two
/// labels must follow it.
fn matches(presented: &str, wanted: &str) -> bool {
    let wanted = wanted.strip_suffix('.').unwrap_or(wanted);
    if presented.eq_ignore_ascii_case(wanted) {
        return true;
    }
    match (below_wildcard(presented), wanted.split_once('.')) {
        (Some(parent), Some((label, rest))) => !label.is_empty() && label != "*" && parent.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

fn below_wildcard(presented: &str) -> Option<&str> {
    presented.strip_prefix("*.").filter(|parent| parent.contains('.') && !parent.contains('*'))
}

/// A wildcard that one could take for a match.
fn near_miss(presented: &str, wanted: &str) -> Option<String> {
    let parent = presented.strip_prefix("*.").filter(|parent| !parent.is_empty())?;
    let shown = text::visible(presented);
    if parent.eq_ignore_ascii_case(wanted) {
        return Some(format!("`{shown}` does not cover `{wanted}` itself"));
    }
    let is_below = wanted.len() > parent.len()
        && wanted.is_char_boundary(wanted.len() - parent.len())
        && wanted[wanted.len() - parent.len()..].eq_ignore_ascii_case(parent)
        && wanted[..wanted.len() - parent.len()].ends_with('.');
    let labels = wanted.split('.').count().saturating_sub(parent.split('.').count());
    (is_below && labels > 1).then(|| format!("`{shown}` covers one label, not {labels}"))
}

/// Whether a name can be wanted. The error follows the name.
pub fn validate(name: &str) -> Result<(), &'static str> {
    if name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let bare = name.strip_prefix("*.").unwrap_or(name);
    if bare.contains('*') {
        return Err("has a `*` that is not its whole first label");
    }
    if !bare.is_ascii() {
        return Err("is not ASCII: write it as it stands in certificates, `xn--…`");
    }
    if name.len() > NAME_BYTES_MAX || bare.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
        return Err("is longer than a DNS name can be");
    }
    if bare.split('.').any(str::is_empty) {
        return Err("has an empty label");
    }
    if !bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("is neither a DNS name nor an IP address");
    }
    if bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("ends in a number, and is no IP address");
    }
    Ok(())
}

/// What is wrong with a dNSName entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// No client can take it for a name.
    Malformed(&'static str),
    /// It is well-formed, and matches nothing.
    Useless(&'static str),
}

/// Looks at a dNSName as it stands in a certificate.
pub fn flaw(presented: &str) -> Option<Flaw> {
    if presented.is_empty() {
        return Some(Flaw::Malformed("is empty"));
    }
    if presented.contains('\0') {
        return Some(Flaw::Malformed("has a NUL character"));
    }
    if !presented.is_ascii() {
        return Some(Flaw::Malformed("is not ASCII"));
    }
    if presented.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Some(Flaw::Malformed("has a blank or control character"));
    }
    if presented.contains('*') && below_wildcard(presented).is_none() {
        return Some(Flaw::Useless("has a `*` where it matches nothing"));
    }
    validate(presented).err().map(Flaw::Useless)
}

/// RFC 1035 §2.3.4.
const NAME_BYTES_MAX: usize = 253;
/// RFC 1035 §2.3.4.
const LABEL_BYTES_MAX: usize = 63;
/// Enough to see which certificate it is.
const LISTED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], addresses: &[&str], common_name: Option<&str>) -> Names {
        Names {
            dns: dns.iter().map(|&name| name.into()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            common_name: common_name.map(Into::into),
        }
    }

    #[test]
    fn covered() {
        for (presented, wanted, covers) in [
            ("shop.example", "shop.example", true),
            ("shop.example", "SHOP.Example", true),
            ("shop.example", "shop.example.", true),
            ("shop.example", "www.shop.example", false),
            ("*.shop.example", "www.shop.example", true),
            ("*.shop.example", "WWW.SHOP.EXAMPLE", true),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", "a.www.shop.example", false),
            ("*.shop.example", ".shop.example", false),
            ("*.shop.example", "*.shop.example", true),
            ("*.example", "*.shop.example", false),
            ("*.shop.example", "*.www.shop.example", false),
            ("*.example", "shop.example", false),
            ("*", "shop", false),
            ("*", "shop.example", false),
            ("w*.shop.example", "www.shop.example", false),
            ("*w.shop.example", "ww.shop.example", false),
            ("www.*.example", "www.shop.example", false),
            ("*.*.example", "www.shop.example", false),
            ("10.0.0.1", "10.0.0.1", false),
            ("xn--gre-6ka8i.example", "xn--gre-6ka8i.example", true),
        ] {
            assert_eq!(names(&[presented], &[], None).cover(wanted), covers, "{presented} {wanted}");
        }
        let addresses = names(&["a.example"], &["10.0.0.1", "2001:db8::1"], None);
        assert!(addresses.cover("10.0.0.1") && addresses.cover("2001:DB8:0::1"));
        assert!(!addresses.cover("10.0.0.2") && !addresses.cover("::ffff:10.0.0.1"));
        assert!(!names(&[], &[], Some("a.example")).cover("a.example"));
    }

    #[test]
    fn why_not() {
        let many: Vec<_> = (0..20).map(|n| format!("n{n}.example")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for (names, wanted, why) in [
            (names(&["*.shop.example"], &[], None), "shop.example", "`*.shop.example` does not cover `shop.example` itself"),
            (names(&["*.example.org"], &[], None), "a.b.example.org", "`*.example.org` covers one label, not 2"),
            (names(&["10.0.0.1"], &[], None), "10.0.0.1", "10.0.0.1 stands there as a dNSName; an address must be an iPAddress"),
            (names(&["b"], &[], Some("a")), "a", "it is the common name only"),
            (names(&[], &[], None), "a", "it has no subjectAltName at all"),
            (names(&["b"], &["::1"], None), "a", "it is for b, ::1"),
            (names(&many, &[], None), "a", "n7.example and 12 more"),
            (names(&["\u{202e}"], &[], None), "a", "it is for \\u{202e}"),
            (names(&["b"], &[], Some("c")), "a", "it is for b"),
            (names(&["*.example"], &[], None), "shop.example", "it is for *.example"),
            (names(&["*.shop.example"], &[], None), "a", "it is for *.shop.example"),
            (names(&["*.shop.example"], &[], None), "a.b.c.other.org", "it is for *.shop.example"),
            (names(&["*.shop.example"], &[], None), "a.b.c.shap.example", "it is for *.shop.example"),
            (names(&["*.example.org"], &[], None), "ab.\u{e4}xample.org", "it is for *.example.org"),
        ] {
            let came = names.why_not(wanted);
            assert!(came.contains(why), "{came}");
        }
        let listed = names(&many[..LISTED_MAX], &[], None).why_not("a");
        assert!(listed.ends_with("n6.example, n7.example"), "{listed}");
    }

    #[test]
    fn wanted_and_presented() {
        for (name, told) in [
            ("shop.example", ""),
            ("*.shop.example", ""),
            ("_dmarc.shop.example", ""),
            ("localhost", ""),
            ("10.0.0.1", ""),
            ("::1", ""),
            ("[::1]", "neither"),
            ("", "empty label"),
            (".", "empty label"),
            ("a..b", "empty label"),
            ("shop.example.", "empty label"),
            ("a.*.b", "`*`"),
            ("größe.example", "xn--"),
            ("a b", "neither"),
            ("https://a", "neither"),
            ("10.0.0.256", "ends in a number"),
        ] {
            let came = validate(name).err().unwrap_or_default();
            assert!(came.contains(told) && came.is_empty() == told.is_empty(), "{name}: {came}");
        }
        assert!(validate(&"a".repeat(LABEL_BYTES_MAX)).is_ok() && validate(&"a".repeat(LABEL_BYTES_MAX + 1)).is_err());
        let longest = "a.".repeat(NAME_BYTES_MAX / 2) + "a";
        assert!(validate(&longest).is_ok() && validate(&(longest + "a")).is_err());
        for (name, flawed) in [
            ("shop.example", None),
            ("*.shop.example", None),
            ("", Some(Flaw::Malformed("is empty"))),
            ("a\0.example", Some(Flaw::Malformed("has a NUL character"))),
            ("größe.example", Some(Flaw::Malformed("is not ASCII"))),
            ("a b", Some(Flaw::Malformed("has a blank or control character"))),
            ("a.*.example", Some(Flaw::Useless("has a `*` where it matches nothing"))),
            ("*.example", Some(Flaw::Useless("has a `*` where it matches nothing"))),
            ("10.0.0.1", None),
        ] {
            assert_eq!(flaw(name), flawed, "{name}");
        }
    }
}
