//! One round of checks: all at the same time but for what must wait for others.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use portcullis::{
    manifest::{Check, Manifest},
    outcome::{Outcome, Status},
};

use super::{Checks, Finding, lock, outcome, runs_files};

/// A round over the checks of a manifest whose trees have been told.
pub(super) struct Round<'a> {
    checks: &'a Checks,
    manifest: &'a Arc<Manifest>,
    trees: &'a [Outcome],
    /// By index; filled in as they come.
    outcomes: Mutex<Vec<Option<Outcome>>>,
    came: Condvar,
    /// How many commands may still be started: an instance that starts is not to be swamped.
    commands: Mutex<usize>,
    ended: Condvar,
}

impl<'a> Round<'a> {
    pub(super) fn new(checks: &'a Checks, manifest: &'a Arc<Manifest>, trees: &'a [Outcome]) -> Self {
        Self {
            checks,
            manifest,
            trees,
            outcomes: Mutex::new(vec![None; manifest.checks.len()]),
            came: Condvar::new(),
            commands: Mutex::new(COMMANDS_MAX),
            ended: Condvar::new(),
        }
    }

    /// The outcomes of all checks, in order; those that are not `wanted` are `unknown: not run`.
    pub(super) fn run(self, wanted: impl Fn(usize) -> bool + Sync) -> Vec<Outcome> {
        let next = AtomicUsize::new(0);
        // In order: what one waits for has been begun before it, so that nobody waits for what nobody does.
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.manifest.checks.len() {
                    return;
                }
                let outcome = if wanted(index) {
                    self.one(index)
                } else {
                    not_run(&self.manifest.checks[index], "not asked for")
                };
                lock(&self.outcomes)[index] = Some(outcome);
                self.came.notify_all();
            }
        };
        thread::scope(|scope| {
            for _ in 1..CONCURRENT_MAX.min(self.manifest.checks.len()) {
                // Where no thread can be had, this one does it all.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let outcomes = self.outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.into_iter().flatten().collect()
    }

    fn one(&self, index: usize) -> Outcome {
        let check = &self.manifest.checks[index];
        if let Some(reason) = self.obstacle(check) {
            return not_run(check, &reason);
        }
        if !runs_files(&check.kind) {
            return self.checks.check(self.manifest, index);
        }
        let waited = self.ended.wait_while(lock(&self.commands), |free| *free == 0);
        *waited.unwrap_or_else(PoisonError::into_inner) -= 1;
        let outcome = self.checks.check(self.manifest, index);
        *lock(&self.commands) += 1;
        self.ended.notify_one();
        outcome
    }

    /// Why a check is not to be run now. Waits for what it comes after.
    fn obstacle(&self, check: &Check) -> Option<String> {
        if self.checks.options.root.is_some() {
            return Some("under another root only trees can be proven".into());
        }
        let failed = |outcome: &&Outcome| outcome.status != Status::Pass;
        let tree =
            self.trees.iter().filter(|tree| runs_files(&check.kind) || check.after.contains(&tree.check)).find(failed);
        if let Some(tree) = tree {
            return Some(format!("tree `{}` did not pass", tree.check));
        }
        let earlier = |name: &String| self.manifest.checks.iter().position(|check| check.name == *name);
        check.after.iter().filter_map(earlier).find_map(|index| {
            let outcomes = self.came.wait_while(lock(&self.outcomes), |outcomes| outcomes[index].is_none());
            let outcomes = outcomes.unwrap_or_else(PoisonError::into_inner);
            outcomes[index].as_ref().filter(failed).map(|outcome| format!("`{}` did not pass", outcome.check))
        })
    }
}

fn not_run(check: &Check, why: &str) -> Outcome {
    outcome(check, Finding::unknown(format!("not run: {why}")))
}

/// Most checks do nothing but wait: one that hangs is to keep no other from its turn.
const CONCURRENT_MAX: usize = 256;

/// Commands that run at the same time.
const COMMANDS_MAX: usize = 4;
