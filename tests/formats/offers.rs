//! `release build` says what the configurations of web servers name and no check looks at.

use std::os::unix::fs::symlink;

use crate::bench::Bench;

const BUILD: &[&str] = &["release", "build", "--spec", "portcullis.toml", "--release", "R1", "--out", "manifest.json"];

/// A staged nginx: its site is linked by an absolute path, which means one below the stage.
fn staged() -> Bench {
    let bench = Bench::empty();
    bench.write("portcullis.toml", "[[tree]]\nname = \"nginx\"\nroot = \"/etc/nginx\"\n");
    bench.write("stage/etc/nginx/nginx.conf", "http {\n  include sites/*;\n  include /opt/extra.conf;\n}\n");
    bench.write(
        "stage/etc/nginx/available/shop",
        "server {\n listen 443 ssl;\n server_name shop.example;\n ssl_certificate /etc/ssl/shop.pem;\n}\n",
    );
    bench.write("stage/etc/nginx/sites/.keep", "");
    symlink("/etc/nginx/available/shop", bench.path("stage/etc/nginx/sites/shop")).unwrap();
    bench.write("stage/opt/extra.conf", "upstream app { server 10.0.0.1:8080; }\n");
    bench
}

#[test]
fn below_another_root() {
    let bench = staged();
    let run = bench.run(&[BUILD, &["--root", "stage"]].concat());
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!run.stdout.contains("hint"), "{run:?}");
    for said in [
        "hint: the configuration of nginx in `/etc/nginx/nginx.conf` names what no check looks at",
        "[[check]]  # /etc/nginx/sites/shop:4\nname = \"certificate /etc/ssl/shop.pem\"\n\
         certificate = { file = \"/etc/ssl/shop.pem\", names = [\"shop.example\"] }\n",
        "listen = { address = \"443\" }\n",
        "tcp = { connect = \"10.0.0.1:8080\" }\n",
        "# `/opt/extra.conf` is part of it, and in no tree\n",
    ] {
        assert!(run.stderr.contains(said), "{}\nexpected: {said}", run.stderr);
    }
    assert_eq!(bench.payload("manifest.json")["checks"], serde_json::json!([]), "offered, not taken");
}

/// Of each server: written as the same file, not written, beside it, nowhere.
#[test]
fn keys_in_the_file_of_the_certificate() {
    let bench = Bench::empty();
    bench.write("portcullis.toml", "[[tree]]\nname = \"haproxy\"\nroot = \"/etc/haproxy\"\n");
    let crt = |name: &str| format!("  bind :443 ssl crt /etc/ssl/{name}.pem\n");
    let config = format!("frontend f\n{}{}{}", crt("both"), crt("beside"), crt("none"));
    bench.write("stage/etc/haproxy/haproxy.cfg", config);
    let (certificate, key) = ("-----BEGIN CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\n");
    bench.write("stage/etc/ssl/both.pem", [certificate, key].concat());
    bench.write("stage/etc/ssl/beside.pem", certificate);
    bench.write("stage/etc/ssl/beside.pem.key", key);
    bench.write("stage/etc/ssl/none.pem", certificate);
    let offered = bench.run(&[BUILD, &["--root", "stage"]].concat()).stderr;
    for said in [
        "file = \"/etc/ssl/both.pem\", key = \"/etc/ssl/both.pem\" }",
        "file = \"/etc/ssl/beside.pem\", key = \"/etc/ssl/beside.pem.key\" }",
        "file = \"/etc/ssl/none.pem\" }",
    ] {
        assert!(offered.contains(said), "{offered}\nexpected: {said}");
    }
    let nginx = staged();
    let text = "server {\n ssl_certificate /etc/ssl/a.pem;\n ssl_certificate_key /etc/ssl/a.pem;\n}\n";
    nginx.write("stage/etc/nginx/available/shop", text);
    let offered = nginx.run(&[BUILD, &["--root", "stage"]].concat()).stderr;
    assert!(offered.contains("file = \"/etc/ssl/a.pem\", key = \"/etc/ssl/a.pem\" }"), "{offered}");
}

#[test]
fn what_is_offered_can_be_pasted() {
    let bench = staged();
    bench.write("stage/etc/nginx/available/shop", "server { listen 80; }\n");
    let offered = bench.run(&[BUILD, &["--root", "stage"]].concat()).stderr;
    let tables = &offered[offered.find("[[check]]").unwrap()..];
    bench.write("portcullis.toml", bench.read("portcullis.toml") + tables);
    let run = bench.run(&[BUILD, &["--root", "stage"]].concat());
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!run.stderr.contains("[[check]]"), "all of it is checked now: {}", run.stderr);
    assert_eq!(bench.payload("manifest.json")["checks"].as_array().unwrap().len(), 3);
}

#[test]
fn nothing_where_nothing_is_asked_for_or_found() {
    let bench = staged();
    assert_eq!(bench.run(&[BUILD, &["--root", "stage", "--no-suggestions"]].concat()).stderr, "");
    let run = bench.run(&[BUILD, &["--root", "stage", "--json"]].concat());
    serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap();
    let bench = Bench::staged();
    assert!(!bench.run(&[BUILD, &["--root", "stage"]].concat()).stderr.contains("hint"));
}

#[test]
fn on_the_very_machine() {
    let bench = Bench::empty();
    let root = bench.path("nginx");
    let root = root.to_str().unwrap();
    bench.write("portcullis.toml", format!("[[tree]]\nname = \"nginx\"\nroot = \"{root}\"\n"));
    bench.write("outside.conf", "server { listen 127.0.0.1:8443; }\n");
    let outside = bench.path("outside.conf");
    bench.write("nginx/nginx.conf", format!("http {{ include {}; }}\n", outside.display()));
    let run = bench.run(BUILD);
    assert!(run.stderr.contains("listen = { address = \"127.0.0.1:8443\" }"), "{run:?}");
    assert!(run.stderr.contains(&format!("# `{}` is part of it, and in no tree", outside.display())), "{run:?}");
}

#[test]
fn whatever_is_there_the_build_succeeds() {
    let bench = staged();
    for config in [&b"\xff\xfe{{{{;;}}\"'"[..], b"include nginx.conf; include nginx.conf;", b""] {
        bench.write("stage/etc/nginx/nginx.conf", config);
        assert_eq!(bench.run(&[BUILD, &["--root", "stage"]].concat()).code, 0);
    }
    std::fs::remove_file(bench.path("stage/opt/extra.conf")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("stage/opt/extra.conf"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    bench.write("stage/etc/nginx/nginx.conf", "include /opt/extra.conf;");
    assert_eq!(bench.run(&[BUILD, &["--root", "stage"]].concat()).code, 0);
}
