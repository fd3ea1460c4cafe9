//! `schema/manifest.schema.json` takes what the program builds, and refuses what a schema can.

use std::process::Command;

use serde_json::{Value, json};

use crate::bench::{Bench, Run, python};

const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
print(json.dumps([validator.is_valid(one) for one in json.load(open(sys.argv[2]))]))
"#;

fn valid(bench: &Bench, payloads: &[Value]) -> Vec<bool> {
    bench.write("payloads.json", json!(payloads).to_string());
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/manifest.schema.json");
    let output =
        Command::new(python()).args(["-c", VALIDATE, schema]).arg(bench.path("payloads.json")).output().unwrap();
    serde_json::from_str(&Run::of(output).succeeded()).unwrap()
}

#[test]
fn takes_what_is_built() {
    let bench = Bench::signed();
    std::fs::write(bench.path("stage/var/www/app").join("ü"), "").unwrap();
    bench.build("m.json", &[]);
    assert_eq!(valid(&bench, &[bench.payload("m.json")]), [true]);
}

/// Each of these is refused by the program and by the schema.
#[test]
fn refuses_what_the_program_refuses() {
    let bench = Bench::signed();
    let good = bench.payload("manifest.json");
    let changes: [(&str, Value); 27] = [
        ("/version", json!(2)),
        ("/product", json!("")),
        ("/sequence", json!(-1)),
        ("/sequence", json!(9_007_199_254_740_992_u64)),
        ("/trees/0/root", json!("var")),
        ("/trees/0/root", json!("/var/")),
        ("/trees/0/root", json!("/var/../x")),
        ("/trees/0/extras", json!("maybe")),
        ("/trees/0/ignore", json!([""])),
        ("/trees/0/attributes", json!(["mode", "mode"])),
        ("/trees/0/entries/0/path", json!("/a")),
        ("/trees/0/entries/0/path", json!("a/../b")),
        ("/trees/0/entries/0/path", json!("..")),
        ("/trees/0/entries/0/path", json!("a/")),
        ("/trees/0/entries/0/path", json!("")),
        ("/trees/0/entries/0/type", json!("fifo")),
        ("/trees/0/entries/0/mode", json!("644")),
        ("/trees/0/entries/0/sha256", json!("x")),
        ("/trees/0/entries/1/target", json!("")),
        ("/trees/0/entries/0", json!({"type": "dir", "mode": "0755"})),
        ("/trees/0/entries/0", json!({"path": "a", "path_b64": "/w==", "type": "dir", "mode": "0755"})),
        ("/trees/0/entries/0", json!({"path": "a", "type": "dir", "mode": "0755", "size": 1})),
        ("/trees/0/entries/0", json!({"path": "a", "type": "link", "mode": "0755", "target": "b"})),
        ("/checks/0/kind", json!("magic")),
        ("/checks/0/argv", json!([])),
        ("/checks/0/argv", json!(["./nginx"])),
        ("/checks/0/timeout_ms", json!(0)),
    ];
    let bad: Vec<Value> = changes
        .iter()
        .map(|(at, to)| {
            let mut bad = good.clone();
            *bad.pointer_mut(at).unwrap() = to.clone();
            bad
        })
        .chain([json!({"version": 1}), json!([])])
        .collect();
    for (bad, valid) in bad.iter().zip(valid(&bench, &bad)) {
        assert!(!valid, "the schema takes {bad}");
        bench.write_envelope("bad.json", &bad.to_string());
        assert_eq!(bench.run(&["release", "show", "bad.json"]).code, 2, "the program takes {bad}");
    }
}

