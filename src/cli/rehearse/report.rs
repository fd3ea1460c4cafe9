//! What a rehearsal says: for people, and for machines.

use std::{collections::BTreeMap, fmt::Write as _};

use portcullis::{
    manifest::Manifest,
    rehearse::{Breakage, How, Why},
    text::visible,
};
use serde::Serialize;

use super::{checks::Shown, trees::Tried};
use crate::cli::answer::Answer;

/// All that there is to tell.
pub(super) struct Report<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) breakages: &'a [Breakage],
    pub(super) tried: &'a [Tried],
    pub(super) shown: &'a [Shown],
    /// Keys of reasons that are known and accepted.
    pub(super) accepted: &'a [String],
}

impl Report<'_> {
    /// No when something would be missed that nobody accepted.
    pub(super) fn answer(&self) -> Answer {
        let missed = self.tried.iter().any(|tried| matches!(tried, Tried::Missed(why) if !self.accepts(why)));
        let never = self.shown.iter().any(is_missed);
        match () {
            () if self.unclear().is_some() => Answer::Unclear,
            () if missed || never => Answer::No,
            () => Answer::Yes,
        }
    }

    /// What should have been rehearsed and could not be, with why: whatever else was noticed, the answer is not known.
    pub(super) fn unclear(&self) -> Option<String> {
        let all = self.manifest.checks.iter().zip(self.shown).filter_map(|(check, shown)| match shown {
            Shown::Unclear(why) => Some(format!("check `{}`: {}", visible(&check.name), first_line(why))),
            _ => None,
        });
        let all: Vec<String> = all.collect();
        (!all.is_empty()).then(|| format!("failed to rehearse {}", all.join("; ")))
    }

    fn accepts(&self, why: &Why) -> bool {
        self.accepted.iter().any(|key| key == why.key())
    }

    fn both(&self) -> impl Iterator<Item = (&Breakage, &Tried)> {
        self.breakages.iter().zip(self.tried)
    }

    /// A table for each tree, what is missed and why, then the other checks, then totals.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for index in 0..self.manifest.trees.len() {
            self.tree(&mut out, index);
        }
        self.misses(&mut out);
        self.checks(&mut out);
        let totals = self.totals();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\n{} ways to break it: {} noticed, {} missed ({} of them accepted), {} not tried",
            totals.breakages, totals.noticed, totals.missed, totals.accepted, totals.not_tried
        );
        if !self.shown.is_empty() {
            let (all, missed, unclear) = (self.shown.len(), totals.checks_that_miss, totals.checks_unclear);
            let left_out = self.shown.iter().filter(|shown| matches!(shown, Shown::NotRehearsed(_))).count();
            let noticed = all - missed - unclear - left_out;
            let _ = writeln!(
                out,
                "{all} other checks: {noticed} seen failing, {missed} missed something, {left_out} not rehearsed, {unclear} unclear"
            );
        }
        out
    }

    fn tree(&self, out: &mut String, index: usize) {
        let tree = &self.manifest.trees[index];
        let mut rows = BTreeMap::<_, [usize; 3]>::new();
        let mut said = BTreeMap::<_, BTreeMap<&str, usize>>::new();
        for (breakage, tried) in self.both().filter(|(breakage, _)| breakage.tree == index) {
            // Swaps of different files are one kind of thing.
            let how = if breakage.how.name() == SWAPPED.name() { &SWAPPED } else { &breakage.how };
            let row = rows.entry(how).or_default();
            match tried {
                Tried::Noticed(problem) => {
                    row[0] += 1;
                    *said.entry(how).or_default().entry(problem).or_default() += 1;
                }
                Tried::Missed(_) => row[1] += 1,
                Tried::Spared(_) => row[2] += 1,
            }
        }
        let _ = writeln!(out, "tree {} ({})", visible(&tree.name), visible(&tree.root));
        let _ =
            writeln!(out, "  {:<30} {:>7} {:>7} {:>9}  noticed as", "what was done", "noticed", "missed", "not tried");
        for (how, [noticed, missed, not_tried]) in rows {
            let said = said.remove(how).unwrap_or_default().into_keys().collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "  {:<30} {noticed:>7} {missed:>7} {not_tried:>9}  {}", how.name(), visible(&said));
        }
    }

    fn misses(&self, out: &mut String) {
        let mut misses = BTreeMap::<_, Vec<&Breakage>>::new();
        for (breakage, tried) in self.both() {
            if let Tried::Missed(why) = tried {
                misses.entry((breakage.tree, why, breakage.how.name())).or_default().push(breakage);
            }
        }
        for ((tree, why, how), breakages) in misses {
            let known = if self.accepts(why) { " (accepted)" } else { "" };
            let name = visible(&self.manifest.trees[tree].name);
            let shown: Vec<_> = breakages.iter().take(MISSES_SHOWN).map(|breakage| breakage.shown()).collect();
            let more = breakages.len().saturating_sub(MISSES_SHOWN);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let _ = writeln!(out, "\nMISSED{known}  {name}: {how}: {}{more}", shown.join(", "));
            let _ = writeln!(out, "  why     {}", why.reason());
            let _ = writeln!(out, "  change  {}", why.advice());
        }
    }

    fn checks(&self, out: &mut String) {
        for (check, shown) in self.manifest.checks.iter().zip(self.shown) {
            let (name, kind) = (visible(&check.name), check.kind.name());
            let _ = match shown {
                Shown::Fails { when, said } => {
                    writeln!(
                        out,
                        "\ncheck {name} ({kind}): fails when {}\n  said    {}",
                        visible(when),
                        first_line(said)
                    )
                }
                Shown::Never { tried } => writeln!(
                    out,
                    "\nMISSED  {name} ({kind}): it passed each of the {tried} times that something was broken\n  \
                     change  let it look at something that the release brings, or leave it out"
                ),
                Shown::Certificate { noticed, missed } => certificate(out, &name, noticed, missed),
                Shown::NotRehearsed(why) | Shown::Unclear(why) => {
                    writeln!(out, "\ncheck {name} ({kind}): not rehearsed\n  why     {}", first_line(why))
                }
            };
        }
    }

    fn totals(&self) -> Totals {
        let count = |wanted: &dyn Fn(&Tried) -> bool| self.tried.iter().filter(|tried| wanted(tried)).count();
        Totals {
            breakages: self.tried.len(),
            noticed: count(&|tried| matches!(tried, Tried::Noticed(_))),
            missed: count(&|tried| matches!(tried, Tried::Missed(_))),
            accepted: count(&|tried| matches!(tried, Tried::Missed(why) if self.accepts(why))),
            not_tried: count(&|tried| matches!(tried, Tried::Spared(_))),
            checks_that_miss: self.shown.iter().filter(|shown| is_missed(shown)).count(),
            checks_unclear: self.shown.iter().filter(|shown| matches!(shown, Shown::Unclear(_))).count(),
        }
    }

    /// Everything, one row a breakage.
    pub(super) fn json(&self) -> impl Serialize + use<'_> {
        Json {
            all_noticed: self.answer() == Answer::Yes,
            error: self.unclear(),
            release: &self.manifest.release,
            totals: self.totals(),
            breakages: self.both().map(|(breakage, tried)| self.row(breakage, tried)).collect(),
            checks: self
                .manifest
                .checks
                .iter()
                .zip(self.shown)
                .map(|(check, shown)| check_row(&check.name, check.kind.name(), shown))
                .collect(),
        }
    }

    fn row(&self, breakage: &Breakage, tried: &Tried) -> Row<'_> {
        let row = Row {
            tree: &self.manifest.trees[breakage.tree].name,
            path: breakage.shown(),
            class: breakage.class.clone(),
            how: breakage.how.name(),
            result: "noticed",
            noticed_as: None,
            why: None,
            change: None,
        };
        match tried {
            Tried::Noticed(problem) => Row { noticed_as: Some(problem.clone()), ..row },
            Tried::Missed(why) => {
                let result = if self.accepts(why) { "accepted" } else { "missed" };
                Row { result, why: Some(why.reason()), change: Some(why.advice()), ..row }
            }
            Tried::Spared(why) => Row { result: "not tried", why: Some((*why).into()), ..row },
        }
    }
}

