//! The rehearsal of the trees: wave after wave, the copy is broken, checked, and put back.

use std::path::Path;

use anyhow::{Context as _, bail};
use portcullis::{
    manifest::Manifest,
    outcome::{Outcome, Status},
    rehearse::{Breakage, Judged, Why, judge, waves},
    text,
};

use super::{
    agent::Agent,
    scratch::Scratch,
    undo::{Obstacle, Undo, apply},
};

/// What came of one breakage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// What the tree's check said.
    Noticed(String),
    /// Every check passed.
    Missed(Why),
    /// It could not be done here.
    Spared(&'static str),
}

/// What the rehearsal works with.
pub(super) struct Stage<'a> {
    pub(super) scratch: &'a Scratch,
    pub(super) manifest: &'a Manifest,
    /// The file that `manifest` was read from.
    pub(super) file: &'a Path,
    pub(super) agent: &'a Agent,
}

impl Stage<'_> {
    /// The unbroken copy must pass, or nothing that follows means anything.
    pub(super) fn must_pass(&self, when: &str) -> anyhow::Result<()> {
        let outcomes = self.agent.trees(self.file, &self.scratch.root())?;
        match outcomes.iter().find(|outcome| outcome.status != Status::Pass) {
            None => Ok(()),
            Some(outcome) => {
                let reason = text::visible(outcome.reason.as_deref().unwrap_or("no reason given"));
                let first = outcome.differences.iter().take(DIFFERENCES_SHOWN);
                let first: Vec<_> = first.map(|one| format!("{} {}", one.path, one.problem)).collect();
                let more = match outcome.differences_total.unwrap_or(0).saturating_sub(first.len() as u64) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                bail!("the copy does not pass {when}: tree `{}`: {reason} ({}{more})", outcome.check, first.join(", "));
            }
        }
    }

    /// What came of each breakage, in their order; `told` hears how many are done.
    pub(super) fn rehearse(&self, breakages: &[Breakage], told: &dyn Fn(usize)) -> anyhow::Result<Vec<Tried>> {
        let mut tried: Vec<Option<Tried>> = vec![None; breakages.len()];
        let mut done = 0;
        for wave in waves(self.manifest, breakages) {
            let crowded = self.wave(breakages, &wave, &mut tried)?;
            for index in crowded {
                self.wave(breakages, &[index], &mut tried)?;
            }
            done += wave.len();
            told(done);
        }
        Ok(tried.into_iter().map(|one| one.unwrap_or(Tried::Spared("it was not reached"))).collect())
    }

    /// Gives those that must be tried alone.
    fn wave(&self, all: &[Breakage], wave: &[usize], tried: &mut [Option<Tried>]) -> anyhow::Result<Vec<usize>> {
        let mut broken = Vec::new();
        let applied = self.break_all(all, wave, tried, &mut broken);
        let outcomes = applied.and_then(|()| self.agent.trees(self.file, &self.scratch.root()));
        // Also after an error: the folder is to be removed, and its directories have to allow it.
        for (index, undo) in broken.iter().rev() {
            undo.undo().with_context(|| format!("failed to put `{}` back", all[*index].shown()))?;
        }
        let outcomes = outcomes?;
        let mut crowded = Vec::new();
        for &(index, _) in &broken {
            let outcome = self.outcome_of(&outcomes, &all[index])?;
            let tree = &self.manifest.trees[all[index].tree];
            match judge(&all[index], tree, outcome, broken.len() == 1) {
                Judged::Noticed { problem } => tried[index] = Some(Tried::Noticed(problem)),
                Judged::Missed(why) => tried[index] = Some(Tried::Missed(why)),
                Judged::Crowded => crowded.push(index),
            }
        }
        Ok(crowded)
    }

    fn break_all(
        &self,
        all: &[Breakage],
        wave: &[usize],
        tried: &mut [Option<Tried>],
        broken: &mut Vec<(usize, Undo)>,
    ) -> anyhow::Result<()> {
        for &index in wave {
            let breakage = &all[index];
            match apply(self.scratch, &self.manifest.trees[breakage.tree], breakage, index) {
                Ok(undo) => broken.push((index, undo)),
                Err(Obstacle::NotHere(why)) => tried[index] = Some(Tried::Spared(why)),
                Err(Obstacle::Failed(error)) => {
                    return Err(error)
                        .with_context(|| format!("failed to break `{}` ({})", breakage.shown(), breakage.how.name()));
                }
            }
        }
        Ok(())
    }

    fn outcome_of<'o>(&self, outcomes: &'o [Outcome], breakage: &Breakage) -> anyhow::Result<&'o Outcome> {
        let name = &self.manifest.trees[breakage.tree].name;
        outcomes.iter().find(|outcome| outcome.check == *name).context("the agent told nothing of a tree")
    }
}

/// Of a copy that does not pass.
const DIFFERENCES_SHOWN: usize = 5;
