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
