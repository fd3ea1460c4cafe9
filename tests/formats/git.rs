//! Ignore patterns against git itself: gitignore-like must not be a matter of opinion.

use std::{io::Write as _, process::Stdio};

use portcullis::glob::Ignore;
use proptest::prelude::*;

use crate::bench::Bench;

/// Which of the paths git ignores. They are files; what is above them are directories.
fn git_ignores(patterns: &[String], paths: &[String]) -> Vec<String> {
    let bench = Bench::empty();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(arguments).current_dir(bench.path("")).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").spawn().unwrap()
    };
    assert!(git(&["init", "--quiet"]).wait().unwrap().success());
    bench.write(".git/info/exclude", patterns.join("\n") + "\n");
    for path in paths {
        bench.write(path, "");
    }
    let mut check = git(&["check-ignore", "--stdin", "-z", "--no-index"]);
    check.stdin.take().unwrap().write_all(paths.join("\0").as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_terminator('\0').map(String::from).collect()
}

fn agrees(patterns: &[String], paths: &[String]) -> Result<(), TestCaseError> {
    let Ok(ignore) = Ignore::new(patterns) else { return Err(TestCaseError::reject("not a pattern of ours")) };
    let ours: Vec<_> = paths.iter().filter(|path| ignore.hides(path.as_bytes(), false)).cloned().collect();
    prop_assert_eq!(ours, git_ignores(patterns, paths), "{:?}", patterns);
    Ok(())
}

const PATHS: [&str; 9] = ["a", "b.pid", "ab/a", "ab/b.pid", "ab/ba/a", "ba/x/y/a", "ba/x/b", "x/a", "x/y/z/b.pid"];

#[test]
fn by_hand() {
    for patterns in [
        &["*.pid"][..],
        &["/a"],
        &["a"],
        &["ab/"],
        &["ab/**"],
        &["**/a"],
        &["ba/**/a"],
        &["x/*"],
        &["x/*", "!x/a"],
        &["x", "!x/a"],
        &["/*", "!/x", "/x/*", "!/x/a"],
        &["**"],
        &["**/y/"],
        &["[ab]"],
        &["[!a]*"],
        &["a**"],
        &["x/**/**/b.pid"],
        &["?/a"],
        &["[[:alpha:]]/a"],
        &["\\a"],
        &["a/"],
    ] {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        agrees(&patterns, &PATHS.map(String::from)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn by_chance(patterns in prop::collection::vec("!?/?((\\*\\*|[abxy*?.]{1,3}|\\[[!]?[abxy]\\])/){0,2}(\\*\\*|[abxy*?.]{1,3})/?", 1..4)) {
        agrees(&patterns, &PATHS.map(String::from))?;
    }
}
