//! `release diff`.

use serde_json::{Value, json};

use crate::bench::{Bench, SPEC};

#[test]
fn the_same_but_for_the_name() {
    let bench = Bench::staged();
    bench.build("old.json", &["--sequence", "1"]);
    let next =
        ["release", "build", "--spec", "portcullis.toml", "--release", "R2", "--root", "stage", "--out", "new.json"];
    bench.run(&next).succeeded();
    let run = bench.run(&["release", "diff", "old.json", "new.json"]);
    assert_eq!((run.code, &*run.stdout), (0, ""));
}

#[test]
fn everything_that_can_differ() {
    let bench = Bench::staged();
    bench.build("old.json", &[]);
    bench.write("stage/var/www/app/index.php", "<?php // new\n");
    bench.write("stage/var/www/app/new.php", "");
    std::fs::remove_file(bench.path("stage/var/www/app/lib/a.php")).unwrap();
    bench.write("stage/opt/x/a", "");
    let more = "[[tree]]\nname = \"x\"\nroot = \"/opt/x\"\n";
    bench.write(
        "portcullis.toml",
        SPEC.replace("[\"nginx\"", "[\"/usr/sbin/nginx\"").replace("\"*.pid\"", "\"/run.pid\"") + more,
    );
    bench.build("new.json", &[]);
    let run = bench.run(&["release", "diff", "old.json", "new.json"]);
    let expected = "~ tree app: ignore
~   index.php: content
-   lib/a.php
+   new.php
+ tree x
+   a
~ check nginx parses: command
";
    assert_eq!((run.code, &*run.stdout), (1, expected));
    let run = bench.run(&["release", "diff", "old.json", "new.json", "--json"]);
    let said: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &said["same"]), (1, &json!(false)));
    assert_eq!(said["trees"][0]["entries"][0], json!({"path": "index.php", "change": "changed", "what": ["content"]}));
}

#[test]
fn could_not_tell() {
    let bench = Bench::signed();
    bench.run(&["release", "diff", "manifest.json", "nowhere.json"]).refused("failed to read `nowhere.json`");
    bench.run(&["release", "diff", "portcullis.toml", "manifest.json"]).refused("failed to use `portcullis.toml`");
}
