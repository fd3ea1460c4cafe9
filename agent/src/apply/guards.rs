//! The guards of a manifest, asked until they hold or time is up.

use std::{sync::Arc, thread, time::Duration};

use portcullis::{
    manifest::Manifest,
    outcome::{Outcome, Status},
    text,
};

use crate::{
    checks::{Checks, Options},
    clock,
};

/// Guards, and what runs them: one for all looks, so that windows mean something.
#[derive(Debug)]
pub(crate) struct Guards {
    checks: Checks,
    manifest: Arc<Manifest>,
}

impl Guards {
    pub(crate) fn new(manifest: Manifest, user: (u32, u32), root_commands: Vec<Vec<String>>) -> Self {
        let options = Options { user, root_commands, ..Options::default() };
        Self { checks: Checks::new(options), manifest: Arc::new(manifest) }
    }

    /// Whether there are any.
    pub(crate) fn are_there(&self) -> bool {
        self.manifest.checks.iter().any(|check| check.guard)
    }

    /// One look.
    pub(crate) fn look(&self) -> Vec<Outcome> {
        self.checks.run_guards(&self.manifest)
    }

    /// Looks until every one has passed or failed, or until `deadline_ms` since boot: a window may keep one from being told.
    pub(crate) fn told(&self, deadline_ms: u64) -> Vec<Outcome> {
        self.until(deadline_ms, |outcomes| outcomes.iter().all(|outcome| outcome.status != Status::Unknown))
    }

    /// Looks until all hold, or until `deadline_ms` since boot: no look begins after it, as it would see what is being undone.
    pub(crate) fn settle(&self, deadline_ms: u64) -> Vec<Outcome> {
        self.until(deadline_ms, hold)
    }

    fn until(&self, deadline_ms: u64, is_enough: impl Fn(&[Outcome]) -> bool) -> Vec<Outcome> {
        loop {
            let outcomes = self.look();
            if is_enough(&outcomes) || clock::boot_ms().saturating_add(LOOK_AGAIN_MS) >= deadline_ms {
                return outcomes;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Whether every one passed.
pub(crate) fn hold(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.status == Status::Pass)
}

/// One line: how a guard stands.
pub(crate) fn line(outcome: &Outcome) -> String {
    let (name, status) = (text::visible(&outcome.check), outcome.status);
    match &outcome.reason {
        Some(reason) => format!("guard `{name}`: {status}: {}", text::visible(&reason.replace('\n', "; "))),
        None => format!("guard `{name}`: {status}"),
    }
}

/// A service that was just reloaded is there in less.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(LOOK_AGAIN_MS);
const LOOK_AGAIN_MS: u64 = 500;
