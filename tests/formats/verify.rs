//! `release verify`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::bench::Bench;

const VERIFY: [&str; 5] = ["release", "verify", "manifest.json", "--trust", "release.key.pub"];

#[test]
fn says_what_was_signed_and_by_whom() {
    let bench = Bench::staged();
    let id = bench.key("release.key");
    bench.build("manifest.json", &["--key", "release.key"]);
    let said = bench.run(&VERIFY).succeeded();
    for line in ["product   shop", "release   R1", "digest    sha256:", &format!("signed    by {id}")] {
        assert!(said.contains(line), "{said}\nexpected: {line}");
    }
    let said: Value = serde_json::from_str(&bench.run(&[&VERIFY[..], &["--json"]].concat()).succeeded()).unwrap();
    assert_eq!((&said["verified"], &said["signers"]), (&json!(true), &json!([id])));
}

#[test]
fn anything_wrong_is_2() {
    let bench = Bench::signed();
    bench.key("other.key");
    bench.build("unsigned.json", &[]);
    let mut changed: Value = serde_json::from_str(&bench.read("manifest.json")).unwrap();
    let mut payload = bench.payload("manifest.json");
    payload["release"] = "R2".into();
    changed["payload"] = STANDARD.encode(payload.to_string()).into();
    bench.write("changed.json", changed.to_string());
    bench.write("cut.json", &bench.read("manifest.json")[..100]);
    bench.write("twice.json", bench.read("manifest.json").repeat(2));
    let trust = ["--trust", "release.key.pub"];
    for (manifest, more, reason) in [
        ("manifest.json", &["--trust", "other.key.pub"][..], "signed by 0 of the trusted keys, 1 needed"),
        ("unsigned.json", &trust, "signed by 0 of the trusted keys, 1 needed"),
        ("changed.json", &trust, "signed by 0 of the trusted keys, 1 needed"),
        ("cut.json", &trust, "unexpected end"),
        ("twice.json", &trust, "trailing data"),
        ("nowhere.json", &trust, "failed to read `nowhere.json`"),
        ("stage", &trust, "failed to read `stage`"),
        ("manifest.json", &["--trust", "release.key"], "not an ed25519 public key"),
        ("manifest.json", &["--trust", "nowhere.pub"], "failed to read `nowhere.pub`"),
        ("manifest.json", &["--trust", "release.key.pub", "--threshold", "0"], "threshold 0 is not from 1 to 1"),
        ("manifest.json", &["--trust", "release.key.pub", "--threshold", "2"], "threshold 2 is not from 1 to 1"),
        (
            "manifest.json",
            &["--trust", "release.key.pub", "--trust", "release.key.pub", "--threshold", "2"],
            "threshold 2 is not from 1 to 1",
        ),
        (
            "manifest.json",
            &["--trust", "release.key.pub", "--trust", "other.key.pub", "--threshold", "2"],
            "signed by 1 of the trusted keys, 2 needed",
        ),
        ("manifest.json", &[], "--trust"),
    ] {
        bench.run(&[&["release", "verify", manifest], more].concat()).refused(reason);
    }
}

#[test]
fn a_signed_manifest_that_breaks_a_rule() {
    use portcullis::{
        manifest::PAYLOAD_TYPE,
        signature::{Envelope, SigningKey},
    };
    let bench = Bench::signed();
    let key = SigningKey::from_pem(&bench.read("release.key")).unwrap();
    let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, b"{\"version\":1,\"version\":1}".into());
    envelope.sign(&key);
    bench.write("manifest.json", envelope.to_json());
    bench.run(&VERIFY).refused("failed to verify `manifest.json`: line 1, column 23: duplicate key `version` (rule 5)");
}

#[test]
fn more_than_may_be_is_not_read() {
    let bench = Bench::signed();
    let file = std::fs::File::create(bench.path("manifest.json")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    bench.run(&VERIFY).refused("it has more than 67108864 bytes");
}
