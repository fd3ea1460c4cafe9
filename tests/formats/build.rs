//! `release build`.

use std::{fs, os::unix::fs::symlink};

use portcullis::{
    manifest::VerifiedManifest,
    signature::{PublicKey, TrustedKeys},
};
use serde_json::json;

use crate::bench::{Bench, Run, SPEC};

fn trust(bench: &Bench) -> TrustedKeys {
    TrustedKeys::new(vec![PublicKey::from_pem(&bench.read("release.key.pub")).unwrap()], 1).unwrap()
}

#[test]
fn lists_what_is_there() {
    let bench = Bench::staged();
    fs::set_permissions(bench.path("stage/var/www/app/index.php"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
        .unwrap();
    let said = bench.build("manifest.json", &["--sequence", "7"]);
    let payload = bench.payload("manifest.json");
    assert_eq!(payload["product"], "shop");
    assert_eq!(payload["release"], "R1");
    assert_eq!(payload["sequence"], 7);
    let tree = &payload["trees"][0];
    let paths: Vec<_> =
        tree["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["index.php", "latest.php", "lib", "lib/a.php", "storage", "storage/logs"]);
    assert_eq!(tree["root"], "/var/www/app", "where it will be, not where it was staged");
    // printf '<?php\n' | sha256sum
    let sha256 = "00aba3928cd622ad67c0f81ecd5aa8699e07f8f4908c045fe34f6a2dc0067b37";
    assert_eq!(
        tree["entries"][0],
        json!({"path": "index.php", "type": "file", "size": 6, "mode": "0640", "sha256": sha256})
    );
    assert_eq!(tree["entries"][1], json!({"path": "latest.php", "type": "link", "target": "lib/a.php"}));
    assert_eq!(
        payload["checks"],
        json!([{"name": "nginx parses", "kind": "command", "argv": ["nginx", "-t"], "timeout_ms": 10000, "scope": "both"}])
    );
    for line in [
        "product   shop",
        "release   R1",
        "sequence  7",
        "digest    sha256:",
        "app: 6 entries",
        "signed    by nobody yet",
    ] {
        assert!(said.contains(line), "{said}\nexpected: {line}");
    }
    let envelope: serde_json::Value = serde_json::from_str(&bench.read("manifest.json")).unwrap();
    assert_eq!(envelope["signatures"], json!([]));
}

#[test]
fn signs_with_a_key() {
    let bench = Bench::signed();
    let open = VerifiedManifest::open(bench.read("manifest.json").as_bytes(), &trust(&bench)).unwrap();
    assert_eq!(open.manifest.product, "shop");
}

#[test]
fn the_same_twice_is_the_same_bytes() {
    let bench = Bench::staged();
    bench.key("release.key");
    bench.build("a.json", &["--sequence", "7", "--key", "release.key"]);
    bench.build("b.json", &["--sequence", "7", "--key", "release.key"]);
    assert_eq!(bench.read("a.json"), bench.read("b.json"));
}

#[test]
fn sequence() {
    let bench = Bench::staged();
    let usual =
        ["release", "build", "--spec", "portcullis.toml", "--release", "R", "--root", "stage", "--out", "m.json"];
    let with = |epoch: &str, more: &[&str]| {
        Run::of(bench.command(&[&usual, more].concat()).env("SOURCE_DATE_EPOCH", epoch).output().unwrap())
    };
    with("1763640000", &[]).succeeded();
    assert_eq!(bench.payload("m.json")["sequence"], 1_763_640_000);
    with("1763640000", &["--sequence", "9"]).succeeded();
    assert_eq!(bench.payload("m.json")["sequence"], 9, "what is asked for comes first");
    for epoch in ["soon", "-1", "9007199254740992"] {
        with(epoch, &[]).refused("SOURCE_DATE_EPOCH");
    }
    for epoch in [None, Some("")] {
        let mut command = bench.command(&usual);
        epoch.map(|epoch| command.env("SOURCE_DATE_EPOCH", epoch));
        Run::of(command.output().unwrap()).succeeded();
        assert!(bench.payload("m.json")["sequence"].as_u64().unwrap() > 1_763_640_000, "now");
    }
    bench.run(&[&usual[..], &["--sequence", "9007199254740992"]].concat()).refused("--sequence");
}

/// It would have to hold its own digest.
#[test]
fn not_into_a_tree_that_it_describes() {
    let bench = Bench::staged();
    let build = |out: &str| {
        bench.run(&["release", "build", "--spec", "portcullis.toml", "--release", "R", "--root", "stage", "--out", out])
    };
    build("stage/var/www/app/m.json").refused("inside tree `app`");
    assert!(!bench.path("stage/var/www/app/m.json").exists());
    build("stage/var/www/app/m.pid").succeeded();
}

#[test]
fn json() {
    let bench = Bench::staged();
    let said: serde_json::Value = serde_json::from_str(&bench.build("m.json", &["--json"])).unwrap();
    assert_eq!((&said["release"], &said["trees"][0]["entries"]), (&json!("R1"), &json!(6)));
}

#[test]
fn replaces_whole_and_leaves_nothing_behind() {
    let bench = Bench::staged();
    bench.write("manifest.json", "old");
    bench.build("manifest.json", &[]);
    assert_eq!(bench.names(), ["manifest.json", "portcullis.toml", "stage"]);
    symlink("manifest.json", bench.path("link.json")).unwrap();
    bench.build("link.json", &["--sequence", "5"]);
    assert_eq!(bench.payload("manifest.json")["sequence"], 5, "a link stays one");
    assert!(fs::symlink_metadata(bench.path("link.json")).unwrap().is_symlink());
}

#[test]
fn refused_and_nothing_written() {
    let build = ["release", "build", "--spec", "portcullis.toml", "--release", "R1", "--out", "m.json"];
    let staged = [&build[..], &["--root", "stage"]].concat();
    let spec = |spec: &str| {
        let bench = Bench::staged();
        bench.write("portcullis.toml", spec);
        bench
    };
    for (bench, arguments, reason) in [
        (Bench::empty(), &build[..], "failed to read `portcullis.toml`"),
        (
            Bench::staged(),
            &[&build[..], &["--root", "nowhere"]].concat(),
            "failed to read tree `app` in `nowhere/var/www/app`",
        ),
        (Bench::staged(), &[&staged[..], &["--key", "nowhere"]].concat(), "failed to read `nowhere`"),
        (Bench::staged(), &[&staged[..], &["--key", "portcullis.toml"]].concat(), "not an ed25519 private key"),
        (spec("[[tree"), &staged, "failed to use `portcullis.toml`: line 1"),
        (spec(&format!("{SPEC}\nretries = 3")), &staged, "unknown field `retries`"),
        (
            spec(&SPEC.replace("attributes", "templates = [\"*.php\"]\nattributes")),
            &staged,
            "`index.php` is to be a template, but its name does not end with .tmpl",
        ),
        (spec(&SPEC.replace("\"*.pid\"", "\"[\"")), &staged, "pattern `[`"),
        (spec(""), &staged, "hint: add a `[[tree]]`"),
    ] {
        let before = bench.names();
        bench.run(arguments).refused(reason);
        assert_eq!(bench.names(), before);
    }
    let bench = Bench::staged();
    bench
        .run(&["release", "build", "--spec", "portcullis.toml", "--release", "", "--root", "stage", "--out", "m"])
        .refused("`release` must have 1 to 255 bytes");
    let bench = Bench::staged();
    make_fifo(&bench, "stage/var/www/app/pipe");
    bench.run(&staged).refused("pipe");
    assert_eq!(bench.names(), ["portcullis.toml", "stage"]);
}

fn make_fifo(bench: &Bench, name: &str) {
    let status = std::process::Command::new("mkfifo").arg(bench.path(name)).status().unwrap();
    assert!(status.success());
}

#[test]
fn names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::staged();
    fs::write(bench.path("stage/var/www/app").join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "x").unwrap();
    bench.build("m.json", &[]);
    let payload = bench.payload("m.json");
    assert_eq!(payload["trees"][0]["entries"][6]["path_b64"], "//4=");
}

#[test]
fn a_link_never_leads_out_of_the_root() {
    let bench = Bench::staged();
    fs::rename(bench.path("stage/var/www"), bench.path("www")).unwrap();
    let build =
        ["release", "build", "--spec", "portcullis.toml", "--release", "R", "--root", "stage", "--out", "m.json"];
    for target in [bench.path("www"), "../../www".into()] {
        symlink(target, bench.path("stage/var/www")).unwrap();
        bench.run(&build).refused("`stage/var/www/app` leads out of `stage` by a link");
        fs::remove_file(bench.path("stage/var/www")).unwrap();
    }
    fs::rename(bench.path("www"), bench.path("stage/srv")).unwrap();
    symlink("../srv", bench.path("stage/var/www")).unwrap();
    bench.run(&build).succeeded();
}

#[test]
fn the_root_of_everything() {
    let bench = Bench::empty();
    bench.write("portcullis.toml", "[[tree]]\nname = \"all\"\nroot = \"/\"\n");
    bench.write("stage/a", "");
    bench.build("m.json", &[]);
    assert_eq!(bench.payload("m.json")["trees"][0]["entries"][0]["path"], "a");
}

/// Who signs sees how long a check may take to become true, and for how long it must stay so.
#[test]
fn windows_of_checks_are_shown() {
    let bench = Bench::empty();
    bench.write(
        "portcullis.toml",
        "[[tree]]\nname = \"app\"\nroot = \"/app\"\n\n[[check]]\nname = \"both\"\ncommand = [\"true\"]\nwithin = \"90s\"\nfor = \"10s\"\n\n\
         [[check]]\nname = \"soon\"\ntcp = { connect = \"127.0.0.1:80\" }\nwithin = \"5s\"\n",
    );
    bench.write("stage/app/index.php", "x");
    let build =
        ["release", "build", "--spec", "portcullis.toml", "--release", "R", "--root", "stage", "--out", "m.json"];
    let built = bench.run(&build).succeeded();
    let shown = bench.run(&["release", "show", "m.json"]).succeeded();
    for said in [&built, &shown] {
        assert!(said.contains(" ms, true within 1m30s, true for 10s on end\n"), "{said}");
        assert!(said.contains(" ms, true within 5s\n"), "{said}");
    }
}
