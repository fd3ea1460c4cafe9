//! Rules about what we write for people.

use super::{read, rust_files, top};

/// Every invariant names its tests, and the tests are there.
#[test]
fn invariants_name_tests_that_exist() {
    let architecture = read(&top().join("ARCHITECTURE.md"));
    let sources: String = rust_files().iter().map(|file| read(&top().join(file))).collect();
    let mut named = 0;
    for line in architecture.lines().filter(|line| line.contains("held by")) {
        let (_, tests) = line.split_once("held by").unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            let function = test.rsplit("::").next().unwrap();
            assert!(sources.contains(&format!("fn {function}(")), "ARCHITECTURE.md names `{test}`, which is not there");
            named += 1;
        }
    }
    assert!(named >= 11, "only {named} tests are named");
}

/// The README promises exactly two commands.
#[test]
fn the_readme_has_two_commands() {
    let readme = read(&top().join("README.md"));
    let first_screen: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    for command in ["cargo drill", "./test"] {
        assert!(first_screen.contains(command), "`{command}` is not on the first screen of README.md");
    }
}
