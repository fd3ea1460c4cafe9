//! `release build` with `text`, `secret` and `templates`; and who is told of them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::bench::{Bench, Run};

/// A server's configuration below `stage/etc/nginx`, and what the spec says of it besides `text = true`.
fn bench(more: &str) -> Bench {
    let bench = Bench::empty();
    bench.write(
        "portcullis.toml",
        format!("[[tree]]\nname = \"nginx\"\nroot = \"/etc/nginx\"\ntext = true\nattributes = [\"mode\"]\n{more}"),
    );
    bench.write("stage/etc/nginx/nginx.conf", "include conf.d/*.conf;\n");
    bench.write("stage/etc/nginx/conf.d/site.conf", "listen 80;\n");
    bench
}

fn refused(bench: &Bench, reason: &str) {
    let build =
        ["release", "build", "--spec", "portcullis.toml", "--release", "R", "--root", "stage", "--out", "m.json"];
    bench.run(&build).refused(reason);
    assert!(!bench.path("m.json").exists());
}

/// The entry of that path.
fn entry(bench: &Bench, path: &str) -> Value {
    let entries = bench.payload("m.json")["trees"][0]["entries"].as_array().unwrap().clone();
    entries.into_iter().find(|entry| entry["path"] == path).unwrap_or_default()
}

fn build(bench: &Bench) -> Run {
    Run::of(
        bench
            .command(&[
                "release",
                "build",
                "--spec",
                "portcullis.toml",
                "--release",
                "R",
                "--root",
                "stage",
                "--out",
                "m.json",
            ])
            .output()
            .unwrap(),
    )
}

#[test]
fn small_texts_are_kept_as_they_are() {
    let bench = bench("");
    let at = |name: &str| format!("stage/etc/nginx/{name}");
    bench.write(&at("bom.conf"), "\u{feff}größe\r\n\t\u{1b}x");
    bench.write(&at("empty.conf"), "");
    bench.write(&at("just.conf"), "x".repeat(64 << 10));
    bench.write(&at("large.conf"), "x".repeat((64 << 10) + 1));
    bench.write(&at("latin1.conf"), b"gr\xf6\xdfe");
    bench.write(&at("nul.conf"), "a\0b");
    build(&bench).succeeded();
    for (path, text) in [
        ("nginx.conf", json!("include conf.d/*.conf;\n")),
        ("conf.d/site.conf", json!("listen 80;\n")),
        ("bom.conf", json!("\u{feff}größe\r\n\t\u{1b}x")),
        ("empty.conf", json!("")),
        ("just.conf", json!("x".repeat(64 << 10))),
        ("large.conf", Value::Null),
        ("latin1.conf", Value::Null),
        ("nul.conf", Value::Null),
        ("conf.d", Value::Null),
    ] {
        assert_eq!(entry(&bench, path)["text"], text, "{path}");
        assert_eq!(entry(&bench, path)["path"], path);
    }
}

#[test]
fn secrets_are_not_kept_and_that_is_said() {
    let bench = bench("secret = [\"upstream*\", \"private/\"]\n");
    let at = |name: &str| format!("stage/etc/nginx/{name}");
    let secrets = [
        ("site.key", "anything", "a private key"),
        ("fullchain.pem", "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n", "a private key"),
        (".htpasswd", "joe:tiger", "a list of passwords"),
        ("users", "joe:$apr1$abcdefgh$0123456789abcdefghijkl\n", "a list of passwords"),
        ("upstream.conf", "server db;", "marked `secret`"),
        ("private/notes", "hello", "marked `secret`"),
    ];
    for (name, content, _) in secrets {
        bench.write(&at(name), content);
    }
    let run = build(&bench);
    for (name, content, because) in secrets {
        assert!(entry(&bench, name)["sha256"].is_string(), "{name} is listed all the same");
        assert!(entry(&bench, name)["text"].is_null(), "{name}");
        assert!(!bench.payload("m.json").to_string().contains(content.trim_end()), "{name}");
        let warning = format!("warning: tree `nginx`: the text of `{name}` is not kept: {because}\n");
        assert!(run.stderr.contains(&warning), "{warning}{run:?}");
    }
    assert_eq!(entry(&bench, "nginx.conf")["text"], "include conf.d/*.conf;\n");
    run.succeeded();
}

