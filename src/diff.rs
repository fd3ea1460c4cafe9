//! How a text differs from the one that is expected, for people: a unified diff, bounded in time and size.
//!
//! The algorithm is Myers' with git's bounds on what it searches, so that no text makes it slow (`similar`); there is no clock
//! here to stop it by.

use alloc::{
    format,
    string::{String, ToString as _},
};

use similar::TextDiff;

use crate::{manifest::TEXT_BYTES_MAX, outcome::DIFF_BYTES_MAX, secrets};

/// Begins what stands in the place of a diff that is not shown.
pub const NOT_SHOWN: &str = "not shown: ";

/// The diff from `expected` to `actual`, what is there under `path`; or why there is none: it begins with [`NOT_SHOWN`] then.
/// What looks like a secret now may have been none when the manifest was built.
pub fn of(path: &[u8], expected: &str, actual: &[u8]) -> String {
    if actual.len() > TEXT_BYTES_MAX {
        return format!("{NOT_SHOWN}it has more than {TEXT_BYTES_MAX} bytes");
    }
    let text = str::from_utf8(actual).ok().filter(|text| !text.contains('\0'));
    let Some(text) = text else { return format!("{NOT_SHOWN}it is not text") };
    match secrets::by_name(path).or_else(|| secrets::by_content(text)).or_else(|| secrets::by_content(expected)) {
        Some(secret) => format!("{NOT_SHOWN}it looks like {secret}"),
        None => unified(expected, text),
    }
}

/// At most [`DIFF_BYTES_MAX`], whole lines but for long ones.
fn unified(expected: &str, actual: &str) -> String {
    let diff = TextDiff::from_lines(expected, actual);
    let whole = diff.unified_diff().context_radius(CONTEXT_LINES).header("expected", "actual").to_string();
    let mut out = String::new();
    for line in whole.split_inclusive('\n') {
        let line = shortened(line);
        if out.len() + line.len() + CUT.len() > DIFF_BYTES_MAX {
            out.push_str(CUT);
            break;
        }
        out.push_str(&line);
    }
    out
}

/// One line of a minified file must not leave room for nothing else.
fn shortened(line: &str) -> String {
    if line.len() <= LINE_BYTES_MAX {
        return line.into();
    }
    let kept = &line[..line.floor_char_boundary(LINE_BYTES_MAX)];
    let more = line.trim_end_matches('\n').len() - kept.len();
    format!("{kept} ({more} bytes more)\n")
}

/// As diff(1) and git have it.
const CONTEXT_LINES: usize = 3;
/// A line that is longer was written for machines.
const LINE_BYTES_MAX: usize = 500;
const CUT: &str = "(cut here)\n";

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_few_lines_around_what_changed() {
        let expected: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let actual = expected.replace("line 10\n", "line ten\n");
        let diff = of(b"a.conf", &expected, actual.as_bytes());
        let shown = "--- expected\n+++ actual\n@@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n \
                     line 11\n line 12\n line 13\n";
        assert_eq!(diff, shown);
    }

    #[test]
    fn an_end_without_a_newline_is_told() {
        assert_eq!(
            of(b"a", "x\n", b"x"),
            "--- expected\n+++ actual\n@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n"
        );
        assert_eq!(of(b"a", "x\n", b"x\r\n"), "--- expected\n+++ actual\n@@ -1 +1 @@\n-x\n+x\r\n");
        assert_eq!(of(b"a", "x\n", b""), "--- expected\n+++ actual\n@@ -1 +0,0 @@\n-x\n");
    }

    #[test]
    fn what_is_not_shown() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (path, actual, why) in [
            ("a", long.as_bytes(), "it has more than 65536 bytes"),
            ("a", b"\xff", "it is not text"),
            ("a", b"a\0b", "it is not text"),
            ("a.key", b"x", "it looks like a private key"),
            ("a", b"-----BEGIN PRIVATE KEY-----\n", "it looks like a private key"),
            ("a", b"joe:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n", "it looks like a list of passwords"),
        ] {
            assert_eq!(of(path.as_bytes(), "x\n", actual), format!("{NOT_SHOWN}{why}"));
        }
    }

    #[test]
    fn cut_at_a_line_and_bounded() {
        let lines: String = (0..5_000).map(|n| format!("{n}\n")).collect();
        let diff = of(b"a", "", lines.as_bytes());
        assert!(diff.len() <= DIFF_BYTES_MAX && diff.len() > DIFF_BYTES_MAX - 20, "{}", diff.len());
        assert!(diff.ends_with("\n(cut here)\n"));
        let minified = "ü".repeat(2_000);
        let diff = of(b"a", &minified, b"x\n");
        let removed = diff.lines().nth(3).unwrap().to_string();
        assert!(removed.starts_with("-üü") && removed.ends_with(" (3502 bytes more)"), "{removed}");
    }

    #[test]
    fn limits_themselves_are_allowed() {
        assert!(!of(b"a", "", "x".repeat(TEXT_BYTES_MAX).as_bytes()).starts_with(NOT_SHOWN));
        // Lines of ten bytes as shown, after a first one of any length: for one of these the room is just enough.
        let lengths = (0..10).map(|length| {
            let text = "x".repeat(length) + "\n" + &"123456789\n".repeat(1_000);
            of(b"a", "", text.as_bytes()).len()
        });
        assert_eq!(lengths.max(), Some(DIFF_BYTES_MAX));
    }

    /// No text that an instance chooses keeps its checks waiting: few different lines, all mixed up, are the worst.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "time is what is tested")]
    fn no_text_makes_it_slow() {
        let mut state = 7_u32;
        let mut mixed = |different: u32| -> String {
            let mut line = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from_u32('a' as u32 + (state >> 16) % different).unwrap_or('a')
            };
            (0..TEXT_BYTES_MAX / 2).map(|_| [line(), '\n']).collect::<Vec<_>>().concat().into_iter().collect()
        };
        for different in [1, 2, 3, 10, 26] {
            let (expected, actual) = (mixed(different), mixed(different));
            let began = std::time::Instant::now();
            assert!(of(b"a", &expected, actual.as_bytes()).len() <= DIFF_BYTES_MAX);
            std::eprintln!("{different} different lines: {:?}", began.elapsed());
            assert!(began.elapsed().as_secs() < 10, "unoptimised, on a busy machine");
        }
    }
}
