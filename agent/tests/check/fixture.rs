//! A signed manifest, the tree it is about, and the program.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use portcullis::{
    manifest::{Check, Manifest, PAYLOAD_TYPE, Tree},
    signature::{Envelope, SigningKey},
    tree::{self, NoProgress},
};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_portcullis-agent");

/// `manifest.json`, `key.pub`, `app/`.
pub(crate) struct Fixture {
    directory: TempDir,
    pub(crate) manifest: Manifest,
    keys: Vec<SigningKey>,
}

/// `app` with `a/`, `a/i.php`, `b` and a link; no commands.
pub(crate) fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    // Other users are to read it.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let app = directory.path().join("app");
    fs::create_dir_all(app.join("a")).unwrap();
    fs::write(app.join("a/i.php"), "hello").unwrap();
    fs::write(app.join("b"), "b").unwrap();
    symlink("a", app.join("link")).unwrap();
    let mut tree = Tree::new("app", app.to_str().unwrap());
    tree.entries = tree::read(&tree, &app, &NoProgress).unwrap();
    let manifest = Manifest {
        product: "shop".into(),
        release: "2026.11.20-1".into(),
        sequence: 1,
        trees: vec![tree],
        checks: vec![],
    };
    Fixture { directory, manifest, keys: vec![SigningKey::generate(&[7; 32])] }.signed()
}

impl Fixture {
    /// Signs the manifest as it is now.
    pub(crate) fn signed(self) -> Self {
        let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, self.manifest.to_payload());
        for (index, key) in self.keys.iter().enumerate() {
            envelope.sign(key);
            fs::write(self.at(&format!("key{index}.pub")), key.public().to_pem()).unwrap();
        }
        fs::write(self.at("manifest.json"), envelope.to_json()).unwrap();
        self
    }

    pub(crate) fn with_key(mut self, seed: u8) -> Self {
        self.keys.push(SigningKey::generate(&[seed; 32]));
        self.signed()
    }

    pub(crate) fn with_tree(mut self, change: impl FnOnce(&mut Tree)) -> Self {
        change(&mut self.manifest.trees[0]);
        self.signed()
    }

    /// Besides the tree, the checks of a spec.
    pub(crate) fn with_spec(mut self, toml: &str) -> Self {
        self.manifest.checks.extend(portcullis::spec::Spec::parse(toml).unwrap().checks);
        self.signed()
    }

    /// Besides the tree, a check of that kind: `process = { … }`, with other keys of a check on further lines.
    pub(crate) fn with_check(self, kind: &str) -> Self {
        let number = self.manifest.checks.len() + 1;
        self.with_spec(&format!("[[check]]\nname = \"check {number}\"\n{kind}"))
    }

    /// Besides the tree, a command.
    pub(crate) fn with_command(mut self, argv: &[&str], timeout_ms: u64) -> Self {
        let name = format!("command {}", self.manifest.checks.len());
        self.manifest.checks.push(Check { timeout_ms, ..Check::command(&name, argv.iter().copied()) });
        self.signed()
    }

    pub(crate) fn with_script(self, script: &str, timeout_ms: u64) -> Self {
        self.with_command(&["sh", "-c", script], timeout_ms)
    }

    /// A path beside the tree.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the tree.
    pub(crate) fn app(&self, name: &str) -> PathBuf {
        self.at("app").join(name)
    }

    /// `check --manifest … --trust …`.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.at(name).to_str().unwrap().to_string();
        ["check", "--manifest", &path("manifest.json"), "--trust", &path("key0.pub")].map(Into::into).to_vec()
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(AGENT);
        command.args(self.arguments()).args(more).env("SECRET", "do not tell");
        command
    }

    pub(crate) fn run(&self, more: &[&str]) -> Run {
        Run::of(&mut self.command(more))
    }

    /// With `--json`.
    pub(crate) fn json(&self) -> Run {
        self.run(&["--json"])
    }

    /// In a mount namespace of its own, after `script`, which finds the tree at `$APP`.
    pub(crate) fn json_after_mounting(&self, script: &str) -> Run {
        let mut command = Command::new("unshare");
        let script = format!("set -e; {script}; exec \"$@\"");
        command.args(["-m", "sh", "-c", &script, "sh", AGENT]).args(self.arguments()).arg("--json");
        Run::of(command.env("APP", self.at("app")))
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { exit: status.code().expect("exits by itself"), stdout: text(stdout), stderr: text(stderr) }
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// `path problem expected actual` of the first tree.
    pub(crate) fn differences(&self) -> Vec<String> {
        let value = self.value();
        let differences = value["outcomes"][0]["differences"].as_array().cloned().unwrap_or_default();
        let field = |difference: &Value, name: &str| difference[name].as_str().unwrap_or("-").to_string();
        let line = |d: &Value| ["path", "problem", "expected", "actual"].map(|name| field(d, name)).join(" ");
        differences.iter().map(line).collect()
    }

    /// `status` and `reason` of the outcome of that index.
    pub(crate) fn outcome(&self, index: usize) -> (String, String) {
        let value = self.value();
        let outcome = &value["outcomes"][index];
        (outcome["status"].as_str().unwrap().into(), outcome["reason"].as_str().unwrap_or_default().into())
    }
}

/// Checks one thing: the status and the reason.
pub(crate) fn check(kind: &str) -> (String, String) {
    fixture().with_check(kind).json().outcome(1)
}

/// That one thing passes.
#[track_caller]
pub(crate) fn passes(kind: &str) {
    assert_eq!(check(kind), ("pass".into(), String::new()), "{kind}");
}

/// That it fails, with these words in its reason.
#[track_caller]
pub(crate) fn fails(kind: &str, words: &str) {
    is(kind, "fail", words);
}

/// That it cannot be told, with these words in its reason.
#[track_caller]
pub(crate) fn untold(kind: &str, words: &str) {
    is(kind, "unknown", words);
}

#[track_caller]
fn is(kind: &str, status: &str, words: &str) {
    let (actual, reason) = check(kind);
    assert!(actual == status && reason.contains(words), "{kind}\n{actual}: {reason}\nexpected: {status}: {words}");
}

/// Waits for what comes by itself, for as long as a loaded machine may need.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}

/// A program that ends with its test.
pub(crate) struct Running(pub(crate) std::process::Child);

impl Running {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether what needs root can be tested.
pub(crate) fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped, needs root: {what}");
    }
    is_root
}

pub(crate) fn copy_of_agent(to: &Path) {
    fs::copy(AGENT, to).unwrap();
}