/// Warnings name the first of them; JSON names all.
#[test]
fn everything_withheld_can_be_seen() {
    let bench = bench("secret = [\"upstream*\", \"!upstream.txt\", \"typo*\", \"conf.d/\"]\n");
    (0..22).for_each(|n| bench.write(&format!("stage/etc/nginx/a{n:02}.key"), "x"));
    bench.write("stage/etc/nginx/upstream", "x");
    let words =
        ["release", "build", "--spec", "portcullis.toml", "--release", "R", "--root", "stage", "--out", "m.json"];
    let run = bench.run(&[&words[..], &["--json"]].concat());
    assert_eq!(run.stderr.matches("is not kept: ").count(), 20, "{run:?}");
    assert!(run.stderr.contains("tree `nginx`: nor are the texts of 4 more files: `--json` names all\n"), "{run:?}");
    // A pattern that says nothing may be a slip of the pen.
    assert!(run.stderr.contains("warning: tree `nginx`: no file matches `typo*` of `secret`\n"), "{run:?}");
    assert_eq!(run.stderr.matches("no file matches").count(), 1, "{run:?}");
    let said: Value = serde_json::from_str(&run.succeeded()).unwrap();
    let withheld = said["withheld"].as_array().unwrap();
    assert_eq!(withheld.len(), 24);
    assert_eq!(withheld[0], json!({"tree": "nginx", "path": "a00.key", "because": "a private key"}));
}

/// Texts are kept in the order of their paths until there is no room.
#[test]
fn all_texts_together_are_bounded() {
    let bench = bench("");
    for n in 0..257 {
        bench.write(&format!("stage/etc/nginx/t{n:03}"), "x".repeat(64 << 10));
    }
    let run = build(&bench);
    assert!(run.stderr.contains("the texts of 2 files are not kept: all together would have more than 16.00 MiB"));
    assert!(entry(&bench, "t000")["text"].is_string() && entry(&bench, "t256")["text"].is_null());
    run.succeeded();
}

