use super::*;
use crate::json::{self, Limits};

#[test]
fn urls() {
    let url = |tls, host, port| Some(Url { tls, host, port });
    for (text, apart) in [
        ("http://127.0.0.1:8080/health", url(false, "127.0.0.1", 8080)),
        ("https://shop.example.com", url(true, "shop.example.com", 443)),
        ("https://shop.example.com?a=b", url(true, "shop.example.com", 443)),
        ("http://[::1]/", url(false, "::1", 80)),
        ("http://[::1]:81/", url(false, "::1", 81)),
        ("http://a/b:1@c", url(false, "a", 80)),
        ("ftp://a/", None),
        ("http:///", None),
        ("http://a:0/", None),
        ("http://a:b/", None),
        ("http://user@a/", None),
        ("http://user:1@a:2/", None),
        ("http://::1/", None),
        ("http://a/#b", None),
        ("http://a/ b", None),
        ("http://a\\b/", None),
        ("http://ä/", None),
        ("//a", None),
        ("", None),
    ] {
        assert_eq!(Url::parse(text), apart, "{text}");
    }
}

#[test]
fn table() {
    let url = r#""url":"https://a/""#;
    for (more, fault) in [
        ("", None),
        (r#","connect":"::1","method":"HEAD","headers":{"Host":"b"},"status":[200,204],"redirects":"follow","roots":"/a.pem""#, None),
        (r#","status":204,"header_contains":{"content-type":"text/html"},"json":{"pointer":"","equals":true}"#, None),
        (r#","connect":"a:1""#, Some("the port is the URL's")),
        (r#","method":"HEAD","body_contains":"a""#, Some("the answer to a `HEAD`")),
        (r#","headers":{"a b":"c"}"#, Some("no header")),
        (r#","headers":{"a":"b\r\nc: d"}"#, Some("no header")),
        (r#","headers":{"a":""}"#, Some("`a` is empty")),
        (r#","status":[]"#, Some("no answer would do")),
        (r#","status":100"#, Some("no final status")),
        (r#","body_contains":"""#, Some("is empty")),
        (r#","json":{"pointer":"a","equals":1}"#, Some("no JSON pointer")),
        (r#","body_sha256":"A""#, Some("64 lower-case")),
        (r#","roots":"a.pem""#, Some("not absolute")),
    ] {
        let json = format!("{{{url}{more}}}");
        let http: Http = json::parse(json.as_bytes(), &Limits::MANIFEST).unwrap();
        let error = http.validate().err();
        assert_eq!(error.is_some(), fault.is_some(), "{json}: {error:?}");
        assert!(fault.is_none_or(|fault| error.as_ref().unwrap().contains(fault)), "{json}: {error:?}");
        assert_eq!(serde_json::to_string(&http).unwrap(), json);
    }
    let fixed: Http = json::parse(br#"{"url":"http://10.0.0.1/","connect":"127.0.0.1"}"#, &Limits::MANIFEST).unwrap();
    assert!(fixed.validate().unwrap_err().contains("an address already"));
    let plain: Http = json::parse(br#"{"url":"http://a/","roots":"/a.pem"}"#, &Limits::MANIFEST).unwrap();
    assert!(plain.validate().unwrap_err().contains("plain http"));
}

#[test]
fn what_is_outside_counts_at_launch_only() {
    for (table, scope) in [
        (r#"{"url":"http://127.0.0.1/"}"#, Scope::Both),
        (r#"{"url":"https://[::1]:8443/"}"#, Scope::Both),
        (r#"{"url":"https://shop.example.com/"}"#, Scope::Launch),
        (r#"{"url":"https://shop.example.com/","connect":"127.0.0.1"}"#, Scope::Both),
        (r#"{"url":"http://localhost/","connect":"10.0.0.1"}"#, Scope::Launch),
    ] {
        let http: Http = json::parse(table.as_bytes(), &Limits::MANIFEST).unwrap();
        assert_eq!(http.scope(), scope, "{table}");
    }
}

#[test]
fn as_much_as_may_be() {
    let with = |more: &str| -> Http { serde_json::from_str(&format!(r#"{{"url":"http://a/"{more}}}"#)).unwrap() };
    assert_eq!(with("").summary(), "http://a/");
    assert!(!with("").wants_body());
    for wanted in [
        r#","body_contains":"x""#.into(),
        r#","json":{"pointer":"/a","equals":1}"#.into(),
        format!(r#","body_sha256":"{}""#, Digest::of(b"")),
    ] {
        assert!(with(&wanted).wants_body(), "{wanted}");
    }
    for (host, usable) in [("shop.internal", true), ("::1", true), ("10.0.0.1", true), ("a:80", false)] {
        let http = with(&format!(r#","connect":"{host}""#));
        assert_eq!((http.validate().is_ok(), http.summary()), (usable, format!("http://a/ at {host}")));
    }
    for (more, usable) in [(0, true), (1, false)] {
        let pointer = format!("/{}", "a".repeat(TEXT_BYTES_MAX - 1 + more));
        let http = with(&format!(r#","json":{{"pointer":"{pointer}","equals":1}}"#));
        assert_eq!(http.validate().is_ok(), usable, "{more} bytes more");
        let headers = (0..ELEMENTS_MAX + more).map(|number| (format!("x-{number}"), "two words".into())).collect();
        assert_eq!(headers_are_headers("headers", &headers).is_ok(), usable, "{more} headers more");
    }
}
