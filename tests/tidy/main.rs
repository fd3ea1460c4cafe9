//! The house rules, as tests: what a reviewer would otherwise have to remember.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod dependencies;
mod documents;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the repository.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file that git knows or could soon know, relative to the root.
fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![top().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                let skipped =
                    path.file_name().is_some_and(|name| name == "target" || name.as_encoded_bytes()[0] == b'.');
                if !skipped {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(top()).unwrap().to_owned());
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "only {} Rust files found: this test looks in the wrong place", files.len());
    files
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(top()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
