//! `release sign`.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;

use crate::bench::{Bench, SPEC};

#[test]
fn what_one_signs_is_seen() {
    let bench = Bench::staged();
    bench.key("release.key");
    bench.write("portcullis.toml", SPEC.replace("attributes", "extras = \"allow\"\nroot_link = true\nattributes"));
    bench.build("m.json", &["--sequence", "7"]);
    let said = bench.run(&["release", "sign", "m.json", "--key", "release.key"]).succeeded();
    for line in [
        "product   shop",
        "release   R1",
        "sequence  7",
        "digest    sha256:",
        "ignores storage/logs/**",
        "ignores *.pid",
        "extras are allowed",
        "the root may be a link",
        "nginx parses: runs [\"nginx\",\"-t\"]",
        "1 of at most 16 signatures",
    ] {
        assert!(said.contains(line), "{said}\nexpected: {line}");
    }
}

#[test]
fn two_signers_and_one_twice() {
    let bench = Bench::staged();
    bench.build("m.json", &[]);
    let payload = bench.payload("m.json");
    for key in ["a", "b"] {
        bench.key(key);
    }
    for key in ["a", "b", "a"] {
        bench.run(&["release", "sign", "m.json", "--key", key]).succeeded();
    }
    let envelope: Value = serde_json::from_str(&bench.read("m.json")).unwrap();
    assert_eq!(envelope["signatures"].as_array().unwrap().len(), 2);
    assert_eq!(bench.payload("m.json"), payload);
    bench.run(&["release", "verify", "m.json", "--trust", "a.pub", "--trust", "b.pub", "--threshold", "2"]).succeeded();
}

#[test]
fn signers_at_the_same_time_lose_nothing() {
    let bench = Bench::staged();
    bench.build("m.json", &[]);
    let keys: Vec<_> = (0..12).map(|number| format!("key-{number}")).collect();
    keys.iter().for_each(|key| drop(bench.key(key)));
    let sign = |key: &String| {
        let mut command = bench.command(&["release", "sign", "m.json", "--key", key]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let signers: Vec<_> = keys.iter().map(sign).collect();
    for mut signer in signers {
        assert!(signer.wait().unwrap().success());
    }
    let envelope: Value = serde_json::from_str(&bench.read("m.json")).unwrap();
    assert_eq!(envelope["signatures"].as_array().unwrap().len(), 12);
}

#[test]
fn keeps_the_mode_of_the_file() {
    let bench = Bench::signed();
    fs::set_permissions(bench.path("manifest.json"), fs::Permissions::from_mode(0o640)).unwrap();
    bench.run(&["release", "sign", "manifest.json", "--key", "release.key"]).succeeded();
    assert_eq!(fs::metadata(bench.path("manifest.json")).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn refuses_what_a_verifier_would_and_writes_nothing() {
    let bench = Bench::staged();
    bench.key("release.key");
    bench.write_envelope("rule7.json", r#"{"version":1,"product":"p","release":"r","sequence":1,"trees":[{"name":"t","root":"t","extras":"refuse","ignore":[],"attributes":[],"entries":[]}],"checks":[]}"#);
    bench.write_envelope("not.json", "not JSON");
    bench.write("type.json", r#"{"payloadType":"t","payload":"","signatures":[]}"#);
    bench.write("no.json", "{}");
    for (name, reason) in [
        ("rule7.json", "tree `t`: root `t` is not absolute and plain"),
        ("not.json", "(rule 5)"),
        ("type.json", "`payloadType` is `t`"),
        ("no.json", "missing field `payloadType`"),
        ("portcullis.toml", "not a DSSE envelope"),
        ("nowhere.json", "failed to read `nowhere.json`"),
    ] {
        let before = fs::read(bench.path(name)).ok();
        bench.run(&["release", "sign", name, "--key", "release.key"]).refused(reason);
        assert_eq!(fs::read(bench.path(name)).ok(), before);
    }
    bench.build("m.json", &[]);
    bench.run(&["release", "sign", "m.json", "--key", "release.key.pub"]).refused("not an ed25519 private key");
}

#[test]
fn no_more_signatures_than_may_be() {
    let bench = Bench::staged();
    bench.build("m.json", &[]);
    for key in 0..=16 {
        bench.key(&key.to_string());
    }
    for key in 0..16 {
        bench.run(&["release", "sign", "m.json", "--key", &key.to_string()]).succeeded();
    }
    bench.run(&["release", "sign", "m.json", "--key", "16"]).refused("it has 16 signatures, as many as may be");
    bench.run(&["release", "sign", "m.json", "--key", "0"]).succeeded();
}

#[test]
fn a_key_that_others_can_use_is_no_secret() {
    let bench = Bench::signed();
    fs::set_permissions(bench.path("release.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let run = bench.run(&["release", "sign", "manifest.json", "--key", "release.key"]);
    assert!(run.stderr.contains("warning: `release.key` can be used by others than its owner (mode 0644)"), "{run:?}");
    run.succeeded();
}
