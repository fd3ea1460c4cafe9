//! What a pattern matches; the same table is put to git itself in `tests/formats`.

use alloc::{string::ToString as _, vec};

use proptest::prelude::*;

use super::*;

fn ignore(patterns: &[&str]) -> Ignore {
    Ignore::new(&patterns.iter().map(|&pattern| pattern.into()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn one_pattern() {
    for (pattern, path, ignored) in [
        ("*.pid", "a.pid", true),
        ("*.pid", "x/y/a.pid", true),
        ("*.pid", "a.pid.old", false),
        ("*.pid", ".pid", true),
        ("/a", "a", true),
        ("/a", "x/a", false),
        ("x/a", "x/a", true),
        ("x/a", "y/x/a", false),
        ("a*c", "abbbc", true),
        ("a*c", "ac", true),
        ("a*c", "a/c", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("a?c", "aäc", true),
        ("a?c", "ac", false),
        ("a[b-d]e", "ace", true),
        ("a[!b-d]e", "ace", false),
        ("a[^b-d]e", "axe", true),
        ("a[!b]e", "a/e", false),
        ("[]a]", "]", true),
        ("[a-]", "-", true),
        ("[\\]]", "]", true),
        ("[[:digit:]]x", "7x", true),
        ("[[:digit:]]x", "ax", false),
        ("[äö]", "ö", true),
        ("a\\*", "a*", true),
        ("a\\*", "ab", false),
        ("\\!a", "!a", true),
        ("#a", "#a", true),
        ("{a,b}", "a", false),
        ("{a,b}", "{a,b}", true),
        ("**/a", "a", true),
        ("**/a", "x/y/a", true),
        ("**/a", "ba", false),
        ("x/**/a", "x/a", true),
        ("x/**/a", "x/y/z/a", true),
        ("x/**/a", "xa", false),
        ("x/**/**/a", "x/a", true),
        ("storage/logs/**", "storage/logs/a", true),
        ("storage/logs/**", "storage/logs/a/b", true),
        ("storage/logs/**", "storage/logs", false),
        ("storage/logs/**", "x/storage/logs/a", false),
        ("**", "a", true),
        ("**", "a/b", true),
        ("/**", "a/b", true),
        ("a**b", "axxb", true),
        ("a**b", "a/b", false),
        ("*/b", "a/b", true),
        ("*/b", "a/a/b", false),
        ("x/**/y/**/z", "x/y/y/q/z", true),
        ("x/**/y/**/z", "x/z/y", false),
        ("*a*b*c", "xxaxxbxxabxc", true),
        ("*a*b*c", "xxaxxbxxabx", false),
    ] {
        assert_eq!(ignore(&[pattern]).matches(path.as_bytes(), false), ignored, "`{pattern}` and `{path}`");
    }
}

#[test]
fn a_slash_at_the_end_means_directories() {
    for (pattern, path, is_dir, ignored) in [
        ("logs/", "logs", true, true),
        ("logs/", "logs", false, false),
        ("logs/", "x/logs", true, true),
        ("/logs/", "x/logs", true, false),
        ("x/logs/", "x/logs", true, true),
        ("logs", "logs", true, true),
    ] {
        assert_eq!(ignore(&[pattern]).matches(path.as_bytes(), is_dir), ignored, "`{pattern}` and `{path}`");
    }
}

#[test]
fn the_last_match_wins() {
    let patterns = ignore(&["*.log", "!keep.log", "old/keep.log"]);
    for (path, ignored) in [("a.log", true), ("keep.log", false), ("x/keep.log", false), ("old/keep.log", true)] {
        assert_eq!(patterns.matches(path.as_bytes(), false), ignored, "{path}");
    }
}

#[test]
fn nothing_comes_back_from_below_an_ignored_directory() {
    let patterns = ignore(&["/logs", "!/logs/keep"]);
    assert!(!patterns.matches(b"logs/keep", false), "by itself it is not ignored");
    assert!(patterns.hides(b"logs/keep", false), "but nobody gets there");
    assert!(!patterns.hides(b"other", false));
    assert!(ignore(&["a/**"]).hides(b"a/b/c", true));
    assert!(!ignore(&["a/**"]).hides(b"a", true));
}

#[test]
fn bytes_that_are_not_utf8() {
    for (pattern, path, ignored) in [
        ("*", &b"\xff"[..], true),
        ("?", b"\xff", true),
        ("?", b"\xff\xfe", false),
        ("[!a]", b"\xff", true),
        ("[a]", b"\xff", false),
        ("*.pid", b"\xff.pid", true),
        ("?", b"\xc3", true),
        ("??", b"\xc3(", true),
    ] {
        assert_eq!(ignore(&[pattern]).matches(path, false), ignored, "`{pattern}` and {path:?}");
    }
}

#[test]
fn refused() {
    use PatternFault::*;
    for (pattern, fault) in [
        ("", Empty),
        ("!", Empty),
        ("/", Empty),
        ("//", Empty),
        ("a//b", EmptyComponent),
        ("a//", EmptyComponent),
        ("./a", DotComponent),
        ("a/..", DotComponent),
        ("a\0", Nul),
        ("a\\", LoneBackslash),
        ("[a", UnclosedClass),
        ("[]", UnclosedClass),
        ("[a\\", UnclosedClass),
        ("[a-", UnclosedClass),
        ("a[b/c]", UnclosedClass),
        ("[z-a]", BackwardRange),
        ("[[:nope:]]", UnknownClass),
        (&"a".repeat(PATTERN_BYTES_MAX + 1), TooLong),
    ] {
        let error = Ignore::new(&[pattern.to_string()]).unwrap_err();
        assert_eq!(error, GlobError::Pattern { pattern: pattern.into(), fault });
    }
    let many = vec![String::from("a"); PATTERNS_MAX + 1];
    assert_eq!(Ignore::new(&many).unwrap_err(), GlobError::TooMany { patterns: PATTERNS_MAX + 1 });
}

#[test]
fn a_hostile_pattern_takes_no_time() {
    // Exponential in a backtracking matcher: 2^30 tries and more.
    let stars = "a*".repeat(1_000) + "b";
    assert!(!ignore(&[&stars]).matches("a".repeat(255).as_bytes(), false));
    let directories = "**/a/".repeat(500) + "b";
    assert!(!ignore(&[&directories]).matches("a/".repeat(1_000).as_bytes(), false));
}

/// The obvious matcher, exponential: tokens of `a`, `b`, `*`, `?`, `/` and whole components `**`.
fn obvious(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], rest) => !rest.is_empty(),
        (["**", after @ ..], rest) => (0..=rest.len()).any(|skip| obvious(after, &rest[skip..])),
        ([one, after @ ..], [component, rest @ ..]) => {
            obvious_component(one.as_bytes(), component.as_bytes()) && obvious(after, rest)
        }
        _ => false,
    }
}

fn obvious_component(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', after @ ..], rest) => (0..=rest.len()).any(|skip| obvious_component(after, &rest[skip..])),
        ([b'?', after @ ..], [_, rest @ ..]) => obvious_component(after, rest),
        ([wanted, after @ ..], [byte, rest @ ..]) => wanted == byte && obvious_component(after, rest),
        _ => false,
    }
}

proptest! {
    #[test]
    fn as_the_obvious_matcher(pattern in "/((\\*\\*|[ab*?]{1,4})/){0,4}(\\*\\*|[ab*?]{1,4})", path in "([ab]{1,3}/){0,5}[ab]{1,3}") {
        let components: Vec<_> = pattern[1..].split('/').collect();
        let expected = obvious(&components, &path.split('/').collect::<Vec<_>>());
        prop_assert_eq!(ignore(&[&pattern]).matches(path.as_bytes(), false), expected);
    }

    #[test]
    fn never_panics(pattern in any::<String>(), path in prop::collection::vec(any::<u8>(), 0..40), is_dir in any::<bool>()) {
        if let Ok(ignore) = Ignore::new(&[pattern]) {
            let _ = ignore.hides(&path, is_dir);
        }
    }
}
