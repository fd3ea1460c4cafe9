//! A real application of thousands of files (Debian's wordpress) and a real `/etc/nginx`, through the real programs: what
//! is built and signed passes, and tampering is found exactly.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use portcullis_wire::{programs, run, top};
use serde_json::Value;

const SPEC: &str = r#"
product = "blog"

[[tree]]
name = "wordpress"
root = "/usr/share/wordpress"

[[tree]]
name = "nginx"
root = "/etc/nginx"
attributes = ["mode", "owner"]
"#;

/// A scratch root with both trees, and a signed release of it.
struct Release {
    folder: tempfile::TempDir,
}

impl Release {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let release = Self { folder };
        release.copy(&top().join("target/debian/wordpress/usr/share/wordpress"), "usr/share/wordpress");
        release.copy(Path::new("/etc/nginx"), "etc/nginx");
        fs::write(release.at("portcullis.toml"), SPEC).unwrap();
        release.cli(&["key", "generate", "--out", "release.key"]).exits(0);
        let built = release.cli(&[
            "release",
            "build",
            "--spec",
            "portcullis.toml",
            "--release",
            "6.1",
            "--root",
            "root",
            "--out",
            "manifest.json",
            "--key",
            "release.key",
        ]);
        built.exits(0);
        release.cli(&["release", "verify", "manifest.json", "--trust", "release.key.pub"]).exits(0);
        release
    }

    fn copy(&self, from: &Path, to: &str) {
        assert!(from.is_dir(), "{} is not there: run ./test, which gets it", from.display());
        let to = self.root(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        run(Path::new("cp"), [Path::new("-a"), from, &to]).exits(0);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self, path: &str) -> PathBuf {
        self.at("root").join(path)
    }

    fn app(&self, path: &str) -> PathBuf {
        self.root("usr/share/wordpress").join(path)
    }

    /// Runs the operator's command; words that name something in the folder are made paths.
    fn cli(&self, words: &[&str]) -> portcullis_wire::Ran {
        let made = ["release.key", "release.key.pub", "manifest.json", "portcullis.toml", "root"];
        run(&programs().cli, words.iter().map(|word| if made.contains(word) { self.at(word) } else { word.into() }))
    }

    fn check(&self) -> (Option<i32>, Value) {
        let (manifest, trust, root) = (self.at("manifest.json"), self.at("release.key.pub"), self.at("root"));
        let words = ["check", "--json", "--manifest"].map(PathBuf::from).into_iter();
        let words = words.chain([manifest, "--trust".into(), trust, "--root".into(), root]);
        let ran = run(&programs().agent, words);
        (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}")))
    }
}

/// Tree, path and problem of every difference.
fn differences(report: &Value) -> BTreeSet<(String, String, String)> {
    let outcomes = report["outcomes"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = outcomes.flat_map(|outcome| {
        let listed = outcome["differences"].as_array().cloned().unwrap_or_default();
        let total = outcome["differences_total"].as_u64().unwrap_or(0);
        assert_eq!(listed.len() as u64, total, "{}", outcome["check"]);
        listed.into_iter().map(|one| (text(&outcome["check"]), text(&one["path"]), text(&one["problem"])))
    });
    all.collect()
}

#[test]
fn what_was_signed_passes_and_tampering_is_found_exactly() {
    let release = Release::build();
    let (code, report) = release.check();
    assert_eq!((code, &report["ready"]), (Some(0), &Value::Bool(true)), "{report:#}");
    let shown = release.cli(&["release", "show", "manifest.json", "--json"]);
    let shown: Value = serde_json::from_str(shown.exits(0)).unwrap();
    assert!(shown.to_string().len() > 100_000, "thousands of files make a long manifest");

    let expected = tamper(&release);
    let (code, report) = release.check();
    assert_eq!((code, &report["ready"]), (Some(1), &Value::Bool(false)));
    assert_eq!(differences(&report), expected);

    mend(&release);
    let (code, report) = release.check();
    assert_eq!((code, &report["ready"]), (Some(0), &Value::Bool(true)), "{report:#}");
}

/// One of each way to be wrong; returns what must be found.
fn tamper(release: &Release) -> BTreeSet<(String, String, String)> {
    let app = |path: &str| release.app(path);
    // One bit of one byte; same size, and the time put back.
    let login = app("wp-login.php");
    let modified = fs::metadata(&login).unwrap().modified().unwrap();
    let mut bytes = fs::read(&login).unwrap();
    bytes[100] ^= 1;
    fs::write(&login, bytes).unwrap();
    fs::File::options().write(true).open(&login).unwrap().set_modified(modified).unwrap();
    // Truncated, missing, a directory moved away, something extra, something extra with things in it.
    fs::write(app("wp-cron.php"), "").unwrap();
    fs::remove_file(app("index.php")).unwrap();
    fs::write(app("wp-includes/.cache.php"), "<?php").unwrap();
    fs::create_dir_all(app("uploads/2026")).unwrap();
    fs::write(app("uploads/2026/shell.php"), "<?php").unwrap();
    // The right content by way of a link, a file where a directory was.
    fs::rename(app("wp-mail.php"), release.at("wp-mail.php")).unwrap();
    symlink(release.at("wp-mail.php"), app("wp-mail.php")).unwrap();
    // Only the time changed: no difference.
    fs::File::options().write(true).open(app("wp-load.php")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    // The web server: mode, a site switched off, a site that points elsewhere.
    fs::set_permissions(release.root("etc/nginx/nginx.conf"), fs::Permissions::from_mode(0o666)).unwrap();
    let site = release.root("etc/nginx/sites-enabled/default");
    fs::remove_file(&site).unwrap();
    symlink("/etc/nginx/sites-available/other", &site).unwrap();

    [
        ("wordpress", "wp-login.php", "content"),
        ("wordpress", "wp-cron.php", "content"),
        ("wordpress", "index.php", "missing"),
        ("wordpress", "wp-includes/.cache.php", "extra"),
        ("wordpress", "uploads", "extra"),
        ("wordpress", "wp-mail.php", "type"),
        ("nginx", "nginx.conf", "mode"),
        ("nginx", "sites-enabled/default", "link"),
    ]
    .map(|(tree, path, problem)| (tree.into(), path.into(), problem.into()))
    .into()
}

/// Puts the trees back as they were.
fn mend(release: &Release) {
    fs::remove_dir_all(release.at("root")).unwrap();
    release.copy(&top().join("target/debian/wordpress/usr/share/wordpress"), "usr/share/wordpress");
    release.copy(Path::new("/etc/nginx"), "etc/nginx");
}