#[test]
fn a_template_stands_for_what_is_rendered_from_it() {
    let bench = bench("templates = [\"conf.d/*.tmpl\", \"*.in\"]\n");
    let template = "server_name {{ hostname }};\n# {{{{ literal\n";
    bench.write("stage/etc/nginx/conf.d/site.conf.tmpl", template);
    bench.write("stage/etc/nginx/id.in", "{{instance}}");
    let mode = |name: &str, mode| {
        fs::set_permissions(bench.path("stage/etc/nginx").join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("conf.d/site.conf", 0o600);
    mode("conf.d/site.conf.tmpl", 0o640);
    mode("id.in", 0o444);
    let said = build(&bench).succeeded();
    // In the place of the file that this machine has, with the template's mode.
    let expected = json!({"path": "conf.d/site.conf", "type": "file", "mode": "0640", "template": template});
    assert_eq!(entry(&bench, "conf.d/site.conf"), expected);
    assert_eq!(entry(&bench, "id"), json!({"path": "id", "type": "file", "mode": "0444", "template": "{{instance}}"}));
    // The template is a file like any other.
    assert_eq!(entry(&bench, "conf.d/site.conf.tmpl")["text"], template);
    assert!(said.contains("renders 2 templates"), "{said}");

    // Where the tree ignores it, it is a template all the same, and no file.
    bench.write("portcullis.toml", bench.read("portcullis.toml") + "ignore = [\"*.tmpl\", \"*.in\"]\n");
    build(&bench).succeeded();
    assert_eq!(entry(&bench, "conf.d/site.conf"), expected);
    assert_eq!(entry(&bench, "conf.d/site.conf.tmpl"), Value::Null);
}

type Change = fn(&Bench);

#[test]
fn templates_that_are_none() {
    let rows: &[(&str, Change, &str)] = &[
        (
            "malformed",
            |b| b.write("stage/etc/nginx/a.tmpl", "x\n{{ Host }}"),
            "`a.tmpl` is no template: line 2: `{{` begins no place for a fact",
        ),
        ("not text", |b| b.write("stage/etc/nginx/a.tmpl", b"\xff"), "`a.tmpl` is a template, but not UTF-8 text"),
        ("too large", |b| b.write("stage/etc/nginx/a.tmpl", "x".repeat((64 << 10) + 1)), "template of more than 65536"),
        ("no name left", |b| b.write("stage/etc/nginx/.tmpl", ""), "`.tmpl` is to be a template, but its name"),
        (
            "secret by name",
            |b| b.write("stage/etc/nginx/site.key.tmpl", "x"),
            "`site.key.tmpl` is a template, and a private key: a template travels as text",
        ),
        ("secret by the spec", |b| b.write("stage/etc/nginx/hidden.tmpl", "x"), "is a template, and marked `secret`"),
        (
            "secret by content",
            |b| b.write("stage/etc/nginx/a.tmpl", "-----BEGIN PRIVATE KEY-----"),
            "is a template, and a private key",
        ),
        (
            "two for one",
            |b| {
                b.write("stage/etc/nginx/a.tmpl", "x");
                b.write("stage/etc/nginx/a.tpl", "x");
            },
            "`a` is rendered from two templates",
        ),
        (
            "a directory in its place",
            |b| b.write("stage/etc/nginx/conf.d.tmpl", "x"),
            "`conf.d` is rendered from a template, but is no file here",
        ),
        ("a template of a template", |b| b.write("stage/etc/nginx/a.tpl.tmpl", "x"), "would itself be one"),
        (
            "ignored",
            |b| b.write("stage/etc/nginx/x.pid.tmpl", ""),
            "`x.pid` is rendered from a template, but the tree ignores it",
        ),
        (
            "in an ignored directory",
            |b| b.write("stage/etc/nginx/cache/x.tmpl", ""),
            "`cache/x` is rendered from a template, but the tree ignores it",
        ),
        (
            "a link",
            |b| std::os::unix::fs::symlink("nginx.conf", b.path("stage/etc/nginx/a.tmpl")).unwrap(),
            "`a.tmpl` is no file, and cannot be a template",
        ),
    ];
    for (name, change, reason) in rows {
        let spec = "templates = [\"*.tmpl\", \"*.tpl\"]\nsecret = [\"hidden\"]\nignore = [\"*.pid\", \"cache/\"]\n";
        let bench = bench(spec);
        change(&bench);
        eprintln!("{name}");
        refused(&bench, reason);
    }
    let unused = bench("templates = [\"*.tmpl\"]\n");
    assert!(build(&unused).stderr.contains("warning: tree `nginx`: no file matches `templates`"));
}

#[test]
fn whoever_reads_a_manifest_sees_what_it_keeps() {
    let bench = bench("restore = true\ntemplates = [\"*.tmpl\"]\n");
    bench.write("stage/etc/nginx/a.tmpl", "{{ ipv4 }}");
    bench.write("stage/etc/nginx/site.key", "x");
    bench.key("release.key");
    build(&bench).succeeded();
    let kept = ["keeps the text of 3 files (44 B)", "renders 1 template\n"];
    let undone = "edits that break a guard are undone: in 4 of 5 files";
    let sign = bench.run(&["release", "sign", "m.json", "--key", "release.key"]).succeeded();
    let show = bench.run(&["release", "show", "m.json"]).succeeded();
    for said in [&sign, &show] {
        assert!(kept.iter().all(|line| said.contains(line)) && said.contains(undone), "{said}");
    }
    let verify = ["release", "verify", "m.json", "--trust", "release.key.pub"];
    let said = bench.run(&verify).succeeded();
    assert!(kept.iter().all(|line| said.contains(&format!("tree      nginx: {line}"))), "{said}");
    let json: Value = serde_json::from_str(&bench.run(&[&verify[..], &["--json"]].concat()).succeeded()).unwrap();
    assert_eq!((&json["trees"][0]["texts"], &json["trees"][0]["templates"]), (&json!(3), &json!(1)));
}
