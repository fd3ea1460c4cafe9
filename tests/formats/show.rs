//! `release show`.

use std::{io::Read as _, process::Stdio};

use serde_json::{Value, json};

use crate::bench::Bench;

#[test]
fn says_that_nothing_is_verified() {
    let bench = Bench::signed();
    let said = bench.run(&["release", "show", "manifest.json"]).succeeded();
    for line in ["release   R1", "app: 6 entries", "claims    to be signed by ", "signatures are not verified"] {
        assert!(said.contains(line), "{said}\nexpected: {line}");
    }
    let said: Value =
        serde_json::from_str(&bench.run(&["release", "show", "manifest.json", "--json"]).succeeded()).unwrap();
    assert_eq!(said["signatures_verified"], json!(false));
    assert_eq!(said["manifest"], bench.payload("manifest.json"));
}

#[test]
fn nothing_moves_the_cursor() {
    let bench = Bench::empty();
    bench.write_envelope("m.json", r#"{"version":1,"product":"\u001b[2Jp","release":"r\u202er","sequence":1,"trees":[{"name":"t\u0007","root":"/t\u001b","extras":"refuse","ignore":["\u001b"],"attributes":[],"entries":[]}],"checks":[{"name":"c\u001b","kind":"command","argv":["true","\u001b]0;x\u0007","\u202e"],"timeout_ms":1,"scope":"both"}]}"#);
    for more in [&[][..], &["--json"]] {
        let said = bench.run(&[&["release", "show", "m.json"], more].concat()).succeeded();
        assert!(!said.contains(['\x1b', '\x07', '\u{202e}']), "{said:?}");
    }
    bench.write_envelope("e.json", r#"{"version":1,"\u001b[2J\u202e":1}"#);
    let run = bench.run(&["release", "show", "e.json"]);
    assert!(!run.stderr.contains(['\x1b', '\u{202e}']), "{run:?}");
    run.refused("unknown field");
}

#[test]
fn refused() {
    let bench = Bench::empty();
    bench.run(&["release", "show", "nowhere.json"]).refused("failed to read `nowhere.json`");
    bench.write("no.json", "[]");
    bench.run(&["release", "show", "no.json"]).refused("failed to use `no.json`: not a DSSE envelope");
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let bench = Bench::signed();
    let mut child = bench
        .command(&["release", "show", "manifest.json", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*said), (Some(0), ""));
}
