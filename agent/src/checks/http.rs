//! `http`: asks once, and compares the answer with what is wanted: status, headers, body, in this order.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
    sync::{Arc, OnceLock},
};

use portcullis::{
    check::{
        fields::Scalar,
        http::{BODY_BYTES_MAX, Http, Json, Method, Redirects, Url},
    },
    digest::Digest,
    text,
};
use reqwest::{
    Certificate, Client, Request,
    header::{HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect,
};
use serde_json::Value;

use super::{
    Finding, Task,
    fetch::{Answer, fetch},
};
use crate::{
    state,
    transport::{self, Authorities},
};

/// Asks once.
pub(super) fn run(wanted: &Http, task: &Task<'_>) -> Finding {
    let refused = Refused::default();
    let asked = client(wanted, task, &refused).and_then(|client| {
        let body_max = wanted.wants_body().then_some(BODY_BYTES_MAX);
        fetch(&client, request(wanted)?, body_max, task)
    });
    match asked.and_then(|answer| judge(wanted, &answer, refused.get().copied())) {
        Ok(()) => Finding::pass(),
        Err(finding) => finding,
    }
}

/// Why a redirect was not followed: the one that was not is the last.
type Refused = Arc<OnceLock<&'static str>>;

fn client(wanted: &Http, task: &Task<'_>, refused: &Refused) -> Result<Client, Finding> {
    let url = Url::parse(&wanted.url).ok_or_else(|| Finding::unknown("the URL is none"))?;
    let authorities = match &wanted.roots {
        Some(path) => Authorities::Only(certificates(path)?),
        None if url.tls => Authorities::System,
        None if wanted.redirects == Redirects::Follow => Authorities::System,
        None => Authorities::None,
    };
    let mut builder = transport::builder(authorities, task.left());
    if let Some(host) = &wanted.connect {
        builder = builder.resolve_to_addrs(url.host, &addresses(host, url.port)?);
    }
    if wanted.redirects == Redirects::Follow {
        let refused = Arc::clone(refused);
        builder = builder.redirect(redirect::Policy::custom(move |attempt| match may_follow(&attempt) {
            Ok(()) => attempt.follow(),
            Err(why) => {
                refused.get_or_init(|| why);
                attempt.stop()
            }
        }));
    }
    builder
        .build()
        .map_err(|error| Finding::unknown(format!("no HTTP client: {}", transport::TransportError::from(error))))
}

fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Finding> {
    let found = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let found = found.map_err(|error| Finding::unknown(format!("`{host}` has no address: {error}")))?;
    if found.is_empty() { Err(Finding::unknown(format!("`{host}` has no address"))) } else { Ok(found) }
}

/// A few times, to the same host and port, or from `http` to `https` on that host. One that is not followed is the answer.
fn may_follow(attempt: &redirect::Attempt<'_>) -> Result<(), &'static str> {
    let (to, before) = (attempt.url(), attempt.previous());
    let Some(from) = before.last() else { return Err("it comes from nowhere") };
    let upgraded = from.scheme() == "http" && to.scheme() == "https";
    match () {
        () if before.len() > REDIRECTS_MAX => Err("it is the sixth"),
        () if to.host_str() != from.host_str() => Err("it leads to another host"),
        () if upgraded => Ok(()),
        () if to.scheme() != from.scheme() => Err("it leads from TLS to plain HTTP"),
        () if to.port_or_known_default() != from.port_or_known_default() => Err("it leads to another port"),
        () => Ok(()),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate>, Finding> {
    let pem = state::read_capped(Path::new(path), ROOTS_BYTES_MAX);
    let pem = pem.map_err(|error| Finding::unknown(format!("`{}`: {error}", text::visible(path))))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Finding::unknown(format!("`{}` has no certificate in PEM", text::visible(path)))),
    }
}

fn request(wanted: &Http) -> Result<Request, Finding> {
    let unusable = |what: &str| Finding::unknown(format!("{what} cannot be sent"));
    let method = match wanted.method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
    };
    let url = wanted.url.parse().map_err(|_| unusable("the URL"))?;
    let mut request = Request::new(method, url);
    for (name, value) in &wanted.headers {
        let header = (HeaderName::try_from(name), HeaderValue::try_from(value));
        let (Ok(name), Ok(value)) = header else { return Err(unusable(name)) };
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

fn judge(wanted: &Http, answer: &Answer, refused: Option<&str>) -> Result<(), Finding> {
    if !wanted.status.0.contains(&answer.status) {
        let refused = refused.filter(|_| wanted.redirects == Redirects::Follow);
        let refused = refused.unwrap_or(match wanted.redirects {
            Redirects::Follow => "that is no URL that can be asked",
            Redirects::Refuse => "`redirects` is not \"follow\"",
        });
        return Err(Finding::fail("status", listed(&wanted.status.0), told(answer, refused)));
    }
    for (name, value) in &wanted.header_equals {
        has_header(&answer.headers, name, &format!("“{value}”"), |there| there == value)?;
    }
    for (name, part) in &wanted.header_contains {
        has_header(&answer.headers, name, &format!("something with “{part}”"), |there| there.contains(part))?;
    }
    let lossy = || String::from_utf8_lossy(&answer.body);
    if let Some(part) = wanted.body_contains.as_ref().filter(|part| !lossy().contains(part.as_str())) {
        return Err(Finding::fail(
            "body",
            format!("something with “{}”", text::visible(part)),
            beginning(&answer.body),
        ));
    }
    if let Some(json) = &wanted.json {
        says(json, &answer.body)?;
    }
    let digest =
        wanted.body_sha256.as_deref().and_then(Digest::from_hex).map(|wanted| (wanted, Digest::of(&answer.body)));
    match digest.filter(|(wanted, there)| wanted != there) {
        Some((wanted, there)) => Err(Finding::fail("body", wanted.to_string(), there.to_string())),
        None => Ok(()),
    }
}

fn listed(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
}

/// The status, and where a redirect points to, and why it was not followed.
fn told(answer: &Answer, refused: &str) -> String {
    match answer.headers.get(LOCATION) {
        Some(to) if matches!(answer.status, 301 | 302 | 303 | 307 | 308) => {
            format!("{} to {} (not followed: {refused})", answer.status, cut(to.as_bytes()))
        }
        Some(to) => format!("{} to {}", answer.status, cut(to.as_bytes())),
        None => answer.status.to_string(),
    }
}

/// Of a header that is there more than once, any line will do.
fn has_header(headers: &HeaderMap, name: &str, expected: &str, is_it: impl Fn(&str) -> bool) -> Result<(), Finding> {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    if values.iter().any(|value| value.to_str().is_ok_and(&is_it)) {
        return Ok(());
    }
    let there = values.first().map_or_else(|| "no such header".into(), |value| format!("“{}”", cut(value.as_bytes())));
    Err(Finding::fail(&format!("header {name}"), expected, there))
}

fn says(json: &Json, body: &[u8]) -> Result<(), Finding> {
    let what =
        if json.pointer.is_empty() { "JSON".into() } else { format!("JSON at {}", text::visible(&json.pointer)) };
    let expected = text::visible(&json.equals.to_string());
    let document: Result<Value, _> = serde_json::from_slice(body);
    let document = document.map_err(|error| {
        Finding::fail(&what, &expected, format!("no JSON ({}): {}", text::visible(&error.to_string()), beginning(body)))
    })?;
    match document.pointer(&json.pointer) {
        Some(value) if equal(&json.equals, value) => Ok(()),
        Some(value) => Err(Finding::fail(&what, expected, cut(value.to_string().as_bytes()))),
        None => Err(Finding::fail(&what, expected, "nothing there")),
    }
}

fn equal(wanted: &Scalar, there: &Value) -> bool {
    match wanted {
        Scalar::Bool(wanted) => there.as_bool() == Some(*wanted),
        Scalar::Number(wanted) => there.as_u64() == Some(*wanted),
        Scalar::Text(wanted) => there.as_str() == Some(wanted),
    }
}

fn beginning(body: &[u8]) -> String {
    if body.is_empty() { "an empty body".into() } else { format!("“{}”", cut(body)) }
}

/// The beginning, safe to show: what an error page says is mostly in its first line.
fn cut(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_MAX { "…" } else { "" };
    format!("{}{more}", text::escape(&bytes[..bytes.len().min(SHOWN_MAX)]))
}

/// As many as a browser needs from a bare domain to a page, and some.
const REDIRECTS_MAX: usize = 5;
const ROOTS_BYTES_MAX: usize = 4 << 20;
const SHOWN_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use portcullis::{
        check::Wanted,
        json::{self, Limits},
    };

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers =
            headers.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Answer { status, headers: headers.collect(), body: body.into() }
    }

    fn check(more: &str, answer: &Answer, words: Option<&str>) {
        let wanted: Http =
            json::parse(format!(r#"{{"url":"http://a/"{more}}}"#).as_bytes(), &Limits::MANIFEST).unwrap();
        Wanted::validate(&wanted).unwrap();
        let reason = judge(&wanted, answer, None).err().map(|finding| finding.reason.unwrap());
        assert_eq!(reason.as_deref(), words, "{more}");
    }

    #[test]
    fn table() {
        let (ok, moved) = (answer(200, &[], ""), answer(302, &[("location", "https://b/")], ""));
        check("", &ok, None);
        check("", &answer(502, &[], ""), Some("status: expected 200, actual 502"));
        check(r#","status":[200,204]"#, &answer(500, &[], ""), Some("status: expected 200 or 204, actual 500"));
        check(
            "",
            &moved,
            Some("status: expected 200, actual 302 to https://b/ (not followed: `redirects` is not \"follow\")"),
        );
        check(r#","status":302,"header_equals":{"Location":"https://b/"}"#, &moved, None);
        let html = answer(200, &[("content-type", "text/html; charset=utf-8")], "<h1>Shop\u{202e}</h1>");
        check(r#","header_contains":{"content-type":"text/html"}"#, &html, None);
        check(
            r#","header_equals":{"content-type":"text/html"}"#,
            &html,
            Some("header content-type: expected “text/html”, actual “text/html; charset=utf-8”"),
        );
        check(
            r#","header_equals":{"x-release":"42"}"#,
            &html,
            Some("header x-release: expected “42”, actual no such header"),
        );
        check(r#","body_contains":"<h1>Shop""#, &html, None);
        check(
            r#","body_contains":"Cart""#,
            &html,
            Some("body: expected something with “Cart”, actual “<h1>Shop\\u{202e}</h1>”"),
        );
        check(r#","body_contains":"Cart""#, &ok, Some("body: expected something with “Cart”, actual an empty body"));
    }

    #[test]
    fn json_in_the_body() {
        let health = answer(200, &[], r#"{"status":"ok","checks":[{"ok":true,"ms":3}],"half":0.5}"#);
        for (pointer, equals, words) in [
            ("/status", r#""ok""#, None),
            ("/checks/0/ok", "true", None),
            ("/checks/0/ms", "3", None),
            ("/checks/0/ms", r#""3""#, Some("JSON at /checks/0/ms: expected \"3\", actual 3")),
            ("/half", "0", Some("JSON at /half: expected 0, actual 0.5")),
            ("/status", r#""up""#, Some("JSON at /status: expected \"up\", actual \"ok\"")),
            ("/checks/1/ok", "true", Some("JSON at /checks/1/ok: expected true, actual nothing there")),
        ] {
            check(&format!(r#","json":{{"pointer":"{pointer}","equals":{equals}}}"#), &health, words);
        }
        let page = answer(200, &[], "<html>");
        let words = "JSON: expected true, actual no JSON (expected value at line 1 column 1): “<html>”";
        check(r#","json":{"pointer":"","equals":true}"#, &page, Some(words));
    }

    #[test]
    fn digests() {
        let digest = Digest::of(b"hello").to_hex();
        let wanted = format!(r#","body_sha256":"{digest}""#);
        check(&wanted, &answer(200, &[], "hello"), None);
        let other = format!("body: expected sha256:{digest}, actual {}", Digest::of(b"hell"));
        check(&wanted, &answer(200, &[], "hell"), Some(&other));
    }
}
