//! Another implementation of DSSE, securesystemslib for Python: it verifies what is signed here, and here is verified
//! what it signs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/dsse.py");

/// A Python with securesystemslib, which must be there: a test that skips itself proves nothing.
fn python() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = env::var_os("PORTCULLIS_VENV").map_or_else(|| workspace.join("target/venv"), PathBuf::from);
    let python = venv.join("bin/python");
    assert!(
        python.exists(),
        "no Python environment: run `python3 -m venv target/venv && \
         target/venv/bin/pip install securesystemslib cryptography jsonschema`, or set PORTCULLIS_VENV"
    );
    python
}

/// Runs a command in a directory; gives its exit code and what it said.
fn run(directory: &Path, program: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let spec = "[[check]]\nname = \"a\"\ncommand = [\"true\"]\n";
        std::fs::write(bench.0.path().join("portcullis.toml"), spec).unwrap();
        bench.portcullis("release build --spec portcullis.toml --release R --out m.json");
        bench
    }

    #[track_caller]
    fn portcullis(&self, arguments: &str) -> String {
        let (code, said) = self.try_portcullis(arguments);
        assert_eq!(code, 0, "{said}");
        said
    }

    fn try_portcullis(&self, arguments: &str) -> (i32, String) {
        run(self.0.path(), Path::new(PORTCULLIS), &arguments.split(' ').collect::<Vec<_>>())
    }

    #[track_caller]
    fn python(&self, arguments: &str) -> String {
        let (code, said) = self.try_python(arguments);
        assert_eq!(code, 0, "{said}");
        said
    }

    fn try_python(&self, arguments: &str) -> (i32, String) {
        let arguments: Vec<_> = [PROGRAM].into_iter().chain(arguments.split(' ')).collect();
        run(self.0.path(), &python(), &arguments)
    }
}

#[test]
fn it_verifies_what_is_signed_here() {
    let bench = Bench::new();
    for key in ["a", "b", "c"] {
        bench.portcullis(&format!("key generate --out {key}"));
    }
    bench.portcullis("release sign m.json --key a");
    bench.portcullis("release sign m.json --key b");
    bench.python("verify m.json 2 a.pub b.pub");
    bench.python("verify m.json 1 a.pub c.pub");
    let (code, said) = bench.try_python("verify m.json 2 a.pub c.pub");
    assert!(code != 0 && said.contains("Accepted signatures do not match threshold"), "{said}");
}

#[test]
fn what_it_signs_is_verified_here() {
    let bench = Bench::new();
    bench.python("sign m.json theirs");
    bench.portcullis("release verify m.json --trust theirs.pub");
    // With a signature of ours beside it.
    bench.portcullis("key generate --out ours");
    bench.portcullis("release sign m.json --key ours");
    bench.portcullis("release verify m.json --trust theirs.pub --trust ours.pub --threshold 2");
    // Its key ids are made otherwise, and it goes by them: of the two it finds ours.
    bench.python("verify m.json 1 theirs.pub ours.pub");
    let (code, said) = bench.try_portcullis("release verify m.json --trust theirs.pub --threshold 2");
    assert_eq!(code, 2, "{said}");
}

#[test]
fn keys_are_understood_by_both() {
    let bench = Bench::new();
    let id = bench.portcullis("key generate --out ours");
    assert_eq!(bench.python("id ours ours.pub"), id, "the same id of both halves");
    bench.python("sign m.json theirs");
    bench.portcullis("release sign m.json --key theirs");
    bench.portcullis("release verify m.json --trust theirs.pub");
}
