//! `release learn` on two instances of a real application (Debian's wordpress) behind a real nginx configuration: what it
//! proposes is accepted as it is, and both instances pass.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use portcullis_wire::{Ran, programs, run, top};

/// Two instances below a scratch folder, and what they differ in.
struct Pair {
    folder: tempfile::TempDir,
}

const APP: &str = "usr/share/wordpress";

impl Pair {
    fn new() -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        for instance in ["a", "b"] {
            pair.copy(&top().join("target/debian/wordpress/usr/share/wordpress"), instance, APP);
            pair.copy(Path::new("/etc/nginx"), instance, "etc/nginx");
            pair.write(instance, "etc/nginx/sites-available/default", "server { root /usr/share/wordpress; }\n");
            // What comes and goes, and what visitors bring.
            pair.write(instance, &format!("{APP}/wp-content/uploads/2026/{instance}.jpg"), "jpeg");
            pair.write(instance, &format!("{APP}/wp-content/cache/page/{instance}.png"), instance);
            pair.write(instance, &format!("{APP}/wp-content/debug.log"), instance);
            pair.write(instance, &format!("{APP}/wp-content/debug.log.1"), instance);
        }
        pair
    }

    fn copy(&self, from: &Path, instance: &str, to: &str) {
        assert!(from.is_dir(), "{} is not there: run ./test, which gets it", from.display());
        let to = self.at(instance).join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        run(Path::new("cp"), [Path::new("-a"), from, &to]).exits(0);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, instance: &str, path: &str, content: &str) {
        let path = self.at(instance).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs the operator's command in the scratch folder.
    fn cli(&self, words: &[&str]) -> Ran {
        let program = &programs().cli;
        let output = std::process::Command::new(program).args(words).current_dir(self.folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn learn(&self) -> Ran {
        self.cli(&["release", "learn", "--root", "a", "--root", "b"])
    }

    /// Builds and signs from one instance, with `spec`.
    fn build(&self, spec: &str, root: &str) {
        fs::write(self.at("portcullis.toml"), spec).unwrap();
        if !self.at("release.key").exists() {
            self.cli(&["key", "generate", "--out", "release.key"]).exits(0);
        }
        let words = ["release", "build", "--spec", "portcullis.toml", "--release", "1", "--key", "release.key"];
        self.cli(&[&words[..], &["--root", root, "--out", "manifest.json"]].concat()).exits(0);
    }

    fn check(&self, instance: &str) -> Ran {
        let paths = [self.at("manifest.json"), self.at("release.key.pub"), self.at(instance)];
        let [manifest, trust, root] = paths.map(PathBuf::into_os_string);
        let words = ["check", "--trees-only", "--manifest"].map(Into::into).into_iter().chain([manifest]);
        run(&programs().agent, words.chain(["--trust".into(), trust, "--root".into(), root]))
    }
}

#[test]
fn what_is_learned_of_two_is_accepted_and_both_pass() {
    let pair = Pair::new();
    let learned = pair.learn();
    let spec = learned.exits(0);
    assert_eq!(learned.stderr, "", "nothing is left to decide");
    for line in [
        "root = \"/etc/nginx\"",
        "root = \"/usr/share/wordpress\"",
        "\"wp-content/uploads/**\",   # ",
        "\"wp-content/cache/**\",   # ",
        "\"wp-content/*.log\",   # ",
        "\"wp-content/*.log.[0-9]\",   # ",
        "attributes = [\"mode\", \"owner\"]",
        "text = true",
    ] {
        assert!(spec.contains(line), "{spec}\nexpected: {line}");
    }
    assert_eq!(pair.learn().exits(0), spec, "the same twice");
    pair.build(spec, "a");
    pair.check("a").exits(0);
    pair.check("b").exits(0);
    // What it ignores, it ignores; what it does not, it finds: in both trees, and beside what is ignored.
    for path in
        ["etc/nginx/conf.d/new.conf", "usr/share/wordpress/wp-content/shell.php", "usr/share/wordpress/index.php"]
    {
        let file = pair.at("b").join(path);
        let was = fs::read(&file).ok();
        pair.write("b", path, "<?php // changed");
        let ran = pair.check("b");
        assert!(ran.exits(1).contains(path.rsplit('/').next().unwrap()), "{ran:?}");
        match was {
            Some(was) => fs::write(&file, was).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
    }
    pair.check("b").exits(0);
}

/// What facts explain becomes a template, which a release is built with, and both instances pass with their own facts only.
#[test]
fn a_template_is_found_and_used() {
    let pair = Pair { folder: tempfile::tempdir().unwrap() };
    for instance in ["a", "b"] {
        pair.write(
            instance,
            "etc/nginx/site.conf",
            &format!("add_header X-Instance i-0{instance}{instance} always;\n"),
        );
        pair.write(instance, "etc/nginx/mime.types", "types {}\n");
    }
    let facts = ["--facts", "instance=i-0aa", "--facts", "instance=i-0bb"];
    let words =
        ["release", "learn", "--root", "a", "--root", "b", "--tree", "/etc/nginx", "--templates-dir", "staging"];
    let learned = pair.cli(&[&words[..], &facts].concat());
    let spec = learned.exits(0);
    assert_eq!(learned.stderr, "");
    assert!(spec.contains("templates = [\"/site.conf.tmpl\"]"), "{spec}");
    let template = fs::read_to_string(pair.at("staging/etc/nginx/site.conf.tmpl")).unwrap();
    assert_eq!(template, "add_header X-Instance {{ instance }} always;\n");
    pair.write("staging", "etc/nginx/mime.types", "types {}\n");
    pair.build(spec, "staging");
    for (instance, fact, code) in [("a", "i-0aa", 0), ("b", "i-0bb", 0), ("b", "i-0aa", 1)] {
        let paths = [pair.at("manifest.json"), pair.at("release.key.pub"), pair.at(instance)];
        let [manifest, trust, root] = paths.map(PathBuf::into_os_string);
        let words = ["check", "--manifest"].map(Into::into).into_iter().chain([manifest, "--trust".into(), trust]);
        let fact = format!("instance={fact}").into();
        run(&programs().agent, words.chain(["--root".into(), root, "--trees-only".into(), "--fact".into(), fact]))
            .exits(code);
    }
    let rehearse = [
        "rehearse",
        "--spec",
        "portcullis.toml",
        "--root",
        "staging",
        "--trees-only",
        "--fact",
        "instance=i-0cc",
        "--accept",
        "ignored",
    ];
    let ran = pair.cli(&rehearse);
    assert!(ran.exits(0).contains("template not rendered                1       0"), "{ran:?}");
}

/// Only what is known to be data is ignored: by its name, and by how it begins.
#[test]
fn what_is_not_known_to_be_data_is_asked_about() {
    let pair = Pair { folder: tempfile::tempdir().unwrap() };
    let asked = [
        "server.crt",
        "authorized_keys",
        "Makefile",
        "Dockerfile",
        "a.php7",
        "a.phtml",
        "a.phar",
        "logo.svg",
        "a.log.php",
        "cache/noext",
        "cache/shell.jpg",
        "logs/shell.log",
    ];
    for instance in ["a", "b"] {
        for name in asked {
            pair.write(instance, &format!("srv/app/{name}"), &format!("<?php // {instance}"));
        }
        for name in ["app.pid", "cache/1.png", "cache/2.png", "logs/app.log"] {
            pair.write(instance, &format!("srv/app/{name}"), &format!("{instance} 1\n<?php"));
        }
        pair.write(instance, "srv/app/cache/1.png", instance);
        pair.write(instance, "srv/app/cache/2.png", instance);
    }
    let learned = pair.cli(&["release", "learn", "--root", "a", "--root", "b", "--tree", "/srv/app"]);
    let spec = learned.exits(0);
    for name in asked {
        assert!(spec.contains(&format!("# differs: {name}: another content; may be code")), "{name}: {spec}");
    }
    assert!(learned.stderr.contains("12 things are left for you to decide"), "{}", learned.stderr);
    // What was not decided is found, and what is ignored is not.
    pair.build(spec, "a");
    let ran = pair.check("b");
    let found = ran.exits(1);
    for name in asked {
        assert!(found.contains(name), "{name}: {found}");
    }
    assert!(!found.contains("app.pid") && !found.contains("1.png") && !found.contains("app.log"), "{found}");
}

#[test]
fn the_same_instance_twice_says_nothing_and_that_is_said() {
    let pair = Pair { folder: tempfile::tempdir().unwrap() };
    pair.write("a", "srv/app/index.php", "x");
    let words = ["release", "learn", "--root", "a", "--tree", "/srv/app", "--facts", "instance=i-1", "--save"];
    pair.cli(&[&words[..], &["a.json"]].concat()).exits(0);
    for words in [&["a.json", "a.json"][..], &["--root", "a", "--root", "a", "--tree", "/srv/app"]] {
        let ran = pair.cli(&[&["release", "learn"], words].concat());
        ran.exits(0);
        assert!(ran.stderr.contains("seem to be the same instance"), "{ran:?}");
    }
    let ran = pair.cli(&["release", "learn", "a.json"]);
    ran.exits(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn code_that_differs_is_asked_about_and_a_socket_ignored() {
    let pair = Pair::new();
    pair.write("b", "usr/share/wordpress/wp-login.php", "<?php // other");
    pair.write("a", "usr/share/wordpress/wp-content/cache/object.php", "<?php // a");
    fs::set_permissions(pair.at("b").join(APP).join("wp-cron.php"), fs::Permissions::from_mode(0o600)).unwrap();
    let socket = pair.at("a").join(APP).join("php.socket");
    let _held = UnixListener::bind(&socket).unwrap();
    let learned = pair.learn();
    let spec = learned.exits(0);
    for line in [
        "# differs: wp-login.php: another content; may be code, configuration or a key: decide",
        "# differs: wp-content/cache/object.php: not on every instance; ",
        "\"!wp-content/cache/object.php\"",
        "# modes differ (1, the first at wp-cron.php): not compared",
        "\"/php.socket\",   # a socket",
    ] {
        assert!(spec.contains(line), "{spec}\nexpected: {line}");
    }
    assert!(learned.stderr.contains("2 things are left for you to decide"), "{}", learned.stderr);
    // It is accepted all the same, and finds what was not decided.
    pair.build(spec, "a");
    assert!(pair.check("b").exits(1).contains("wp-login.php"));
}

/// Names that would break out of the file, or out of a pattern; and one that no pattern can spell.
#[test]
fn hostile_names() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair { folder };
    for instance in ["a", "b"] {
        for name in ["x\"]\nname = \"y.jpg", "[a]*.jpg", "\\.jpg", "# .jpg", "!x.jpg", "\u{202e}gpj.jpg"] {
            pair.write(instance, &format!("srv/app/{name}"), instance);
        }
        let odd = pair.at(instance).join("srv/app").join(std::ffi::OsStr::from_bytes(b"\xff.gif"));
        fs::write(odd, instance).unwrap();
        pair.write(instance, "srv/app/same.php", "<?php");
        symlink("same.php", pair.at(instance).join("srv/app/link")).unwrap();
    }
    let learned = pair.cli(&["release", "learn", "--root", "a", "--root", "b", "--tree", "/srv/app"]);
    let spec = learned.exits(0);
    pair.build(spec, "a");
    pair.check("b").exits(0);
    pair.write("b", "srv/app/same.php", "<?php other");
    assert!(pair.check("b").exits(1).contains("same.php"));
}

#[test]
fn this_machine_saved_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair { folder };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tree = pair.at("tree");
    pair.write("tree", "index.php", "<?php");
    pair.write("tree", "logs/today.log", "x");
    pair.write("tree", "site.key", "-----BEGIN PRIVATE KEY-----");
    let save = |name: &str| {
        let tree = tree.to_str().unwrap().to_owned();
        pair.cli(&["release", "learn", "--tree", &tree, "--facts", &format!("instance={name}"), "--save", name])
    };
    assert_eq!(save("one.json").exits(0), "");
    save("two.json").exits(0);
    let seen: serde_json::Value = serde_json::from_slice(&fs::read(pair.at("one.json")).unwrap()).unwrap();
    assert_eq!((&seen["version"], &seen["facts"]["instance"]), (&1.into(), &"one.json".into()));
    assert!(!seen.to_string().contains("PRIVATE KEY"), "secrets stay where they are");
    let port = listener.local_addr().unwrap().port();
    let mut listening = seen["listening"].as_array().unwrap().iter();
    let mine = listening.find(|one| one["port"] == port).unwrap();
    assert_eq!(mine["executable"], std::env::current_exe().unwrap().to_str().unwrap());
    let spec = pair.cli(&["release", "learn", "one.json", "two.json"]);
    assert!(spec.exits(0).contains("index.php") || spec.stdout.contains("[[tree]]"), "{spec:?}");
    let one = pair.cli(&["release", "learn", "one.json"]);
    assert!(one.exits(0).contains("\"logs/**\",   # comes and goes, by its name"), "{one:?}");
}

#[test]
fn bad_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair { folder };
    pair.write("a", "srv/app/index.php", "x");
    for (name, content) in [
        ("no.json", "no"),
        ("old.json", r#"{"version":9,"trees":[]}"#),
        ("more.json", r#"{"version":1,"trees":[],"x":1}"#),
    ] {
        fs::write(pair.at(name), content).unwrap();
        let ran = pair.cli(&["release", "learn", name]);
        ran.exits(2);
        assert!(ran.stderr.contains(name), "{ran:?}");
    }
    for (words, said) in [
        (&["--root", "a", "--tree", "srv/app"][..], "no absolute path"),
        (&["--root", "a", "--tree", "/srv/../etc"], "no absolute path"),
        (&["--root", "a", "--tree", "/srv/absent"], "failed to look at"),
        (&["--root", "absent"], "failed to find"),
        (&["--root", "a"], "found no directory"),
        (&["--root", "a", "--tree", "/srv/app", "--facts", "Instance=1"], "the fact `Instance`"),
        (&["--root", "a", "--tree", "/srv/app", "--facts", "instance"], "not NAME=VALUE"),
        (&["absent.json"], "failed to read"),
    ] {
        let ran = pair.cli(&[&["release", "learn"], words].concat());
        ran.exits(2);
        assert!(ran.stderr.contains(said), "{words:?}: {ran:?}");
    }
    fs::write(pair.at("mine.toml"), "mine").unwrap();
    let ran = pair.cli(&["release", "learn", "--root", "a", "--tree", "/srv/app", "--out", "mine.toml"]);
    ran.exits(2);
    assert_eq!(fs::read_to_string(pair.at("mine.toml")).unwrap(), "mine", "what people wrote is not written over");
}
