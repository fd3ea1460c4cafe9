//! Each rule of PROTOCOL.md §1: what keeps it, and what breaks it.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;
use crate::{
    signature::{Envelope, SIGNATURES_MAX, SigningKey, TrustedKeys},
    text,
};

/// The example of PROTOCOL.md §1, its dots filled in.
const EXAMPLE: &str = r#"{"version":1,"product":"shop","release":"2026.11.20-1","sequence":1763640000,"trees":[{"name":"app","root":"/var/www/app","extras":"refuse","ignore":[],"attributes":["mode"],"entries":[{"path":"a","type":"dir","mode":"0755"},{"path":"a/i.php","type":"file","size":12,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","mode":"0644"},{"path_b64":"/w==","type":"link","target":"a"}]}],"checks":[{"name":"nginx parses","kind":"command","argv":["nginx","-t"],"timeout_ms":10000,"scope":"both"}]}"#;

fn refused(payload: &str, reason: &str) {
    let error = match Manifest::parse(payload.as_bytes()) {
        Ok(_) => panic!("taken: {payload}\nexpected: {reason}"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(reason), "{payload}\n{error}\nexpected: {reason}");
}

/// The example with `from` replaced by `to`.
fn but(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "`{from}` is not in the example");
    EXAMPLE.replacen(from, to, 1)
}

