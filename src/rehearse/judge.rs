//! What came of a breakage: which check noticed it, or why none did.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{Breakage, How};
use crate::{
    glob::Ignore,
    manifest::{Extras, Tree},
    outcome::{Outcome, Status},
    text,
};

/// What came of a breakage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// A check did not pass because of it.
    Noticed {
        /// In the words of the outcome: `content`, `missing`, …, or the reason of an outcome that lists nothing.
        problem: String,
    },
    /// Every check passes all the same.
    Missed(Why),
    /// Too much differed to tell by which breakage: it must be tried alone.
    Crowded,
}

/// Why a breakage is not noticed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A pattern of the tree takes it out.
    Ignored {
        /// As written.
        pattern: String,
    },
    /// The tree's `extras` are allowed.
    ExtrasAllowed,
    /// The tree does not compare modes.
    ModeNotCompared,
    /// The tree does not compare owners.
    OwnerNotCompared,
    /// It should have been noticed: a defect of ours.
    Unexplained,
}

impl Why {
    /// The word by which it can be accepted.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Ignored { .. } => "ignored",
            Self::ExtrasAllowed => "extras",
            Self::ModeNotCompared => "mode",
            Self::OwnerNotCompared => "owner",
            Self::Unexplained => "unexplained",
        }
    }

    /// What is so.
    pub fn reason(&self) -> String {
        match self {
            Self::Ignored { pattern } => format!("ignored by `{}`", text::visible(pattern)),
            Self::ExtrasAllowed => "extras are allowed".into(),
            Self::ModeNotCompared => "modes are not compared".into(),
            Self::OwnerNotCompared => "owners are not compared".into(),
            Self::Unexplained => "nothing in the spec explains it".into(),
        }
    }

    /// What to change in the spec.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Ignored { .. } => "narrow the pattern; and let nothing that lies there be run or served as code",
            Self::ExtrasAllowed => "`extras = \"refuse\"`, and ignore only what has to be there",
            Self::ModeNotCompared => "add `attributes = [\"mode\"]` to the tree",
            Self::OwnerNotCompared => "add `\"owner\"` to the tree's `attributes`",
            Self::Unexplained => "please report it: it should have been noticed",
        }
    }
}

/// What the outcome of its tree says of `breakage`; `alone` when nothing else was broken at that time.
pub fn judge(breakage: &Breakage, tree: &Tree, outcome: &Outcome, alone: bool) -> Judged {
    let paths: Vec<String> = breakage.touches().map(text::escape).collect();
    if let Some(difference) = outcome.differences.iter().find(|difference| paths.contains(&difference.path)) {
        return Judged::Noticed { problem: difference.problem.to_string() };
    }
    let is_all = outcome.differences_total.unwrap_or(0) <= outcome.differences.len() as u64;
    if outcome.status == Status::Pass {
        return Judged::Missed(why(breakage, tree));
    }
    match (alone, outcome.differences.first()) {
        (true, Some(difference)) => Judged::Noticed { problem: difference.problem.to_string() },
        (true, None) => {
            Judged::Noticed { problem: outcome.reason.clone().unwrap_or_else(|| outcome.status.to_string()) }
        }
        // Everything is listed, and this is not: something else was noticed.
        (false, Some(_)) if is_all && outcome.status == Status::Fail => Judged::Missed(why(breakage, tree)),
        (false, _) => Judged::Crowded,
    }
}

fn why(breakage: &Breakage, tree: &Tree) -> Why {
    let hides = |pattern: &&String| {
        Ignore::new(core::slice::from_ref(*pattern)).is_ok_and(|one| one.hides(&breakage.path, false))
    };
    let is_ignored = Ignore::new(&tree.ignore).is_ok_and(|ignore| ignore.hides(&breakage.path, false));
    match &breakage.how {
        _ if is_ignored => {
            let pattern = tree.ignore.iter().rev().find(hides).cloned().unwrap_or_default();
            Why::Ignored { pattern }
        }
        How::Extra if tree.extras == Extras::Allow => Why::ExtrasAllowed,
        how if how.is_mode() && !tree.attributes.mode => Why::ModeNotCompared,
        How::Owner if !tree.attributes.owner => Why::OwnerNotCompared,
        _ => Why::Unexplained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Difference, Problem};

    fn breakage(path: &str, how: How) -> Breakage {
        Breakage { tree: 0, path: path.into(), class: "".into(), how }
    }

    fn outcome(status: Status, paths: &[&str], total: u64) -> Outcome {
        let differences = paths.iter().map(|path| Difference::new(path, Problem::Content)).collect();
        let reason = Some("a reason".into());
        Outcome { differences, differences_total: Some(total), ..Outcome::new("app", "tree", status, reason) }
    }

    #[test]
    fn noticed_or_not() {
        let tree = Tree::new("app", "/app");
        let noticed = |problem: &str| Judged::Noticed { problem: problem.into() };
        let unexplained = Judged::Missed(Why::Unexplained);
        for (outcome, alone, judged) in [
            (outcome(Status::Fail, &["a"], 1), false, noticed("content")),
            (outcome(Status::Fail, &["b"], 1), false, unexplained.clone()),
            (outcome(Status::Fail, &["b"], 2), false, Judged::Crowded),
            (outcome(Status::Fail, &["b"], 2), true, noticed("content")),
            (outcome(Status::Unknown, &[], 0), false, Judged::Crowded),
            (outcome(Status::Unknown, &[], 0), true, noticed("a reason")),
            (outcome(Status::Pass, &[], 0), true, unexplained.clone()),
        ] {
            assert_eq!(judge(&breakage("a", How::Cut), &tree, &outcome, alone), judged, "{outcome:?}");
        }
        let swapped = breakage("z", How::Swapped { with: b"a".into() });
        assert_eq!(judge(&swapped, &tree, &outcome(Status::Fail, &["a"], 1), false), noticed("content"));
    }

    #[test]
    fn why_not() {
        let mut tree = Tree::new("app", "/app");
        tree.ignore = ["logs/**", "!logs/keep"].map(String::from).into();
        tree.extras = Extras::Allow;
        for (path, how, key, reason, advice) in [
            ("logs/x", How::Extra, "ignored", "ignored by `logs/**`", "narrow the pattern"),
            ("logs/keep", How::Extra, "extras", "extras are allowed", "`extras = \"refuse\"`"),
            ("a", How::Executable, "mode", "modes are not compared", "add `attributes = [\"mode\"]`"),
            ("a", How::Owner, "owner", "owners are not compared", "add `\"owner\"`"),
            ("a", How::Cut, "unexplained", "nothing in the spec explains it", "please report it"),
        ] {
            let why = why(&breakage(path, how), &tree);
            assert_eq!((why.key(), &*why.reason()), (key, reason), "{path}");
            assert!(why.advice().starts_with(advice), "{path}: {}", why.advice());
        }
        (tree.attributes.mode, tree.attributes.owner, tree.extras) = (true, true, Extras::Refuse);
        for how in [How::WorldWritable, How::Owner, How::Extra] {
            assert_eq!(why(&breakage("a", how), &tree), Why::Unexplained);
        }
    }
}
