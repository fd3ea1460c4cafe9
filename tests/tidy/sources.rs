//! Rules about source files.

use super::{read, rust_files, top};

/// Longer than this, a file no longer fits in the head: split it by case.
const LINES_MAX: usize = 500;

/// Source up to its tests: `#[cfg(test)]` at the left margin starts them.
fn without_tests(source: &str) -> &str {
    source.find("\n#[cfg(test)]\nmod tests").map_or(source, |start| &source[..start])
}

#[test]
fn files_fit_in_the_head() {
    let long: Vec<_> = rust_files()
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs"))
        .map(|file| (without_tests(&read(&top().join(&file))).lines().count(), file))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines without their tests: {long:?}");
}

/// Promises that are not kept.
#[test]
fn nothing_is_left_undone() {
    let words =
        [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "allow(")];
    for file in rust_files() {
        let source = read(&top().join(&file));
        for word in words {
            assert!(!source.contains(word), "{}: `{word}`", file.display());
        }
    }
}

/// **Invariant:** the core does no IO and reads no clock. `no_std` makes most of it a compile error; this closes the door
/// that `extern crate std` (for `tree` and for tests) opens.
#[test]
fn the_core_has_no_std() {
    let library = read(&top().join("src/lib.rs"));
    assert!(library.contains("#![no_std]") && library.contains("#![forbid(unsafe_code)]"));
    let mut looked_at = 0;
    for file in rust_files() {
        let is_edge = ["src/cli", "src/tree"].iter().any(|edge| file.starts_with(edge))
            || ["src/main.rs", "src/cli.rs", "src/tree.rs"].iter().any(|edge| file.as_os_str() == *edge);
        if !file.starts_with("src") || is_edge || file.ends_with("tests.rs") {
            continue;
        }
        looked_at += 1;
        let source = read(&top().join(&file));
        for (number, line) in without_tests(&source).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let declares = code.trim() == "extern crate std;";
            let names_std = code.contains("std::") && !code.contains("cfg(");
            assert!(!names_std && (!declares || file.ends_with("lib.rs")), "{}:{}: {line}", file.display(), number + 1);
        }
    }
    assert!(looked_at > 20, "only {looked_at} files of the core found");
}
