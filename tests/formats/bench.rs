//! A place to work in, and the program to work with.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// A directory of its own, gone when it is dropped.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) const SPEC: &str = r#"
product = "shop"

[[tree]]
name = "app"
root = "/var/www/app"
ignore = ["storage/logs/**", "*.pid"]
attributes = ["mode"]

[[check]]
name = "nginx parses"
command = ["nginx", "-t"]
"#;

impl Bench {
    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With a spec, and a small application below `stage`.
    pub(crate) fn staged() -> Self {
        let bench = Self::empty();
        bench.write("portcullis.toml", SPEC);
        bench.write("stage/var/www/app/index.php", "<?php\n");
        bench.write("stage/var/www/app/lib/a.php", "a\n");
        bench.write("stage/var/www/app/storage/logs/today.log", "ignored\n");
        bench.write("stage/var/www/app/run.pid", "ignored\n");
        symlink("lib/a.php", bench.path("stage/var/www/app/latest.php")).unwrap();
        bench
    }

    /// With a key, and a manifest that is signed by it.
    pub(crate) fn signed() -> Self {
        let bench = Self::staged();
        bench.key("release.key");
        bench.build("manifest.json", &["--key", "release.key"]);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names in the directory.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null()).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    pub(crate) fn key(&self, name: &str) -> String {
        self.run(&["key", "generate", "--out", name]).succeeded().trim().into()
    }

    pub(crate) fn build(&self, out: &str, more: &[&str]) -> String {
        let usual =
            ["release", "build", "--spec", "portcullis.toml", "--release", "R1", "--root", "stage", "--out", out];
        self.run(&[&usual[..], more].concat()).succeeded()
    }

    /// The payload of an envelope.
    pub(crate) fn payload(&self, name: &str) -> Value {
        let envelope: Value = serde_json::from_str(&self.read(name)).unwrap();
        serde_json::from_slice(&STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap()
    }

    /// An envelope of any payload, signed by nobody.
    pub(crate) fn write_envelope(&self, name: &str, payload: &str) {
        let payload_type = "application/vnd.portcullis.manifest.v1+json";
        let payload = STANDARD.encode(payload);
        self.write(
            name,
            serde_json::json!({"payloadType": payload_type, "payload": payload, "signatures": []}).to_string(),
        );
    }
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Exit code 0; gives what it said.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Exit code 2, nothing on stdout, and the reason on stderr.
    #[track_caller]
    pub(crate) fn refused(self, reason: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.contains(reason), "{self:?}\nexpected: {reason}");
    }
}

/// A program of the Python environment, which must be there: a test that skips itself proves nothing.
pub(crate) fn python() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = std::env::var_os("PORTCULLIS_VENV").map_or_else(|| workspace.join("target/venv"), PathBuf::from);
    let python = venv.join("bin/python");
    assert!(
        python.exists(),
        "no Python environment: run `python3 -m venv target/venv && \
         target/venv/bin/pip install securesystemslib cryptography jsonschema`, or set PORTCULLIS_VENV"
    );
    python
}