/// Of the table of a certificate check, the program and the schema think the same.
#[test]
fn certificates() {
    let bench = Bench::signed();
    let mut payload = bench.payload("manifest.json");
    let (good, bad) = (
        [
            json!({"file": "/a.pem"}),
            json!({"file": "/a.pem", "key": "/a.key", "names": ["a.example", "*.a.example", "::1"], "roots": "system"}),
            json!({"file": "/a.pem", "collection": true, "valid_for": "1m30s", "warn_for": "30d"}),
            json!({"connect": "[::1]:443", "server_name": "a.example", "names": [], "roots": "/ca.pem"}),
        ],
        [
            json!({}),
            json!({"file": "/a.pem", "connect": "a:1"}),
            json!({"file": "a.pem"}),
            json!({"file": "/a.pem", "server_name": "a"}),
            json!({"file": "/a.pem", "roots": "ca.pem"}),
            json!({"file": "/a.pem", "collection": true, "names": []}),
            json!({"file": "/a.pem", "names": ["a b"]}),
            json!({"file": "/a.pem", "valid_for": "7"}),
            json!({"file": "/a.pem", "valid_for": ""}),
            json!({"connect": "a"}),
            json!({"connect": "a:1", "key": "/a.key"}),
            json!({"connect": "a:1", "protocol": "x"}),
        ],
    );
    let tables = good.iter().map(|table| (table, true)).chain(bad.iter().map(|table| (table, false)));
    let payloads: Vec<(Value, bool)> = tables
        .map(|(table, is_good)| {
            payload["checks"] =
                json!([{"name": "c", "kind": "certificate", "certificate": table, "timeout_ms": 1, "scope": "both"}]);
            (payload.clone(), is_good)
        })
        .collect();
    let judged = valid(&bench, &payloads.iter().map(|(payload, _)| payload.clone()).collect::<Vec<_>>());
    for ((payload, is_good), judged) in payloads.iter().zip(judged) {
        let table = &payload["checks"][0]["certificate"];
        assert_eq!(judged, *is_good, "the schema on {table}");
        bench.write_envelope("one.json", &payload.to_string());
        assert_eq!(
            bench.run(&["release", "show", "one.json"]).code,
            if *is_good { 0 } else { 2 },
            "the program on {table}"
        );
    }
}

/// A check of every kind, every field of it given.
const KINDS: &str = r#"
[[check]]
name = "container"
container = { name = "orders", image_digest = "sha256:DIGEST", image = "shop/orders:1", restarts_max = 2, up_for = "10s", healthy = true, socket = "/run/podman/podman.sock" }
[[check]]
name = "http"
http = { url = "https://shop.example.com:8443/a?b=c", connect = "127.0.0.1", method = "GET", headers = { Host = "a" }, status = [200, 204], header_equals = { a = "b" }, header_contains = { a = "b c" }, body_contains = "a", json = { pointer = "/a", equals = 1 }, body_sha256 = "DIGEST", redirects = "follow", roots = "/a.pem" }
[[check]]
name = "listen"
listen = { address = "[::]:443", protocol = "udp", executable = "/usr/sbin/nginx", user = "www-data" }
[[check]]
name = "process"
process = { executable = "/usr/sbin/nginx", user = "0", arguments_contain = "a", count_min = 2, count_max = 3, up_for = "1m30s", fresh = false, newer_than = ["/a"] }
[[check]]
name = "tcp"
tcp = { connect = "[::1]:80", send = "PING\r\n", expect = "+PONG" }
[[check]]
name = "unit"
unit = { unit = "worker@3.service", restarts_max = 0, up_for = "10s" }
after = ["process", "app"]
within = "90s"
for = "10s"
guard = true
[[check]]
name = "web server"
web_server = { server = "haproxy", config = "/etc/haproxy/h.cfg", more_configs = ["/a"], program = "haproxy", pid_file = "/p" }
"#;

