use super::*;

#[test]
fn the_worst_part_decides() {
    let fail = || Verdict::Fail { expected: "a".into(), actual: "b".into() };
    let unknown = || Verdict::Unknown("c".into());
    for (first, second, status, reason) in [
        (Verdict::Pass, Verdict::Pass, Status::Pass, None),
        (Verdict::Pass, unknown(), Status::Unknown, Some("loaded: c")),
        (unknown(), fail(), Status::Fail, Some("includes: c; loaded: expected a, actual b")),
        (fail(), unknown(), Status::Fail, Some("includes: expected a, actual b; loaded: c")),
    ] {
        let parts = vec![Part { name: "includes", verdict: first }, Part { name: "loaded", verdict: second }];
        let found = finding(parts, Vec::new());
        assert_eq!((found.status, found.reason.as_deref()), (status, reason));
        assert_eq!(found.expected.is_some(), status == Status::Fail);
    }
}

#[test]
fn warnings_are_bounded_and_counted() {
    let warnings = |count: usize| bounded((0..count).map(|number| number.to_string()).collect());
    assert_eq!(warnings(WARNINGS_MAX).len(), WARNINGS_MAX);
    assert_eq!(warnings(WARNINGS_MAX + 2).pop().as_deref(), Some("and 2 more warnings"));
}

/// Where directories are a part of a pattern, each from there down to what is found may bring something else.
#[test]
fn directories_of_patterns() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("e/sites/a/conf")).unwrap();
    std::fs::write(at("e/sites/a/conf/x.conf"), "").unwrap();
    let shown = |name: &str| at(name).to_str().unwrap().to_string();
    let here = At { file: String::new(), line: 1 };
    let include = |pattern: &str, found: &[&str]| portcullis::reveal::Include {
        pattern: shown(pattern),
        found: found.iter().map(|name| shown(name)).collect(),
        at: here.clone(),
    };
    for (include, directories) in [
        (include("e/sites/*/conf/*.conf", &["e/sites/a/conf/x.conf"]), &["e/sites", "e/sites/a", "e/sites/a/conf"][..]),
        (include("e/sites/*.conf", &[]), &["e/sites"]),
        (include("e/sites/a/conf/x.conf", &["e/sites/a/conf/x.conf"]), &[]),
    ] {
        let mut reads = Reads::default();
        reads.reveal(&Revealed { includes: vec![include], ..Revealed::default() });
        assert_eq!(reads.directories, directories.iter().map(|name| at(name)).collect::<Vec<_>>());
    }
}
