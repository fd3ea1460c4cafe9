//! What is wrong, where; and how many such things become one finding.

use portcullis::{outcome::Status, text::visible};

use crate::checks::Finding;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// `None`: it is worth telling, no more.
    status: Option<Status>,
    text: String,
    values: Option<(String, String)>,
}

impl Problem {
    /// Clients refuse it. `place` may be empty; `text` follows it.
    pub(super) fn fail(place: &str, text: impl AsRef<str>) -> Self {
        Self::new(Some(Status::Fail), place, text.as_ref())
    }

    /// It could not be told.
    pub(super) fn unknown(place: &str, text: impl AsRef<str>) -> Self {
        Self::new(Some(Status::Unknown), place, text.as_ref())
    }

    /// Clients take it.
    pub(super) fn warning(place: &str, text: impl AsRef<str>) -> Self {
        Self::new(None, place, text.as_ref())
    }

    /// Clients refuse it, because one value is not the other.
    pub(super) fn differs(place: &str, text: &str, expected: String, actual: String) -> Self {
        let told = Self::fail(place, format!("{text}: expected {expected}, actual {actual}"));
        Self { values: Some((expected, actual)), ..told }
    }

    fn new(status: Option<Status>, place: &str, text: &str) -> Self {
        let text = if place.is_empty() { text.into() } else { format!("{place} {text}") };
        Self { status, text: cut(&visible(&text)), values: None }
    }
}

/// All of them. At most [`KEPT_MAX`] of a kind are kept; all are counted.
#[derive(Debug, Default)]
pub(super) struct Problems {
    failures: Kept,
    unknowns: Kept,
    warnings: Kept,
}

#[derive(Debug, Default)]
struct Kept {
    problems: Vec<Problem>,
    total: usize,
}

impl Kept {
    fn push(&mut self, problem: Problem) {
        self.total += 1;
        if self.problems.len() < KEPT_MAX {
            self.problems.push(problem);
        }
    }

    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.problems.iter().map(|problem| problem.text.clone()).collect();
        if self.total > texts.len() {
            texts.push(format!("and {} more", self.total - texts.len()));
        }
        texts
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        let mut problems = Self::default();
        problems.push(problem);
        problems
    }
}

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        match problem.status {
            Some(Status::Fail) => self.failures.push(problem),
            Some(_) => self.unknowns.push(problem),
            None => self.warnings.push(problem),
        }
    }

    pub(super) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// Whether there is none, not even a warning.
    pub(super) fn is_empty(&self) -> bool {
        self.failures.total + self.unknowns.total + self.warnings.total == 0
    }

    /// Whether nothing speaks against passing.
    pub(super) fn is_harmless(&self) -> bool {
        self.failures.total + self.unknowns.total == 0
    }

    /// A failure whatever else; then whatever could not be told; else a pass, with warnings.
    pub(super) fn into_finding(self) -> Finding {
        let status = match (self.failures.total, self.unknowns.total) {
            (0, 0) => Status::Pass,
            (0, _) => Status::Unknown,
            _ => Status::Fail,
        };
        let mut reasons = self.failures.texts();
        reasons.extend(self.unknowns.texts());
        let finding = Finding::new(status, (!reasons.is_empty()).then(|| reasons.join("; ")));
        let warnings = self.warnings.texts();
        match self.failures.problems.into_iter().find_map(|problem| problem.values) {
            Some((expected, actual)) => Finding { expected: Some(expected), actual: Some(actual), warnings, ..finding },
            None => Finding { warnings, ..finding },
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

/// What one problem may say: a sentence with two names in it.
const TEXT_CHARS_MAX: usize = 400;

/// Who has more broken certificates than this needs no list but a number.
const KEPT_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins_and_nothing_is_lost() {
        let of = |problems: &[Problem]| {
            let mut all = Problems::default();
            all.extend(problems.iter().cloned());
            let finding = all.into_finding();
            (finding.status, finding.reason.unwrap_or_default(), finding.warnings.join("; "))
        };
        let (fail, unknown) = (Problem::fail("a", "is bad"), Problem::unknown("", "who knows"));
        let warning = Problem::warning("b", "is\u{1b} odd");
        assert_eq!(of(&[]), (Status::Pass, String::new(), String::new()));
        assert_eq!(of(std::slice::from_ref(&warning)), (Status::Pass, String::new(), "b is\\u{1b} odd".into()));
        assert_eq!(of(std::slice::from_ref(&unknown)), (Status::Unknown, "who knows".into(), String::new()));
        let all = [warning, unknown, fail.clone()];
        assert_eq!(of(&all), (Status::Fail, "a is bad; who knows".into(), "b is\\u{1b} odd".into()));
        let many = vec![fail; KEPT_MAX + 5];
        assert!(of(&many).1.ends_with("a is bad; and 5 more"));
        let differs = Problems::from(Problem::differs("a", "is short", "2".into(), "1".into())).into_finding();
        assert_eq!(differs.reason.as_deref(), Some("a is short: expected 2, actual 1"));
        assert_eq!((differs.expected.as_deref(), differs.actual.as_deref()), (Some("2"), Some("1")));
        assert!(of(&[Problem::fail("", "x".repeat(9_999))]).1.len() < 1_000);
    }
}
