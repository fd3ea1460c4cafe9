//! `rehearse` on a real application (Debian's wordpress) and a real nginx configuration, with the real agent: what is said to
//! be noticed is, what is missed is said, and the original is never touched.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use portcullis_wire::{Ran, programs, run, top};
use serde_json::Value;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Commands of a release run as nobody, and have to get there.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("scratch")).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn copy(&self, from: &Path, to: &str) {
        assert!(from.is_dir(), "{} is not there: run ./test, which gets it", from.display());
        fs::create_dir_all(self.at(to).parent().unwrap()).unwrap();
        run(Path::new("cp"), [Path::new("-a"), from, &self.at(to)]).exits(0);
    }

    fn cli(&self, words: &[&str]) -> Ran {
        let output = Command::new(&programs().cli).args(words).current_dir(self.folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Rehearses `spec`; the exit code and the report.
    fn rehearse(&self, spec: &str, root: &str, more: &[&str]) -> (Option<i32>, Value) {
        self.write("portcullis.toml", spec);
        let words = ["rehearse", "--json", "--spec", "portcullis.toml", "--scratch", "scratch", "--root", root];
        let ran = self.cli(&[&words[..], more].concat());
        let left = fs::read_dir(self.at("scratch")).unwrap().count();
        assert_eq!(left, 0, "nothing is left behind");
        let report = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        (ran.code, report)
    }
}

/// What was done to things, and with what result, of those that `wanted`.
fn rows<'a>(report: &'a Value, result: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    let text = |row: &'a Value, key: &str| row[key].as_str().unwrap();
    let rows = report["breakages"].as_array().unwrap().iter().filter(move |row| row["result"] == result);
    rows.map(move |row| (text(row, "tree"), text(row, "how"), text(row, "path")))
}

const BOTH: &str = r#"
[[tree]]
name = "wordpress"
root = "/usr/share/wordpress"
attributes = ["mode", "owner"]

[[tree]]
name = "nginx"
root = "/etc/nginx"
attributes = ["mode", "owner"]
"#;

