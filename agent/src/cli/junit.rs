//! What `check --junit` prints: JUnit's XML, as CI servers read it. A failure is a `failure`, what could not be told an `error`.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use portcullis::{
    digest::Digest,
    outcome::{Difference, Outcome, Status},
    text::visible,
};

use super::{check::Report, check_output::rest};

/// One suite, one case a tree or check.
pub(super) fn junit(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let name = format!("portcullis {}", report.release);
    suite(out, &name, Some(report.digest), &report.outcomes, report.took_ms)
}

/// Nothing was checked: one case, which is an error, so that no reader takes it for a suite in which nothing failed.
pub(super) fn nothing(out: &mut impl Write, because: &str) -> io::Result<()> {
    let outcome = Outcome::new("checks", "check", Status::Unknown, Some(because.into()));
    suite(out, "portcullis", None, &[outcome], 0)
}

fn suite(
    out: &mut impl Write,
    name: &str,
    digest: Option<Digest>,
    outcomes: &[Outcome],
    took_ms: u64,
) -> io::Result<()> {
    let count = |status| outcomes.iter().filter(|outcome| outcome.status == status).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        outcomes.len(),
        count(Status::Fail),
        count(Status::Unknown)
    );
    let time = seconds(took_ms);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites {counts} time=\"{time}\">")?;
    let name = attribute(name);
    writeln!(out, "  <testsuite name=\"{name}\" {counts} skipped=\"0\" time=\"{time}\">")?;
    if let Some(digest) = digest {
        writeln!(out, "    <properties>")?;
        writeln!(out, "      <property name=\"manifest\" value=\"{digest}\"/>")?;
        writeln!(out, "    </properties>")?;
    }
    for outcome in outcomes {
        case(out, outcome)?;
    }
    writeln!(out, "  </testsuite>\n</testsuites>")
}

fn case(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let (kind, name) = (attribute(&outcome.kind), attribute(&outcome.check));
    write!(out, "    <testcase classname=\"portcullis.{kind}\" name=\"{name}\" time=\"{}\"", seconds(outcome.took_ms))?;
    let element = match outcome.status {
        Status::Pass => None,
        Status::Fail => Some("failure"),
        Status::Unknown => Some("error"),
    };
    if element.is_none() && outcome.warnings.is_empty() {
        return writeln!(out, "/>");
    }
    writeln!(out, ">")?;
    if let Some(element) = element {
        let message = attribute(outcome.reason.as_deref().unwrap_or_default());
        let (kind, detail) = (outcome.status, content(&detail(outcome)));
        writeln!(out, "      <{element} type=\"{kind}\" message=\"{message}\">{detail}</{element}>")?;
    }
    if !outcome.warnings.is_empty() {
        writeln!(out, "      <system-out>{}</system-out>", content(&outcome.warnings.join("\n")))?;
    }
    writeln!(out, "    </testcase>")
}

/// The reason, what was wanted and what is there, and what differs.
fn detail(outcome: &Outcome) -> String {
    let mut detail = outcome.reason.clone().unwrap_or_default();
    for (word, value) in [("expected", &outcome.expected), ("actual", &outcome.actual)] {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(detail, "\n{word}: {value}");
        }
    }
    for difference in &outcome.differences {
        let _ = write!(detail, "\n{}", line(difference));
    }
    if let Some(rest) = rest(outcome, usize::MAX) {
        let _ = write!(detail, "\n{rest}");
    }
    detail
}

fn line(difference: &Difference) -> String {
    let path = if difference.path.is_empty() { "." } else { &difference.path };
    let value =
        |word: &str, value: &Option<String>| value.as_ref().map_or_else(String::new, |it| format!(" {word} {it}"));
    let values = [value("expected", &difference.expected), value("actual", &difference.actual)].concat();
    format!("{path}: {}{values}", difference.problem)
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// A value between double quotes.
fn attribute(text: &str) -> String {
    escaped(&visible_xml(text))
}

/// Text between tags: as lines.
fn content(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(visible_xml).collect();
    escaped(&lines.join("\n"))
}

/// XML 1.0 cannot hold most control characters, escaped or not, nor U+FFFE and U+FFFF: they are shown as people get them.
fn visible_xml(text: &str) -> String {
    visible(text).replace('\u{fffe}', "\\u{fffe}").replace('\u{ffff}', "\\u{ffff}")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_xml_cannot_hold() {
        for (text, shown) in [
            ("a & b < c > \"d\"", "a &amp; b &lt; c &gt; &quot;d&quot;"),
            ("]]>", "]]&gt;"),
            ("a\0b\x1b[2J", "a\\u{0}b\\u{1b}[2J"),
            ("\u{fffe}\u{ffff}\u{202e}", "\\u{fffe}\\u{ffff}\\u{202e}"),
            ("a\nb", "a\\u{a}b"),
        ] {
            assert_eq!(attribute(text), shown, "{text:?}");
        }
        assert_eq!(content("a\nb\r\nc\x07"), "a\nb\nc\\u{7}");
        assert_eq!((seconds(0), seconds(12_034)), ("0.000".into(), "12.034".into()));
    }
}
