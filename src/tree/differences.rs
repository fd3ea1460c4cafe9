//! Gathering what differs: counted in full, listed in part, in the order of paths.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use super::walk::Stop;
use crate::{
    manifest::Tree,
    outcome::{DIFFERENCES_MAX, Difference, Outcome, Problem, Status},
    text,
};

/// What differs in one tree. Its memory does not grow with the number of differences.
#[derive(Debug)]
pub(super) struct Differences {
    /// The first [`DIFFERENCES_MAX`] by path, then problem.
    kept: BTreeMap<(Vec<u8>, Problem), Values>,
    by_problem: BTreeMap<Problem, u64>,
    /// Of each listed entry, whether it differs for certain, and whether it could not be told.
    marks: Vec<(bool, bool)>,
    /// Distinct entries with a difference that is certain, without one but with an uncertain one.
    differing: u64,
    untold: u64,
    /// What has a difference and is not listed: extras, and the root.
    unlisted: u64,
}

/// What is expected, what is there, and how its text differs.
type Values = (Option<String>, Option<String>, Option<String>);

/// Whose difference it is: an entry of the manifest is counted once, whatever differs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The entry of this index.
    Listed(usize),
    /// Something that is not listed, or the root.
    Unlisted,
}

impl Differences {
    pub(super) fn new(listed: usize) -> Self {
        let marks = vec![(false, false); listed];
        Self { kept: BTreeMap::new(), by_problem: BTreeMap::new(), marks, differing: 0, untold: 0, unlisted: 0 }
    }

    /// One more difference.
    pub(super) fn add(
        &mut self,
        of: Of,
        path: &[u8],
        problem: Problem,
        expected: Option<String>,
        actual: Option<String>,
    ) {
        *self.by_problem.entry(problem).or_default() += 1;
        self.count(of, problem);
        let is_late = self.kept.len() >= DIFFERENCES_MAX
            && self.kept.last_key_value().is_some_and(|((last, _), _)| path > last.as_slice());
        if !is_late {
            self.kept.insert((path.to_vec(), problem), (expected, actual, None));
        }
        if self.kept.len() > DIFFERENCES_MAX {
            self.kept.pop_last();
        }
    }

    fn count(&mut self, of: Of, problem: Problem) {
        let mut once = (false, false);
        let (differs, untold) = match of {
            Of::Listed(index) => &mut self.marks[index],
            Of::Unlisted => &mut once,
        };
        if problem.is_unknown() {
            self.untold += u64::from(!*untold);
            *untold = true;
        } else {
            self.differing += u64::from(!*differs);
            *differs = true;
        }
        self.unlisted += u64::from(of == Of::Unlisted);
    }

    /// Whether anything is known against the entry already.
    pub(super) fn has(&self, index: usize) -> bool {
        self.marks[index] != (false, false)
    }

    /// Whether anything is known at all.
    pub(super) fn is_empty(&self) -> bool {
        self.by_problem.is_empty()
    }

    /// Asks for a diff of each file that has other bytes, in the order of paths.
    pub(super) fn explain(&mut self, mut diff: impl FnMut(&[u8]) -> Option<String>) {
        for ((path, problem), (_, _, explained)) in &mut self.kept {
            if *problem == Problem::Content {
                *explained = diff(path);
            }
        }
    }

    /// The outcome, where the walk came to its end or to `stop`.
    pub(super) fn outcome(self, tree: &Tree, stop: Option<Stop>) -> Outcome {
        let status = match (self.differing, self.untold, stop) {
            (1.., _, _) => Status::Fail,
            (0, 0, None) => Status::Pass,
            (0, _, _) => Status::Unknown,
        };
        let reason = self.reason(stop);
        let list = |((path, problem), (expected, actual, diff)): ((Vec<u8>, _), _)| Difference {
            path: text::path(&path),
            problem,
            expected,
            actual,
            diff,
        };
        Outcome {
            differences: self.kept.into_iter().map(list).collect(),
            differences_total: (!self.by_problem.is_empty()).then(|| self.by_problem.values().sum()),
            differences_by_problem: self.by_problem,
            ..Outcome::new(&tree.name, "tree", status, reason)
        }
    }

    fn reason(&self, stop: Option<Stop>) -> Option<String> {
        let all = self.marks.len() as u64 + self.unlisted;
        let entries = if all == 1 { "entry" } else { "entries" };
        let mut parts = Vec::new();
        if self.differing > 0 {
            let differ = if self.differing == 1 && all == 1 { "differs" } else { "differ" };
            parts.push(format!("{} of {all} {entries} {differ}", self.differing));
        }
        if self.untold > 0 {
            parts.push(format!("{} of {all} {entries} could not be told", self.untold));
        }
        parts.extend(stop.map(|stop| format!("not all was looked at: {stop}")));
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
