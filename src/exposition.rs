//! Metrics as they are read: `OpenMetrics` for whoever asks for it, the older text format of Prometheus for all others (`curl`,
//! `promtool check metrics`, scrapers that know no better).
//!
//! The two differ in what a counter is called where it is described, and in how the page ends. Prometheus asks for the first.

use alloc::{
    borrow::Cow,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
};

/// The media type of `OpenMetrics`.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of `OpenMetrics` as `accept`, the request's header, wants it; and its media type.
pub fn negotiated(page: String, accept: Option<&str>) -> (&'static str, String) {
    if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        return (OPEN_METRICS, page);
    }
    (TEXT, text(&page))
}

/// The same in the text format.
fn text(page: &str) -> String {
    let types: BTreeMap<&str, &str> = page.lines().filter_map(|line| described(line, "TYPE")).collect();
    page.lines()
        .filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
        .fold(String::new(), |text, line| text + &rewritten(line, &types) + "\n")
}

fn rewritten<'a>(line: &'a str, types: &BTreeMap<&str, &str>) -> Cow<'a, str> {
    let named = |name: &str| match types.get(name) {
        Some(&"counter") => format!("{name}_total"),
        Some(&"info") => format!("{name}_info"),
        _ => name.to_string(),
    };
    if let Some((name, help)) = described(line, "HELP") {
        return format!("# HELP {} {}", named(name), help.replace("\\\"", "\"")).into();
    }
    let Some((name, kind)) = described(line, "TYPE") else { return line.into() };
    let kind = match kind {
        "info" => "gauge",
        "unknown" => "untyped",
        other => other,
    };
    format!("# TYPE {} {kind}", named(name)).into()
}

/// `# WORD name what`
fn described<'a>(line: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(' ')?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP turns Turns of \\\"the\\\" loop.\n# TYPE turns counter\nturns_total 4\n\
        # HELP release What is checked.\n# TYPE release info\nrelease_info{release=\"# TYPE x counter\"} 1\n\
        # HELP age_seconds How old.\n# TYPE age_seconds gauge\n# UNIT age_seconds seconds\nage_seconds 1.5\n# EOF\n";

    #[test]
    fn as_text() {
        let text = "# HELP turns_total Turns of \"the\" loop.\n# TYPE turns_total counter\nturns_total 4\n\
            # HELP release_info What is checked.\n# TYPE release_info gauge\nrelease_info{release=\"# TYPE x counter\"} 1\n\
            # HELP age_seconds How old.\n# TYPE age_seconds gauge\nage_seconds 1.5\n";
        for accept in [None, Some("*/*"), Some("text/plain; version=0.0.4")] {
            assert_eq!(negotiated(PAGE.into(), accept), (TEXT, text.into()), "{accept:?}");
        }
    }

    #[test]
    fn as_it_is_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiated(PAGE.into(), Some(prometheus)), (OPEN_METRICS, PAGE.into()));
    }
}
