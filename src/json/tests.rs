//! What is taken and what is refused, by rule; and nothing is taken that serde_json reads differently.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString as _},
    vec::Vec,
};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const LIMITS: Limits = Limits { bytes_max: 1_000, depth_max: 4 };

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: u64,
    b: Option<String>,
    #[serde(default)]
    c: Vec<Inner>,
    d: Option<Kind>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    x: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plain,
    With(u8),
    Fields { x: u8 },
}

fn strict(text: &str) -> Result<Strict, JsonError> {
    parse(text.as_bytes(), &LIMITS)
}

fn value(text: &str) -> Result<Value, JsonError> {
    parse(text.as_bytes(), &LIMITS)
}

#[test]
fn taken() {
    let all = strict(
        " {\"a\": 9007199254740991,\t\"b\":\"\\u00e4\\ud83d\\ude00\\n/\\/\", \"c\":[{\"x\":true}], \"d\":\"plain\"}\r\n",
    );
    let (b, c) = (Some("ä😀\n//".into()), alloc::vec![Inner { x: true }]);
    assert_eq!(all, Ok(Strict { a: INTEGER_MAX, b, c, d: Some(Kind::Plain) }));
    assert_eq!(strict(r#"{"a":0}"#), Ok(Strict { a: 0, b: None, c: Vec::new(), d: None }));
    assert_eq!(strict(r#"{"a":0,"d":{"with":7}}"#).unwrap().d, Some(Kind::With(7)));
    assert_eq!(strict(r#"{"a":0,"d":{"fields":{"x":7}}}"#).unwrap().d, Some(Kind::Fields { x: 7 }));
    assert_eq!(strict(r#"{"a":0,"c":[{"x":true,"new":[null,-1.5e+3,"y",true]}]}"#).unwrap().c.len(), 1);
}

#[test]
fn refused_by_rule() {
    let rows: &[(&str, &str)] = &[
        ("", "line 1, column 1: unexpected end"),
        ("{\"a\":1}{", "line 1, column 8: trailing data"),
        ("{\"a\":1}\n\n x", "line 3, column 2: trailing data"),
        ("\u{feff}{\"a\":1}", "a byte order mark"),
        ("{\"a\":1,\"a\":1}", "duplicate key `a`"),
        ("{\"a\":1,\"\\u0061\":1}", "duplicate key `a`"),
        ("{\"a\":1,\"b\":null}", "`null` is not allowed"),
        ("{\"a\":null}", "`null` is not allowed"),
        ("{\"a\":-0}", "not an integer"),
        ("{\"a\":-1}", "not an integer"),
        ("{\"a\":1.0}", "not an integer"),
        ("{\"a\":1e3}", "not an integer"),
        ("{\"a\":1E3}", "not an integer"),
        ("{\"a\":0.0}", "not an integer"),
        ("{\"a\":0e0}", "not an integer"),
        ("{\"a\":9007199254740992}", "not an integer"),
        ("{\"a\":99999999999999999999999}", "not an integer"),
        ("{\"a\":01}", "not an integer"),
        ("{\"a\":00}", "not an integer"),
        ("{\"a\":+1}", "expected a value"),
        ("{\"a\":NaN}", "expected a value"),
        ("{\"a\":\"1\"}", "invalid type: string \"1\", expected u64"),
        ("{\"a\":1,\"b\":\"\\ud800\"}", "a lone surrogate"),
        ("{\"a\":1,\"b\":\"\\udc00\"}", "a lone surrogate"),
        ("{\"a\":1,\"b\":\"\\ud800\\ud800\"}", "a lone surrogate"),
        ("{\"a\":1,\"b\":\"\\ud800x\"}", "a lone surrogate"),
        ("{\"a\":1,\"b\":\"\\ud800\\n\"}", "a lone surrogate"),
        ("{\"a\":1,\"b\":\"\\x41\"}", "expected an escape"),
        ("{\"a\":1,\"b\":\"\\u+041\"}", "expected four hex digits"),
        ("{\"a\":1,\"b\":\"\t\"}", "a control character"),
        ("{\"a\":1,\"b\":\"", "unexpected end"),
        ("{\"a\":1,\"b\":'x'}", "expected a value"),
        ("{\"a\":1,}", "expected another element after `,`"),
        ("{\"a\" 1}", "expected `:`"),
        ("{\"a\":1 \"b\":2}", "expected `,`"),
        ("{a:1}", "expected a string"),
        ("{\"a\":1,\"c\":[{\"x\":true},]}", "expected another element after `,`"),
        ("{\"a\":1,\"e\":1}", "unknown field `e`"),
        ("{\"b\":\"\"}", "missing field `a`"),
        ("[1]", "expected an object"),
        ("{\"a\":1,\"c\":[[true]]}", "expected an object"),
        ("{\"a\":1,\"c\":{}}", "invalid type: map"),
        ("{\"a\":1,\"d\":[\"with\",7]}", "expected a string or an object with one key"),
        ("{\"a\":1,\"d\":{\"plain\":7}}", "expected the variant's name as a string"),
        ("{\"a\":1,\"d\":{\"with\":7,\"with\":8}}", "expected the end of an object with one key"),
        ("{\"a\":1,\"d\":{\"fields\":[7]}}", "expected an object"),
        ("{\"a\":1,\"c\":[{\"x\":true,\"new\":{\"k\":1,\"k\":2}}]}", "duplicate key `k`"),
        ("{\"a\":1,\"c\":[{\"x\":true,\"new\":[01]}]}", "expected a number"),
        ("{\"a\":1,\"c\":[{\"x\":true,\"new\":[1.]}]}", "expected a digit"),
        ("{\"a\":1,\"c\":[{\"x\":true,\"new\":[nul]}]}", "expected a value"),
        ("{\"a\":1,\"c\":[{\"x\":tru}]}", "expected a value"),
        ("// no\n{\"a\":1}", "expected an object"),
    ];
    for (text, reason) in rows {
        let error = strict(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}\nexpected: {reason}");
    }
}

#[test]
fn not_utf8() {
    let error = parse::<Value>(b"{\"a\":\n\"\xff\"}", &LIMITS).unwrap_err();
    assert_eq!(error, JsonError { line: 2, column: 2, place: String::new(), fault: Fault::NotUtf8 });
    // A surrogate written in UTF-8's manner, and an overlong slash.
    for bytes in [&b"\"\xed\xa0\x80\""[..], b"\"\xc0\xaf\""] {
        assert_eq!(parse::<Value>(bytes, &LIMITS).unwrap_err().fault, Fault::NotUtf8);
    }
}

#[test]
fn limits() {
    assert!(value("[[[[1]]]]").is_ok());
    assert_eq!(value("[[[[[1]]]]]").unwrap_err().fault, Fault::TooDeep { depth_max: 4 });
    assert_eq!(strict(r#"{"a":1,"c":[{"x":true,"y":[[]]}]}"#).unwrap_err().fault, Fault::TooDeep { depth_max: 4 });
    // Hostile depth costs nothing.
    assert!(value(&"[".repeat(1_000)).is_err());
    let long = alloc::format!("\"{}\"", "a".repeat(999));
    assert_eq!(value(&long).unwrap_err().fault, Fault::TooLarge { bytes: 1_001, bytes_max: 1_000 });
    assert!(value(&long[1..]).is_err());
    assert!(value(&alloc::format!("\"{}\"", "a".repeat(998))).is_ok());
}

#[test]
fn a_bounded_array_stops_at_its_bound() {
    #[derive(Debug, Deserialize)]
    struct Few {
        #[serde(deserialize_with = "at_most::<_, _, 2>")]
        few: Vec<u8>,
    }
    assert_eq!(parse::<Few>(br#"{"few":[1,2]}"#, &LIMITS).unwrap().few, [1, 2]);
    let error = parse::<Few>(br#"{"few":[1,2,3"#, &LIMITS).unwrap_err().to_string();
    assert!(error.contains("in `few`: more than 2 elements"), "{error}");
}

#[test]
fn what_a_document_says_is_escaped_in_errors() {
    let error = strict("{\"a\":1,\"\\u001b[2J\":1}").unwrap_err().to_string();
    assert!(error.contains("\\u{1b}") && !error.contains('\x1b'), "{error}");
    let error = value("{\"\\u202e\":1,\"\\u202e\":1}").unwrap_err().to_string();
    assert_eq!(error, "line 1, column 21: duplicate key `\\u{202e}`");
}

/// JSON of this module's kind, in any spelling.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..=INTEGER_MAX).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|members: BTreeMap<_, _>| Value::Object(members.into_iter().collect())),
        ]
    })
}

const WIDE: Limits = Limits { bytes_max: 1 << 20, depth_max: 16 };

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_back(document in documents(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        prop_assert_eq!(parse::<Value>(text.unwrap().as_bytes(), &WIDE), Ok(document));
    }

    #[test]
    fn what_is_taken_means_the_same_to_serde_json(text in r#"([\[\]{},:"0-9a-f\\ue .+\-]|true|null|"a":|\\u[0-9a-f]{4}){0,12}"#) {
        if let Ok(read) = parse::<Value>(text.as_bytes(), &WIDE) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), read);
        }
        // What is skipped is checked, too.
        let skipped = parse::<de::IgnoredAny>(text.as_bytes(), &WIDE).is_ok();
        prop_assert!(!skipped || serde_json::from_str::<de::IgnoredAny>(&text).is_ok());
    }

    #[test]
    fn a_broken_document_never_panics(document in documents(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&document).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = parse::<Value>(&bytes, &WIDE) {
            prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), read);
        }
    }
}

/// However many come before it, and wherever the first one was.
#[test]
fn a_key_twice_in_a_long_object() {
    let keys: Vec<_> = (0..20).map(|key| alloc::format!("\"k{key}\":1")).collect();
    let parsed = |again: &str| {
        let text = alloc::format!("{{{}{again}}}", keys.join(","));
        parse::<BTreeMap<String, u64>>(text.as_bytes(), &LIMITS)
    };
    assert_eq!(parsed("").unwrap().len(), 20);
    for key in ["k0", "k7", "k8", "k19"] {
        let fault = parsed(&alloc::format!(",\"{key}\":1")).unwrap_err().fault;
        assert_eq!(fault, Fault::DuplicateKey(key.into()));
    }
}