/// A manifest of one tree that compares nothing.
fn entries(entries: &str) -> String {
    tree(&format!(r#""root":"/t","ignore":[],"attributes":[],"entries":[{entries}]"#))
}

fn tree(fields: &str) -> String {
    trees(&format!(r#"{{"name":"t","extras":"refuse",{fields}}}"#))
}

fn trees(trees: &str) -> String {
    format!(
        r#"{{"version":1,"product":"p","release":"r","sequence":1,"trees":[{trees}],"checks":[{{"name":"c","kind":"command","argv":["true"],"timeout_ms":1,"scope":"both"}}]}}"#
    )
}

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn file(path: &str) -> String {
    format!(r#"{{"path":"{path}","type":"file","size":0,"sha256":"{EMPTY}"}}"#)
}

fn dir(path: &str) -> String {
    format!(r#"{{"path":"{path}","type":"dir"}}"#)
}

#[test]
fn the_example_there_and_back() {
    let manifest = Manifest::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(text::escape(&manifest.trees[0].entries[2].path), "\\xff");
    assert_eq!(manifest.trees[0].entries[0].mode, Some(0o755));
    assert_eq!(manifest.entries_total(), 3);
    assert_eq!(String::from_utf8(manifest.to_payload()).unwrap(), EXAMPLE);
}

#[test]
fn rule_1_sizes() {
    let large = " ".repeat(json::Limits::MANIFEST.bytes_max);
    refused(&format!("{large}{EXAMPLE}"), "50331648 allowed (rule 1)");
    refused(&format!("{}{}", "[".repeat(17), "]".repeat(17)), "expected an object");
    let component = "a".repeat(COMPONENT_BYTES_MAX);
    assert!(Manifest::parse(entries(&file(&component)).as_bytes()).is_ok());
    refused(&entries(&file(&format!("{component}a"))), "more than 255 bytes (rule 1)");
    let deep = |last: usize| {
        let paths: Vec<String> = (1..=16).map(|n| [&*component].repeat(n).join("/")).collect();
        let dirs: Vec<_> = paths[..15].iter().map(|path| dir(path)).collect();
        format!("{},{},{}", dirs.join(","), dir(&paths[15]), file(&format!("{}/{}", paths[15], "b".repeat(last))))
    };
    // 16 components of 255 bytes with their slashes are 4,096 bytes: one more does not fit.
    refused(&entries(&deep(1)), "`path` has more than 4096 bytes (rule 1)");
    let link = |length| entries(&format!(r#"{{"path":"l","type":"link","target":"{}"}}"#, "t".repeat(length)));
    assert!(Manifest::parse(link(PATH_BYTES_MAX).as_bytes()).is_ok());
    refused(&link(PATH_BYTES_MAX + 1), "`target` has more than 4096 bytes (rule 1)");
    refused(&but("shop", ""), "`product` must have 1 to 255 bytes (rule 1)");
    refused(&but("2026.11.20-1", &"r".repeat(256)), "`release` must have 1 to 255 bytes (rule 1)");
    refused(&but("\"app\"", "\"\""), "tree ``: `name` must have 1 to 255 bytes (rule 1)");
    let one = r#"{"name":"a","root":"/a","extras":"refuse","ignore":[],"attributes":[],"entries":[]}"#;
    refused(&trees(&[one].repeat(TREES_MAX + 1).join(",")), "more than 1000 elements");
}

#[test]
fn rule_1_a_million_entries() {
    let many = |count: usize, name: &str| Tree {
        entries: (0..count)
            .map(|n| Entry { path: format!("{n:07}").into(), kind: EntryKind::Directory, mode: None, owner: None })
            .collect(),
        ..Tree::new(name, &format!("/{name}"))
    };
    let with = |trees| Manifest { product: "p".into(), release: "r".into(), sequence: 0, trees, checks: Vec::new() };
    assert_eq!(with(vec![many(ENTRIES_MAX, "a")]).validate(), Ok(()));
    let error = with(vec![many(ENTRIES_MAX, "a"), many(1, "b")]).validate().unwrap_err();
    assert_eq!(error.to_string(), "1000001 entries, 1000000 allowed (rule 1)");
}

#[test]
fn rule_5_strict_json() {
    for (payload, reason) in [
        (but("{\"version\":1,", "{\"version\":1,\"version\":1,"), "duplicate key `version` (rule 5)"),
        (but("{\"version\":1,", "{\"version\":1,\"extra\":1,"), "unknown field `extra`"),
        (but("{\"version\":1,", "{"), "missing field `version`"),
        (but("\"version\":1", "\"version\":2"), "version 2 is not supported"),
        (but("\"version\":1", "\"version\":1.0"), "not an integer"),
        (but("1763640000", "-0"), "not an integer"),
        (but("1763640000", "9007199254740992"), "not an integer"),
        (but("\"size\":12", "\"size\":12e0"), "not an integer"),
        (but("\"size\":12", "\"size\":null"), "`null` is not allowed"),
        (but("\"shop\"", "null"), "`null` is not allowed"),
        (but("shop", "\\ud800"), "a lone surrogate"),
        (format!("\u{feff}{EXAMPLE}"), "a byte order mark"),
        (format!("{EXAMPLE} {{}}"), "trailing data"),
        (but("\"path\":\"a\",", "\"path\":\"a\",\"xattr\":\"\","), "unknown field `xattr`"),
        (but("\"extras\":\"refuse\",", ""), "missing field `extras`"),
        (but("\"ignore\":[],", ""), "missing field `ignore`"),
        (but("\"attributes\":[\"mode\"],", ""), "missing field `attributes`"),
        (but("[\"mode\"]", "[\"mode\",\"mode\"]"), "`attributes` is not a list of different attributes"),
        (but("[\"mode\"]", "[\"mode\",\"owner\",\"mode\"]"), "more than 2 elements"),
        (but("[\"mode\"]", "[\"acl\"]"), "unknown variant `acl`"),
        (but("\"refuse\"", "\"maybe\""), "unknown variant `maybe`"),
        (but("\"type\":\"dir\"", "\"type\":\"fifo\""), "unknown variant `fifo`"),
        (but("\"type\":\"dir\",", ""), "missing field `type`"),
        (
            but("\"kind\":\"command\"", "\"kind\":\"magic\""),
            "check `nginx parses`: unknown kind of check `magic` (rule 5)",
        ),
        (but("\"argv\":[\"nginx\",\"-t\"],", ""), "check `nginx parses`: `argv` is missing (rule 5)"),
        (but("[\"nginx\",\"-t\"]", "null"), "`null` is not allowed"),
        (but("[\"nginx\",\"-t\"]", "[]"), "check `nginx parses`: `argv` is empty"),
        (but("\"nginx\",", "\"./nginx\","), "`argv` begins with"),
        (but("10000", "0"), "`timeout_ms` is 0, not from 1 to 3600000"),
        (but("10000", "3600001"), "`timeout_ms` is 3600001"),
        (but("\"scope\":\"both\"", "\"scope\":\"never\""), "unknown variant `never`"),
        (but(",\"scope\":\"both\"", ""), "missing field `scope`"),
        ("[1,\"p\",\"r\",1,[],[]]".into(), "expected an object"),
    ] {
        refused(&payload, reason);
    }
    let mut latin = EXAMPLE.as_bytes().to_vec();
    let at = EXAMPLE.find("shop").unwrap();
    latin[at] = 0xe9;
    assert!(Manifest::parse(&latin).unwrap_err().to_string().contains("not UTF-8 (rule 5)"));
}

#[test]
fn rule_5_fields_of_entries() {
    for (payload, reason) in [
        (
            but("\"mode\":\"0755\"", "\"mode\":\"755\""),
            "tree `app`, entry `a`: `mode` is not four octal digits (rule 5)",
        ),
        (but("\"mode\":\"0755\"", "\"mode\":\"0855\""), "`mode` is not four octal digits"),
        (but("\"mode\":\"0755\"", "\"mode\":\"+755\""), "`mode` is not four octal digits"),
        (but(",\"mode\":\"0755\"", ""), "entry `a`: `mode` is missing"),
        (but("\"target\":\"a\"", "\"target\":\"a\",\"mode\":\"0777\""), "entry `\\xff`: `mode` does not belong here"),
        (but("\"attributes\":[\"mode\"]", "\"attributes\":[\"owner\",\"mode\"]"), "`uid` is missing"),
        (but("\"mode\":\"0755\"", "\"mode\":\"0755\",\"uid\":0"), "`gid` is missing"),
        (but("\"mode\":\"0755\"", "\"mode\":\"0755\",\"gid\":0"), "`uid` is missing"),
        (but("\"mode\":\"0755\"", "\"mode\":\"0755\",\"uid\":0,\"gid\":0"), "`uid` does not belong here"),
        (but("\"mode\":\"0755\"", "\"mode\":\"0755\",\"uid\":4294967296,\"gid\":0"), "expected u32"),
        (but("\"size\":12,", ""), "`size` is missing"),
        (but("\"sha256\":\"ba", "\"sha256\":\"BA"), "`sha256` is not 64 lower-case hex digits"),
        (but("\"sha256\":\"ba", "\"sha256\":\""), "`sha256` is not 64 lower-case hex digits"),
        (but("\"type\":\"dir\"", "\"type\":\"dir\",\"size\":1"), "`size` does not belong here"),
        (but("\"type\":\"dir\"", "\"type\":\"dir\",\"target\":\"x\""), "`target` does not belong here"),
        (but("\"type\":\"file\"", "\"type\":\"file\",\"target\":\"x\""), "`target` does not belong here"),
        (
            but("\"type\":\"link\"", &format!("\"type\":\"link\",\"sha256\":\"{EMPTY}\"")),
            "`sha256` does not belong here",
        ),
        (but(",\"target\":\"a\"", ""), "`target` is missing"),
        (but("\"target\":\"a\"", "\"target\":\"\""), "`target` is not a path"),
        (but("\"path\":\"a\",", ""), "tree `app`, entry ``: `path` is missing"),
        (entries(r#"{"path":"a","type":"file","size":0}"#), "`sha256` is missing"),
    ] {
        refused(&payload, reason);
    }
    let more = but("\"attributes\":[\"mode\"]", "\"attributes\":[]");
    assert_eq!(Manifest::parse(more.as_bytes()).unwrap().trees[0].entries[0].mode, Some(0o755), "for its set-id bits");
    let both = but("\"attributes\":[\"mode\"]", "\"attributes\":[\"owner\"]")
        .replace("\"mode\":\"0755\"", "\"uid\":0,\"gid\":4294967295")
        .replace("\"mode\":\"0644\"", "\"uid\":1,\"gid\":1")
        .replace("\"target\":\"a\"", "\"target\":\"a\",\"uid\":0,\"gid\":0");
    let manifest = Manifest::parse(both.as_bytes()).unwrap();
    assert_eq!(manifest.trees[0].entries[0].owner, Some(Owner { uid: 0, gid: u32::MAX }));
}

#[test]
fn rule_6_one_form_for_each_path() {
    for (payload, reason) in [
        (but("\"path_b64\":\"/w==\"", "\"path_b64\":\"Yg==\""), "entry `Yg==`: `path_b64` holds UTF-8"),
        (but("\"path_b64\":\"/w==\"", "\"path_b64\":\"/w\""), "`path` is not padded standard base64"),
        (but("\"path_b64\":\"/w==\"", "\"path_b64\":\"_w==\""), "`path` is not padded standard base64"),
        (but("\"path_b64\":\"/w==\"", "\"path_b64\":\"/x==\""), "`path` is not padded standard base64"),
        (but("\"path_b64\":\"/w==\"", "\"path_b64\":\"\""), "`path_b64` holds UTF-8"),
        (but("\"path_b64\":\"/w==\"", "\"path\":\"b\",\"path_b64\":\"/w==\""), "both `path` and `path_b64` (rule 6)"),
        (but("\"target\":\"a\"", "\"target_b64\":\"YQ==\""), "`target_b64` holds UTF-8"),
        (but("\"target\":\"a\"", "\"target\":\"a\",\"target_b64\":\"/w==\""), "both `target` and `target_b64`"),
    ] {
        refused(&payload, reason);
    }
    let target = but("\"target\":\"a\"", "\"target_b64\":\"Lg7/\"");
    let manifest = Manifest::parse(target.as_bytes()).unwrap();
    assert_eq!(manifest.trees[0].entries[2].kind, EntryKind::Link { target: b".\x0e\xff".into() });
}

#[test]
fn rule_6_paths() {
    for (entries_json, reason) in [
        (file(""), "entry ``: the path has an empty component (rule 6)"),
        (file("/a"), "entry `/a`: the path has an empty component (rule 6)"),
        (dir("a/"), "an empty component"),
        (format!("{},{}", dir("a"), file("a//b")), "an empty component"),
        (file("."), "a `.` or `..` component (rule 6)"),
        (file(".."), "a `.` or `..` component"),
        (file("../a"), "a `.` or `..` component"),
        (format!("{},{}", dir("a"), file("a/./b")), "a `.` or `..` component"),
        (format!("{},{}", dir("a"), file("a/../b")), "a `.` or `..` component"),
        (file("a\\u0000b"), "`path` has a NUL byte (rule 6)"),
        (r#"{"path":"l","type":"link","target":"a\u0000"}"#.into(), "`target` has a NUL byte (rule 6)"),
        (
            format!("{},{}", file("b"), file("a")),
            "entry `a`: entries must be strictly ascending by bytes, and `b` comes",
        ),
        (format!("{},{}", file("a"), file("a")), "strictly ascending"),
        // By UTF-16 units, as JavaScript sorts, these two would be in order.
        (format!("{},{}", file("\u{10000}"), file("\u{e000}")), "strictly ascending"),
        (file("a/b"), "entry `a/b`: its directory `a` is not listed (rule 6)"),
        (format!("{},{}", dir("a"), file("a/b/c")), "its directory `a/b` is not listed"),
        (format!("{},{}", file("a"), file("a/b")), "it is below `a`, which is not a directory (rule 6)"),
        (format!("{},{}", r#"{"path":"a","type":"link","target":"/etc"}"#, file("a/b")), "it is below `a`"),
    ] {
        refused(&entries(&entries_json), reason);
    }
    // Between a directory and what is in it, other names may sort.
    let between = entries(&[dir("a"), file("a-b"), file("a/b"), file("a0")].join(","));
    assert!(Manifest::parse(between.as_bytes()).is_ok());
    // Nothing is normalised: é and e with an accent are two names, and a file name may look like anything.
    let odd = entries(&[file("..."), file("e\\u0301"), file("é")].join(","));
    assert!(Manifest::parse(odd.as_bytes()).is_ok());
}

#[test]
fn an_entry_that_its_tree_ignores() {
    let ignoring = |pattern: &str, entries: &str| {
        tree(&format!(r#""root":"/t","ignore":["{pattern}"],"attributes":[],"entries":[{entries}]"#))
    };
    refused(&ignoring("*.pid", &file("a.pid")), "tree `t`, entry `a.pid`: the tree ignores it");
    refused(&ignoring("logs/", &dir("logs")), "the tree ignores it");
    refused(
        &ignoring("logs/**", &format!("{},{}", dir("logs"), file("logs/a"))),
        "entry `logs/a`: the tree ignores it",
    );
    assert!(Manifest::parse(ignoring("logs/**", &dir("logs")).as_bytes()).is_ok());
    refused(&ignoring("[", &file("a")), "tree `t`: `ignore`: pattern `[`: its `[` is not closed");
}

#[test]
fn rule_7_names() {
    let one = r#"{"name":"a","root":"/a","extras":"refuse","ignore":[],"attributes":[],"entries":[]}"#;
    refused(&trees(&format!("{one},{}", one.replace("/a", "/b"))), "tree `a`: the name is used twice (rule 7)");
    refused(&trees(&one.replace("\"a\"", "\"c\"")), "check `c`: the name is used twice (rule 7)");
}

#[test]
fn rule_7_roots() {
    let at = |root: &str| tree(&format!(r#""root":"{root}","ignore":[],"attributes":[],"entries":[]"#));
    for root in ["", "a", "./a", "/a/", "//", "//a", "/a//b", "/a/.", "/a/../b", "/.."] {
        refused(&at(root), &format!("tree `t`: root `{root}` is not absolute and plain"));
    }
    refused(&at("/a\\u0000"), "`root` has a NUL byte");
    for root in ["/", "/a", "/a b/ü", "/.a"] {
        assert!(Manifest::parse(at(root).as_bytes()).is_ok(), "{root}");
    }
}

#[test]
fn rule_7_one_root_inside_another() {
    let two = |outer: &str, ignore: &str, inner: &str| {
        let tree = |name: &str, root: &str, ignore: &str| {
            format!(
                r#"{{"name":"{name}","root":"{root}","extras":"refuse","ignore":[{ignore}],"attributes":[],"entries":[]}}"#
            )
        };
        // In whichever order.
        let (outer, inner) = (tree("o", outer, ignore), tree("i", inner, ""));
        [trees(&format!("{outer},{inner}")), trees(&format!("{inner},{outer}"))]
    };
    for (outer, ignore, inner) in [
        ("/a", "", "/a/b"),
        ("/", "", "/a"),
        ("/a", "", "/a/b/c/d"),
        ("/a", r#""x""#, "/a/b"),
        ("/a", r#""/b/**""#, "/a/b"),
        ("/a", r#""/b/","!/b/""#, "/a/b"),
    ] {
        for payload in two(outer, ignore, inner) {
            refused(&payload, "tree `i`: its root is inside the root of tree `o`, which does not ignore it (rule 7)");
        }
    }
    for payload in two("/a", "", "/a") {
        refused(&payload, "its root is inside the root of tree");
    }
    for (outer, ignore, inner) in [
        ("/a", "", "/ab"),
        ("/a/b", "", "/a/c"),
        ("/a", r#""/b/""#, "/a/b"),
        ("/a", r#""b""#, "/a/b/c"),
        ("/a", r#""/b/**""#, "/a/b/c"),
        ("/", r#""/a""#, "/a"),
    ] {
        for payload in two(outer, ignore, inner) {
            assert!(Manifest::parse(payload.as_bytes()).is_ok(), "{payload}");
        }
    }
}

#[test]
fn a_manifest_that_wants_nothing() {
    let nothing = |trees: &str| {
        format!(r#"{{"version":1,"product":"p","release":"r","sequence":1,"trees":[{trees}],"checks":[]}}"#)
    };
    refused(&nothing(""), "neither an entry nor a check");
    let empty = r#"{"name":"a","root":"/a","extras":"refuse","ignore":[],"attributes":[],"entries":[]}"#;
    refused(&nothing(empty), "neither an entry nor a check");
    assert!(
        Manifest::parse(trees(empty).as_bytes()).is_ok(),
        "an empty tree beside a check says that nothing is there"
    );
    assert!(Manifest::parse(nothing(&empty.replace("[]}", &format!("[{}]}}", dir("a")))).as_bytes()).is_ok());
}

#[test]
fn names_are_escaped_in_errors() {
    let error = Manifest::parse(but("\"app\"", "\"\\u001b[2J\"").replace("\"0755\"", "\"\"").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "tree `\\u{1b}[2J`, entry `a`: `mode` is not four octal digits (rule 5)");
}

fn key(seed: u8) -> SigningKey {
    SigningKey::generate(&[seed; 32])
}

fn trusted(seeds: &[u8], threshold: usize) -> TrustedKeys {
    TrustedKeys::new(seeds.iter().map(|&seed| key(seed).public()).collect(), threshold).unwrap()
}

fn signed(payload: &str, seeds: &[u8]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload.into());
    seeds.iter().for_each(|&seed| envelope.sign(&key(seed)));
    envelope.to_json()
}

/// The payload may be read before its signatures are verified, after that, or meanwhile: nobody can tell.
fn opened_in_every_way(envelope: &[u8], trusted: &TrustedKeys) -> Result<VerifiedManifest, OpenError> {
    let ways: [fn(Task<'_>, Task<'_>); 4] =
        [|_, _| (), |_, read| read(), |verify, read| (verify(), read()).1, |verify, read| (read(), verify()).1];
    let open = VerifiedManifest::open(envelope, trusted);
    for way in ways {
        assert_eq!(VerifiedManifest::open_beside(envelope, trusted, way), open);
    }
    open
}

#[test]
fn the_verifier_opens_what_is_signed() {
    let open = opened_in_every_way(&signed(EXAMPLE, &[1, 2]), &trusted(&[1, 2], 2)).unwrap();
    assert_eq!(open.digest, Digest::of(EXAMPLE.as_bytes()));
    assert_eq!(open.manifest.release, "2026.11.20-1");
    assert_eq!(open.signers.len(), 2);
}

#[test]
fn the_verifier_keeps_the_order_of_the_rules() {
    let open = |bytes: &[u8]| opened_in_every_way(bytes, &trusted(&[1], 1)).unwrap_err().to_string();
    // 2 before 3: an envelope that is broken is not looked into.
    assert!(open(b"{}").contains("missing field `payloadType`"));
    // 3 before 4: another payload type, though nobody trusted has signed it.
    let mut other = Envelope::unsigned("application/vnd.in-toto+json", b"{}".into());
    other.sign(&key(2));
    assert!(open(&other.to_json()).contains("`payloadType` is `application/vnd.in-toto+json`"));
    // 4 before 5: what nobody trusted has signed is not even wrong, whatever is in it.
    for forged in ["not JSON", "{}", &but("\"path\":\"a\"", "\"path\":\"/a\""), EXAMPLE] {
        assert_eq!(open(&signed(forged, &[2])), "signed by 0 of the trusted keys, 1 needed (rule 4)");
    }
    // 5 before 6 and 7.
    assert!(open(&signed("not JSON", &[1])).contains("(rule 5)"));
    assert!(open(&signed(&but("\"path\":\"a\"", "\"path\":\"/a\""), &[1])).contains("(rule 6)"));
    assert!(open(&signed(&but("/var/www/app", "app"), &[1])).contains("(rule 7)"));
    let seventeen: Vec<u8> = (1..=u8::try_from(SIGNATURES_MAX).unwrap() + 1).collect();
    assert!(open(&signed(EXAMPLE, &seventeen)).contains("more than 16 elements (rule 1)"));
}

/// Entries are understood one by one, but what the whole document is comes before what any of them means.
#[test]
fn no_json_comes_before_an_entry_that_means_nothing() {
    let first = but("\"type\":\"dir\"", "\"type\":\"link\"");
    refused(&first, "target");
    let second = first.replacen("\"target\":\"a\"", "\"target\":\"a\",\"target\":\"a\"", 1);
    refused(&second, "duplicate key `target` (rule 5)");
}

#[test]
fn a_payload_known_by_its_digest() {
    let digest = Digest::of(EXAMPLE.as_bytes());
    assert!(Manifest::parse_known(EXAMPLE.as_bytes(), digest).is_ok());
    let other = but("shop", "ship");
    assert_eq!(
        Manifest::parse_known(other.as_bytes(), digest),
        Err(OpenError::Digest { expected: digest, actual: Digest::of(other.as_bytes()) })
    );
}

#[test]
fn changes() {
    let old = Manifest::parse(EXAMPLE.as_bytes()).unwrap();
    assert!(Changes::between(&old, &old).is_empty());
    let mut new = old.clone();
    (new.release, new.sequence) = ("next".into(), old.sequence + 1);
    assert!(Changes::between(&old, &new).is_empty(), "labels make no difference");
    new.product = "web".into();
    new.trees[0].extras = Extras::Allow;
    new.trees[0].entries[0].mode = Some(0o700);
    new.trees[0].entries[1].kind = EntryKind::File { size: 0, sha256: Digest::of(b""), text: None };
    new.trees[0].entries[2].path = b"z".into();
    new.checks[0].timeout_ms = 1;
    new.trees.push(Tree { name: "b".into(), root: "/b".into(), ..new.trees[0].clone() });
    let changes = Changes::between(&old, &new);
    assert_eq!(changes.product, Some(("shop".into(), "web".into())));
    let app: Vec<_> = changes.trees[0].entries.iter().map(|entry| (&*entry.path, entry.change, &*entry.what)).collect();
    let expected: [(_, _, &[&str]); 4] = [
        ("a", Change::Changed, &["mode"]),
        ("a/i.php", Change::Changed, &["content"]),
        ("z", Change::Added, &[]),
        ("\\xff", Change::Removed, &[]),
    ];
    assert_eq!(app, expected);
    assert_eq!(changes.trees[0].settings, ["extras"]);
    assert_eq!((changes.trees[1].change, changes.trees[1].entries.len()), (Change::Added, 3));
    assert_eq!(changes.checks[0].what, ["timeout"]);
    let back = Changes::between(&new, &old);
    assert_eq!(back.trees[1].change, Change::Removed);
}

/// What a directory may hold, by name.
#[derive(Debug, Clone)]
enum Node {
    Directory(BTreeMap<Vec<u8>, Node>),
    File(u64, [u8; 32]),
    Link(Vec<u8>),
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof!["[a-c.\\-]{1,3}".prop_map(String::into_bytes), prop::collection::vec(1..=255_u8, 1..4)];
    name.prop_filter("no name", |name| !name.contains(&b'/') && name != b"." && name != b"..")
}

fn directories() -> impl Strategy<Value = BTreeMap<Vec<u8>, Node>> {
    let leaf = prop_oneof![
        (0..=json::INTEGER_MAX, any::<[u8; 32]>()).prop_map(|(size, digest)| Node::File(size, digest)),
        prop::collection::vec(1..=255_u8, 1..9).prop_map(Node::Link),
    ];
    let node = leaf
        .prop_recursive(3, 16, 4, |inner| prop::collection::btree_map(names(), inner, 0..4).prop_map(Node::Directory));
    prop::collection::btree_map(names(), node, 0..5)
}

fn list(directory: &BTreeMap<Vec<u8>, Node>, above: &[u8], attributes: Attributes, entries: &mut Vec<Entry>) {
    for (name, node) in directory {
        let path = [above, name].concat();
        let kind = match node {
            Node::Directory(below) => {
                list(below, &[&*path, b"/"].concat(), attributes, entries);
                EntryKind::Directory
            }
            Node::File(size, digest) => {
                EntryKind::File { size: *size, sha256: Digest::from_bytes(*digest), text: None }
            }
            Node::Link(target) => EntryKind::Link { target: target.clone() },
        };
        let mode = (attributes.mode && !matches!(kind, EntryKind::Link { .. })).then_some(0o4755);
        entries.push(Entry { path, kind, mode, owner: attributes.owner.then_some(Owner { uid: 1, gid: u32::MAX }) });
    }
}

prop_compose! {
    fn some_trees()(directory in directories(), mode: bool, owner: bool, root_link: bool, allow: bool, root in "/[a-z]{1,4}") -> Tree {
        let attributes = Attributes { mode, owner };
        let mut entries = Vec::new();
        list(&directory, b"", attributes, &mut entries);
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        let extras = if allow { Extras::Allow } else { Extras::Refuse };
        Tree { name: format!("tree {root}"), root, root_link, extras, restore: false, ignore: vec!["/ignored/".into()], attributes, entries }
    }
}

prop_compose! {
    fn some_checks()(name in ".{1,9}", argument in any::<String>(), timeout_ms in 1..=TIMEOUT_MS_MAX, scope in 0..3) -> Check {
        let scope = [Scope::Launch, Scope::Serving, Scope::Both][scope as usize];
        let argv = ["/usr/bin/true".into(), argument.replace('\0', "")];
        Check { scope, timeout_ms, ..Check::command(&format!("check {name}"), argv) }
    }
}

prop_compose! {
    fn manifests()(
        product in ".{1,9}",
        release in ".{1,9}",
        sequence in 0..=json::INTEGER_MAX,
        trees in prop::collection::vec(some_trees(), 0..3),
        checks in prop::collection::vec(some_checks(), 1..3),
    ) -> Manifest {
        let by_root: BTreeMap<_, _> = trees.into_iter().map(|tree| (tree.root.clone(), tree)).collect();
        let by_name: BTreeMap<_, _> = checks.into_iter().map(|check| (check.name.clone(), check)).collect();
        let (trees, checks) = (by_root.into_values().collect(), by_name.into_values().collect());
        Manifest { product, release, sequence, trees, checks }
    }
}

proptest! {
    #[test]
    fn any_manifest_there_and_back(manifest in manifests()) {
        let payload = manifest.to_payload();
        prop_assert_eq!(Manifest::parse(&payload), Ok(manifest));
    }

    #[test]
    fn a_mutated_manifest_never_panics(manifest in manifests(), cut in any::<prop::sample::Index>(), paste in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut payload = manifest.to_payload();
        let (from, to) = (cut.index(payload.len()), paste.index(payload.len()));
        payload.splice(from.min(to)..from.max(to).min(from.min(to) + 3), bytes);
        if let Ok(read) = Manifest::parse(&payload) {
            prop_assert_eq!(Manifest::parse(&read.to_payload()), Ok(read), "what is taken is taken again");
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = Manifest::parse(&bytes);
        let _ = VerifiedManifest::open(&bytes, &trusted(&[1], 1));
    }
}
