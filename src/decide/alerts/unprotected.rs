//! The cloud refuses to protect those that serve, while new ones are not proven: mostly a permission that is missing.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{
    action::AttemptKey,
    alert::Alert,
    decide::{Guard, survivors::kept},
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let key = AttemptKey::Protect(scope.name.clone(), true);
    let attempts =
        scope.observed.attempts.get(&key).filter(|_| matches!(scope.guard, Guard::Impaired | Guard::Floor))?;
    // The first may have come a moment after an instance left: that one is not asked for again.
    let because = attempts.refused.clone().filter(|_| attempts.sent > 1)?;
    // What was refused may be past: they left, or somebody else protects them.
    let kept = kept(scope.name, scope.observed);
    scope.serving().find(|(id, instance)| !instance.protected && kept.contains_key(*id))?;
    Some(Alert::Unprotected { because })
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};
    use crate::{
        action::AttemptKey,
        attempt::Attempts,
        instance::LifecycleState::{InService, Terminating},
        observation::Answer,
    };

    #[test]
    fn table() {
        let key = || AttemptKey::Protect(web(), true);
        let again = |answer| {
            let mut scene = waiting().beside("i-2", InService).guarded("i-2", 50).tried(key(), 90, Some(answer));
            scene.observed.attempts.insert(key(), Attempts { sent: 2, ..scene.observed.attempts[&key()].clone() });
            scene
        };
        let told = "those that serve cannot be protected from scale-in: not authorised";
        check(
            "unprotected",
            &[
                (again(refused()), 100, told),
                (waiting().tried(key(), 90, Some(refused())), 100, "-"),
                (again(Answer::Accepted), 100, "-"),
                (again(unknown()), 100, "-"),
                (again(refused()).observing(), 100, "-"),
                (again(refused()).protected("i-2"), 100, "-"),
                (again(refused()).in_the_state("i-2", Terminating), 100, "-"),
            ],
        );
    }
}