fn check_row<'a>(check: &'a str, kind: &'static str, shown: &Shown) -> CheckRow<'a> {
    let row = CheckRow { check, kind, result: "noticed", when: None, said: None, why: None };
    match shown {
        Shown::Fails { when, said } => CheckRow { when: Some(when.clone()), said: Some(said.clone()), ..row },
        Shown::Never { tried } => CheckRow {
            result: "missed",
            why: Some(format!("passed each of {tried} times that something was broken")),
            ..row
        },
        Shown::Certificate { noticed, missed } => CheckRow {
            result: if missed.is_empty() { "noticed" } else { "missed" },
            when: Some(noticed.iter().map(|(what, _)| *what).collect::<Vec<_>>().join(", ")),
            said: Some(noticed.iter().map(|(what, said)| format!("{what}: {said}")).collect::<Vec<_>>().join("\n")),
            why: (!missed.is_empty()).then(|| missed.iter().map(|(what, _)| *what).collect::<Vec<_>>().join(", ")),
            ..row
        },
        Shown::NotRehearsed(why) | Shown::Unclear(why) => {
            CheckRow { result: "not rehearsed", why: Some(why.clone()), ..row }
        }
    }
}

fn is_missed(shown: &Shown) -> bool {
    match shown {
        Shown::Never { .. } => true,
        Shown::Certificate { missed, .. } => !missed.is_empty(),
        Shown::Fails { .. } | Shown::NotRehearsed(_) | Shown::Unclear(_) => false,
    }
}

fn certificate(out: &mut String, name: &str, noticed: &[(&str, String)], missed: &[(&str, &str)]) -> std::fmt::Result {
    writeln!(out, "\ncheck {name} (certificate):")?;
    for (what, said) in noticed {
        writeln!(out, "  noticed {what}: {}", first_line(said))?;
    }
    missed.iter().try_for_each(|(what, advice)| writeln!(out, "  MISSED  {what}\n  change  {advice}"))
}

fn first_line(text: &str) -> String {
    visible(text.lines().next().unwrap_or_default())
}

#[derive(Serialize)]
struct Json<'a> {
    all_noticed: bool,
    /// Why it could not be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    release: &'a str,
    totals: Totals,
    breakages: Vec<Row<'a>>,
    checks: Vec<CheckRow<'a>>,
}

#[derive(Serialize)]
struct Totals {
    breakages: usize,
    noticed: usize,
    missed: usize,
    /// Of those that were missed.
    accepted: usize,
    not_tried: usize,
    /// Checks that pass where they should not.
    checks_that_miss: usize,
    /// Checks that should have been rehearsed, and could not be.
    checks_unclear: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    tree: &'a str,
    path: String,
    class: String,
    how: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    noticed_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
}

#[derive(Serialize)]
struct CheckRow<'a> {
    check: &'a str,
    kind: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Paths of one kind of miss, for people; JSON has them all.
const MISSES_SHOWN: usize = 5;

/// Stands for every swap.
static SWAPPED: How = How::Swapped { with: Vec::new() };
