//! Whether edits are to be undone, and in which trees.

use portcullis::outcome::{Outcome, Status};

/// What a decision is made of.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The trees that are to be restored, each as it was found.
    pub(super) trees: &'a [Outcome],
    /// Every guard, as it stands now.
    pub(super) guards: &'a [Outcome],
    /// When something was restored before, in milliseconds since boot.
    pub(super) history_ms: &'a [u64],
    pub(super) now_ms: u64,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Put these trees back; and why.
    Restore { trees: Vec<String>, because: String },
    /// Something should be done, but it was tried often enough.
    Shout(String),
    /// All is well, or nothing here would help.
    Nothing,
}

/// A guard must fail: one that could not be told is no proof of a bad edit. And a tree must differ: else it is not an edit
/// that broke the guard.
pub(super) fn should_restore(facts: &Facts<'_>) -> Decision {
    let failing = |outcome: &&Outcome| outcome.status == Status::Fail;
    let Some(guard) = facts.guards.iter().find(failing) else { return Decision::Nothing };
    let trees: Vec<_> = facts.trees.iter().filter(failing).map(|tree| tree.check.clone()).collect();
    if trees.is_empty() {
        return Decision::Nothing;
    }
    let lately = facts.history_ms.iter().filter(|&&at| facts.now_ms.saturating_sub(at) < TRIES_WITHIN_MS).count();
    let because = crate::apply::guards::line(guard);
    if lately >= TRIES_MAX {
        let minutes = TRIES_WITHIN_MS / 60_000;
        return Decision::Shout(format!(
            "{because}; restored {lately} times in {minutes} min already, which did not help"
        ));
    }
    Decision::Restore { trees, because }
}

/// Somebody, or something, makes the same edit again and again: to undo it for ever would be a fight.
pub(super) const TRIES_MAX: usize = 3;
pub(super) const TRIES_WITHIN_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn decided(tree: Status, guard: Status, history_minutes: &[u64]) -> &'static str {
        let outcome = |name: &str, status| Outcome::new(name, "tcp", status, Some("why".into()));
        let history_ms: Vec<_> = history_minutes.iter().map(|minutes| minutes * MINUTE).collect();
        let facts = Facts {
            trees: &[outcome("calm", Status::Pass), outcome("nginx", tree)],
            guards: &[outcome("well", Status::Pass), outcome("web", guard)],
            history_ms: &history_ms,
            now_ms: 100 * MINUTE,
        };
        match should_restore(&facts) {
            Decision::Restore { trees, because } => {
                assert_eq!((trees, because.as_str()), (vec!["nginx".to_string()], "guard `web`: fail: why"));
                "restore"
            }
            Decision::Shout(because) => {
                assert!(because.contains("3 times in 10 min"), "{because}");
                "shout"
            }
            Decision::Nothing => "nothing",
        }
    }

    #[test]
    fn table() {
        use Status::{Fail, Pass, Unknown};
        for (tree, guard, history, decision) in [
            (Pass, Pass, &[][..], "nothing"),
            // An edit that breaks nothing is left alone.
            (Fail, Pass, &[], "nothing"),
            // What could not be told proves nothing.
            (Fail, Unknown, &[], "nothing"),
            (Unknown, Fail, &[], "nothing"),
            // It is no edit that broke it.
            (Pass, Fail, &[], "nothing"),
            (Fail, Fail, &[], "restore"),
            (Fail, Fail, &[95, 99], "restore"),
            (Fail, Fail, &[91, 95, 99], "shout"),
            // The first of them was long ago.
            (Fail, Fail, &[90, 95, 99], "restore"),
            (Fail, Pass, &[91, 95, 99], "nothing"),
        ] {
            assert_eq!(decided(tree, guard, history), decision, "{tree} {guard} {history:?}");
        }
    }
}
