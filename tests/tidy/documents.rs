//! Rules about what we write for people.

use std::collections::BTreeSet;

use super::{read, rust_files, top};

/// Every invariant names its tests, as `where::test`, and the tests are there.
#[test]
fn invariants_name_tests_that_exist() {
    let architecture = read(&top().join("ARCHITECTURE.md"));
    let (_, section) = architecture.split_once("\n## Invariants\n").expect("a section on invariants");
    let section = section.split("\n## ").next().unwrap_or_default();
    let sources: String = rust_files().iter().map(|file| read(&top().join(file))).collect();
    for number in 1..=11 {
        let (_, invariant) = section.split_once(&format!("\n{number}. **")).expect("each invariant of the design");
        let invariant = invariant.split(&format!("\n{}. **", number + 1)).next().unwrap_or_default();
        let tests: Vec<_> = invariant.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
        assert!(!tests.is_empty(), "invariant {number} names no test");
        for test in tests {
            let function = test.rsplit("::").next().unwrap_or_default();
            assert!(sources.contains(&format!("fn {function}(")), "ARCHITECTURE.md names `{test}`, which is not there");
        }
    }
}

/// Each race and trick is held by tests that are there.
#[test]
fn races_name_tests_that_exist() {
    let architecture = read(&top().join("ARCHITECTURE.md"));
    let (_, section) = architecture.split_once("\n## Races and tricks\n").expect("a section on races");
    let section = section.split("\n## ").next().unwrap_or_default();
    let sources: String = rust_files().iter().map(|file| read(&top().join(file))).collect();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 25, "{} rows", rows.len());
    for row in rows {
        let held_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let tests: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let function = test.rsplit("::").next().unwrap_or_default();
            assert!(sources.contains(&format!("fn {function}(")), "ARCHITECTURE.md names `{test}`, which is not there");
        }
    }
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

/// Whoever is told a word at night finds it in the documents: the reasons, the words of `/readyz` and the problems of the API.
#[test]
fn every_word_of_a_reason_is_documented() {
    let page = read(&top().join("deploy/reasons.md"));
    for (file, begin, before, least) in [
        ("src/reason.rs", "pub const fn code(", "=> \"", 22),
        ("src/alert.rs", "pub const fn code(", "=> \"", 9),
        ("src/doctor.rs", "pub const fn code(", "=> \"", 9),
        ("agent/src/standing.rs", "const fn line(", "=> \"", 6),
        ("controller/src/http/problem.rs", "const fn row(", "=> (\"", 24),
    ] {
        let source = read(&top().join(file));
        let (_, body) = source.split_once(begin).expect(begin);
        let body = body.split("\n    }\n").next().unwrap_or_default();
        let words = body.split(before).skip(1).filter_map(|rest| rest.split(['"', '\\']).next());
        let mut count = 0;
        for word in words {
            assert!(page.contains(&format!("\n| `{word}`")), "deploy/reasons.md has no row for `{word}` of {file}");
            count += 1;
        }
        assert!(count >= least, "{file}: {count} words were found");
    }
}

/// The controller's role may do what the code calls, and nothing else. What it does with a queue, the README says.
#[test]
fn the_policy_permits_what_is_called_and_nothing_else() {
    let folder = top().join("controller/src/providers");
    let mut called = BTreeSet::new();
    for file in rust_files().iter().filter(|file| top().join(file).starts_with(&folder)) {
        let service = if file.ends_with("aws/queue.rs") { "sqs" } else { "autoscaling" };
        let source: String = read(&top().join(file)).split_whitespace().collect();
        for (client, service) in [("self.client.", service), ("self.balancing.", "elasticloadbalancing")] {
            let calls = source.split(client).skip(1).filter_map(|rest| rest.split_once("()")).map(|(call, _)| call);
            called.extend(calls.map(|call| format!("{service}:{}", camel(call))));
        }
    }
    let (queue, called): (BTreeSet<_>, BTreeSet<_>) = called.into_iter().partition(|call| call.starts_with("sqs:"));
    // A batch is permitted by the name of the single call.
    let guide = read(&top().join("deploy/README.md"));
    assert!(queue.iter().all(|call| guide.contains(call.trim_end_matches("Batch"))) && queue.len() == 2, "{queue:?}");
    let policy = read(&top().join("deploy/iam-policy.json"));
    let is_call = |word: &&str| word.starts_with("autoscaling:") || word.starts_with("elasticloadbalancing:");
    let permitted: BTreeSet<String> = policy.split('"').filter(is_call).map(Into::into).collect();
    assert!(called.len() > 10, "only {called:?} were found: this test looks in the wrong place");
    assert_eq!(permitted, called);
}

/// `describe_warm_pool` as AWS has it.
fn camel(call: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    call.split('_').map(word).collect()
}