#[test]
fn of_a_real_release_everything_is_noticed_and_the_original_untouched() {
    let bench = Bench::new();
    bench.copy(&top().join("target/debian/wordpress/usr/share/wordpress"), "root/usr/share/wordpress");
    bench.copy(Path::new("/etc/nginx"), "root/etc/nginx");
    // Debian's tree has links; an empty file, a binary and one that is executable are brought along.
    bench.write("root/usr/share/wordpress/empty", "");
    bench.write("root/usr/share/wordpress/run.sh", "#!/bin/sh\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.at("root/usr/share/wordpress/run.sh"), executable).unwrap();
    let list = || {
        run(
            Path::new("sh"),
            [
                "-c".into(),
                format!(
                    "cd {} && find . -printf '%p %m %u %s %T@ %l\\n' | sort && find . -type f -exec sha256sum {{}} + | sort",
                    bench.at("root").display()
                ),
            ],
        )
    };
    let before = list();

    let (code, report) = bench.rehearse(BOTH, "root", &[]);
    assert_eq!(code, Some(0), "{:?}", rows(&report, "missed").collect::<Vec<_>>());
    assert_eq!(rows(&report, "missed").count(), 0);
    let mut ways: Vec<&str> = rows(&report, "noticed").map(|(_, how, _)| how).collect();
    ways.sort_unstable();
    ways.dedup();
    // All but a template's, of which there is none; giving files away takes root.
    let root = run(Path::new("id"), ["-u"]).stdout.trim() == "0";
    assert_eq!(ways.len(), if root { 19 } else { 18 }, "{ways:?}");
    assert!(rows(&report, "noticed").count() > 300, "{}", report["totals"]);
    assert_eq!(list().stdout, before.stdout, "the original is only read");
    assert_eq!(bench.rehearse(BOTH, "root", &[]).1, report, "the same for the same seed");
}

/// The broken twins: a spec that looks away, in every way there is.
#[test]
fn what_a_spec_does_not_look_at_is_missed_and_said() {
    let bench = Bench::new();
    for (path, content) in
        [("index.php", "<?php a"), ("lib/b.php", "<?php b"), ("logs/today.log", "x"), ("c.txt", "text")]
    {
        bench.write(&format!("root/srv/app/{path}"), content);
    }
    let tree = "[[tree]]\nname = \"app\"\nroot = \"/srv/app\"\n";
    let (code, report) = bench.rehearse(&format!("{tree}attributes = [\"mode\", \"owner\"]"), "root", &["--all"]);
    assert_eq!((code, rows(&report, "missed").count()), (Some(0), 0), "{report:#}");

    let loose = format!("{tree}extras = \"allow\"\nignore = [\"logs/**\", \"*.pid\"]\n");
    let (code, report) = bench.rehearse(&loose, "root", &["--all"]);
    assert_eq!(code, Some(1));
    let missed: Vec<_> = rows(&report, "missed").collect();
    for (how, path) in [
        ("extra file", "portcullis-rehearsal.php"),
        ("extra file", "lib/portcullis-rehearsal.php"),
        ("extra file", "logs/rehearsal.php"),
        ("extra file", "rehearsal.pid"),
        ("execute bit flipped", "index.php"),
        ("writable for everybody", "lib"),
    ] {
        assert!(missed.contains(&("app", how, path)), "{how} {path}: {missed:?}");
    }
    assert!(missed.iter().all(|(_, how, _)| {
        ["extra file", "execute bit flipped", "writable for everybody", "another owner"].contains(how)
    }));
    let whys = report["breakages"].as_array().unwrap().iter().filter_map(|row| row["why"].as_str());
    let whys: std::collections::BTreeSet<&str> = whys.collect();
    for why in ["ignored by `logs/**`", "ignored by `*.pid`", "extras are allowed", "modes are not compared"] {
        assert!(whys.contains(why), "{whys:?}");
    }
    let (code, report) = bench.rehearse(&loose, "root", &["--all", "--accept", "ignored,extras,mode,owner"]);
    assert_eq!((code, rows(&report, "accepted").count()), (Some(0), missed.len()), "what is accepted is still told");
}

#[test]
fn a_copy_that_does_not_pass_is_not_broken_further() {
    let bench = Bench::new();
    bench.write("root/srv/app/index.php", "<?php a");
    bench.write("portcullis.toml", "[[tree]]\nname = \"app\"\nroot = \"/srv/app\"\n");
    bench.cli(&["key", "generate", "--out", "k"]).exits(0);
    let build = [
        "release",
        "build",
        "--spec",
        "portcullis.toml",
        "--release",
        "1",
        "--root",
        "root",
        "--out",
        "m.json",
        "--key",
        "k",
    ];
    bench.cli(&build).exits(0);
    let rehearse = ["rehearse", "--manifest", "m.json", "--trust", "k.pub", "--root", "root", "--trees-only"];
    bench.cli(&rehearse).exits(1);
    bench.write("root/srv/app/index.php", "<?php other");
    let ran = bench.cli(&rehearse);
    assert_eq!(ran.exits(2), "");
    assert!(
        ran.stderr.contains("does not pass before anything is broken") && ran.stderr.contains("index.php content"),
        "{ran:?}"
    );
    for (words, said) in [
        (&["rehearse", "--manifest", "m.json", "--root", "root"][..], "--trust"),
        (&["rehearse", "--root", "root"], "--manifest"),
        (&["rehearse", "--spec", "portcullis.toml", "--root", "absent"], "failed to"),
        (&["rehearse", "--spec", "portcullis.toml", "--root", "root", "--agent", "/absent"], "/absent"),
    ] {
        let ran = bench.cli(words);
        ran.exits(2);
        assert!(ran.stderr.contains(said), "{words:?}: {ran:?}");
    }
}

/// A real nginx parses its configuration where it really lies: the copy is there for the one run, and nobody else sees it.
#[test]
fn commands_are_seen_failing() {
    let bench = Bench::new();
    let site = bench.at("live");
    let config = format!(
        "pid {0}/t/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {0}/t/a;\n  \
         proxy_temp_path {0}/t/b;\n  fastcgi_temp_path {0}/t/c;\n  uwsgi_temp_path {0}/t/d;\n  scgi_temp_path {0}/t/e;\n  \
         include {1}/*.conf;\n}}\n",
        bench.folder.path().display(),
        site.display()
    );
    fs::create_dir(bench.at("t")).unwrap();
    fs::set_permissions(bench.at("t"), fs::Permissions::from_mode(0o777)).unwrap();
    bench.write("live/main", &config);
    bench.write("live/site.conf", "server { listen 127.0.0.1:8080; }\n");
    bench.copy(&site, &format!("root{}", site.display()));
    let spec = format!(
        "[[tree]]\nname = \"nginx\"\nroot = \"{0}\"\nattributes = [\"mode\", \"owner\"]\n\n\
         [[check]]\nname = \"nginx parses\"\ncommand = [\"nginx\", \"-t\", \"-e\", \"stderr\", \"-c\", \"{0}/main\"]\n\n\
         [[check]]\nname = \"answers\"\ntcp = {{ connect = \"127.0.0.1:1\" }}\n",
        site.display()
    );
    let (code, report) = bench.rehearse(&spec, "root", &[]);
    assert_eq!(code, Some(0), "{report:#}");
    let [nginx, answers] = report["checks"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!((&nginx["result"], &answers["result"]), (&"noticed".into(), &"not rehearsed".into()), "{report:#}");
    assert!(nginx["when"].as_str().unwrap().contains("site.conf is replaced"), "{nginx}");
    assert_eq!(fs::read_to_string(site.join("main")).unwrap(), config, "the real one was never touched");
    // One that does not pass even unbroken: nothing is known of it, whatever else is noticed.
    let failing = spec.replace("[\"nginx\", \"-t\",", "[\"false\", \"-t\",");
    let (code, report) = bench.rehearse(&failing, "root", &[]);
    assert_eq!((code, &report["all_noticed"]), (Some(2), &false.into()), "{report:#}");
    assert_eq!((&report["totals"]["missed"], &report["totals"]["checks_unclear"]), (&0.into(), &1.into()));
    assert!(report["error"].as_str().unwrap().contains("`nginx parses`: it does not pass"), "{report:#}");
    let ran = bench.cli(&["rehearse", "--spec", "portcullis.toml", "--root", "root"]);
    ran.exits(2);
    let error = "error: failed to rehearse check `nginx parses`: it does not pass even before anything is broken: ";
    assert!(ran.stderr.contains(error), "{ran:?}");
    bench.cli(&["rehearse", "--spec", "portcullis.toml", "--root", "root", "--trees-only"]).exits(0);
    // The broken twin: a command that no breakage of files makes fail. It counts, whatever is accepted of trees.
    bench.write("portcullis.toml", &spec.replace("[\"nginx\", \"-t\",", "[\"true\", \"-t\","));
    let accept = ["rehearse", "--spec", "portcullis.toml", "--root", "root", "--accept", "ignored,extras,mode,owner"];
    let ran = bench.cli(&accept);
    let summary = "\n2 other checks: 0 seen failing, 1 missed something, 1 not rehearsed, 0 unclear\n";
    assert!(ran.exits(1).contains(summary), "{ran:?}");
    let (code, report) = bench.rehearse(&spec.replace("[\"nginx\", \"-t\",", "[\"true\", \"-t\","), "root", &[]);
    assert_eq!((code, &report["checks"][0]["result"]), (Some(1), &"missed".into()), "{report:#}");
}

/// Certificates are replaced by such as nobody should take; a check that does not say its names or its key lets some of
/// them pass, and that is said.
#[test]
fn certificates_that_should_not_pass() {
    let bench = Bench::new();
    let site = bench.at("live");
    fs::create_dir(&site).unwrap();
    let openssl = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=site.example \
                   -addext subjectAltName=DNS:site.example -keyout site.key -out site.pem";
    let made = Command::new("sh").args(["-c", openssl]).current_dir(&site).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    bench.copy(&site, &format!("root{}", site.display()));
    let spec = format!(
        "[[tree]]\nname = \"tls\"\nroot = \"{0}\"\nattributes = [\"mode\", \"owner\"]\n\n[[check]]\nname = \"site\"\n\
         certificate = {{ file = \"{0}/site.pem\", key = \"{0}/site.key\", names = [\"site.example\"] }}\n",
        site.display()
    );
    let (code, report) = bench.rehearse(&spec, "root", &[]);
    assert_eq!(code, Some(0), "{report:#}");
    let said = report["checks"][0]["said"].as_str().unwrap();
    for what in ["expired: ", "not yet valid: ", "for another name: ", "of another key: ", "cut in half: "] {
        assert!(said.contains(what), "{said}");
    }
    let careless = format!("{{ file = \"{}/site.pem\" }}", site.display());
    let careful = spec.split("certificate = ").nth(1).unwrap().trim();
    let (code, report) = bench.rehearse(&spec.replace(careful, &careless), "root", &[]);
    assert_eq!(
        (code, &report["checks"][0]["why"]),
        (Some(1), &"for another name, of another key".into()),
        "{report:#}"
    );
}

/// What is wrong with a certificate is told apart: that one is signed by itself says nothing of its name, nor of its key.
#[test]
fn certificates_are_wrong_in_one_way_at_a_time() {
    let bench = Bench::new();
    let site = bench.at("live");
    fs::create_dir(&site).unwrap();
    let openssl = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=ca \
                   -addext basicConstraints=critical,CA:true -addext keyUsage=keyCertSign -keyout ../ca.key -out ca.pem && \
                   openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=site.example \
                   -addext subjectAltName=DNS:site.example -keyout ../site.key -out ../site.csr && \
                   openssl x509 -req -in ../site.csr -CA ca.pem -CAkey ../ca.key -CAcreateserial -CAserial ../serial -days 90 \
                   -copy_extensions copy -out site.pem";
    let made = Command::new("sh").args(["-c", openssl]).current_dir(&site).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    bench.copy(&site, &format!("root{}", site.display()));
    for (more, code, why) in [
        ("", Some(1), "for another name, of another key"),
        (", names = [\"site.example\"]", Some(1), "of another key"),
        // The key lies in no tree.
        (", key = \"KEY\"", Some(1), "for another name"),
        (", key = \"KEY\", names = [\"site.example\"]", Some(0), ""),
    ] {
        let more = more.replace("KEY", bench.at("site.key").to_str().unwrap());
        let spec = format!(
            "[[tree]]\nname = \"tls\"\nroot = \"{0}\"\nattributes = [\"mode\", \"owner\"]\n\n[[check]]\nname = \"site\"\n\
             certificate = {{ file = \"{0}/site.pem\", roots = \"{0}/ca.pem\"{more} }}\n",
            site.display()
        );
        let (came, report) = bench.rehearse(&spec, "root", &[]);
        let check = &report["checks"][0];
        assert_eq!((came, check["why"].as_str().unwrap_or_default()), (code, why), "{more}: {report:#}");
        let said = format!("{} {}", check["said"], check["when"]);
        for what in ["expired", "not yet valid", "signed by itself", "cut in half"] {
            assert!(said.contains(what), "{more}: {what}: {check:#}");
        }
    }
}
