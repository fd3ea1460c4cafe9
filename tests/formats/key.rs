//! `key generate`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use portcullis::signature::{PublicKey, SigningKey};

use crate::bench::Bench;

#[test]
fn writes_a_pair_and_says_its_id() {
    let bench = Bench::empty();
    let id = bench.key("release.key");
    assert_eq!(bench.names(), ["release.key", "release.key.pub"]);
    let key = SigningKey::from_pem(&bench.read("release.key")).unwrap();
    let public = PublicKey::from_pem(&bench.read("release.key.pub")).unwrap();
    assert_eq!(key.public(), public);
    assert_eq!(public.key_id(), id);
    let mode = |name| fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("release.key"), 0o600);
    assert_eq!(mode("release.key.pub") & 0o600, 0o600);
    assert!(bench.read("release.key").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(bench.read("release.key.pub").starts_with("-----BEGIN PUBLIC KEY-----\n"));
}

#[test]
fn two_keys_differ() {
    let bench = Bench::empty();
    assert_ne!(bench.key("a"), bench.key("b"));
}

#[test]
fn never_overwrites() {
    for in_the_way in ["release.key", "release.key.pub"] {
        let bench = Bench::empty();
        bench.write(in_the_way, "precious");
        bench.run(&["key", "generate", "--out", "release.key"]).refused(&format!("`{in_the_way}` exists"));
        assert_eq!(bench.names(), [in_the_way], "nothing else was written");
        assert_eq!(bench.read(in_the_way), "precious");
    }
    let bench = Bench::empty();
    std::os::unix::fs::symlink("elsewhere", bench.path("release.key.pub")).unwrap();
    bench.run(&["key", "generate", "--out", "release.key"]).refused("`release.key.pub` exists");
    assert_eq!(bench.names(), ["release.key.pub"]);
}

#[test]
fn cannot_be_written() {
    let bench = Bench::empty();
    bench.run(&["key", "generate", "--out", "nowhere/release.key"]).refused("failed to create `nowhere/release.key`");
}