#[test]
fn kinds_of_checks() {
    let bench = Bench::signed();
    bench.write("portcullis.toml", format!("{}{}", crate::bench::SPEC, KINDS.replace("DIGEST", &"a".repeat(64))));
    bench.build("m.json", &[]);
    let good = bench.payload("m.json");
    assert_eq!(good["checks"].as_array().unwrap().len(), 8);
    let changes: [(&str, Value); 22] = [
        ("/checks/1/kind", json!("http")),
        ("/checks/1/argv", json!(["true"])),
        ("/checks/1/container/name", json!("../a")),
        ("/checks/1/container/image_digest", json!("latest")),
        ("/checks/2/http/url", json!("ftp://a/")),
        ("/checks/2/http/status", json!([])),
        ("/checks/2/http/status", json!(99)),
        ("/checks/2/http/headers", json!({"a b": "c"})),
        ("/checks/2/http/json/pointer", json!("a")),
        ("/checks/2/http/cookie", json!("a")),
        ("/checks/3/listen/address", json!("localhost:80")),
        ("/checks/4/process/executable", json!("nginx")),
        ("/checks/4/process/up_for", json!("10")),
        ("/checks/5/tcp/connect", json!("a")),
        ("/checks/5/tcp", json!({"connect": "a:1", "send": "b"})),
        ("/checks/6/unit/unit", json!("shop")),
        ("/checks/6/unit", json!({})),
        ("/checks/6/within", json!("soon")),
        ("/checks/7/web_server/server", json!("nginx")),
        ("/checks/7/web_server/config", json!("/a b")),
        ("/checks/7/web_server/prefix", json!("/a")),
        ("/checks/7/web_server/program", json!("./haproxy")),
    ];
    let bad: Vec<Value> = changes
        .iter()
        .map(|(at, to)| {
            let (parent, key) = at.rsplit_once('/').unwrap();
            let mut bad = good.clone();
            bad.pointer_mut(parent).unwrap()[key] = to.clone();
            bad
        })
        .collect();
    let all: Vec<Value> = std::iter::once(good).chain(bad.clone()).collect();
    let valid = valid(&bench, &all);
    assert!(valid[0], "the schema refuses {}", all[0]);
    for ((bad, valid), (at, to)) in bad.iter().zip(&valid[1..]).zip(&changes) {
        assert!(!valid, "the schema takes {to} at {at}");
        bench.write_envelope("bad.json", &bad.to_string());
        assert_eq!(bench.run(&["release", "show", "bad.json"]).code, 2, "the program takes {to} at {at}");
    }
}

/// Texts and templates: what is built is taken, and each way to bend it is refused by both.
#[test]
fn texts_and_templates() {
    let bench = Bench::empty();
    bench.key("release.key");
    let spec = "[[tree]]\nname = \"a\"\nroot = \"/a\"\ntext = true\nrestore = true\ntemplates = [\"*.tmpl\"]\n";
    bench.write("portcullis.toml", spec);
    bench.write("stage/a/b.tmpl", "{{ hostname }}");
    std::fs::create_dir(bench.path("stage/a/c")).unwrap();
    bench.build("m.json", &[]);
    let good = bench.payload("m.json");
    assert_eq!(valid(&bench, std::slice::from_ref(&good)), [true]);
    let changes = [
        ("/trees/0/restore", json!("yes")),
        ("/trees/0/entries/0", json!({"path": "b", "type": "file", "template": "x", "size": 1})),
        ("/trees/0/entries/0", json!({"path": "b", "type": "file", "template": "x", "text": "x"})),
        ("/trees/0/entries/0", json!({"path": "b", "type": "dir", "template": "x"})),
        ("/trees/0/entries/0/template", json!("x".repeat(65_537))),
        ("/trees/0/entries/1/text", json!("x".repeat(65_537))),
        ("/trees/0/entries/2/text", json!("x")),
    ];
    for (at, to) in changes {
        let mut bad = good.clone();
        let (parent, key) = at.rsplit_once('/').unwrap();
        match bad.pointer_mut(parent).unwrap() {
            Value::Array(entries) => entries[key.parse::<usize>().unwrap()] = to,
            object => object[key] = to,
        }
        assert_eq!(valid(&bench, std::slice::from_ref(&bad)), [false], "the schema takes {bad}");
        bench.write_envelope("bad.json", &bad.to_string());
        assert_eq!(bench.run(&["release", "show", "bad.json"]).code, 2, "the program takes {bad}");
    }
}
