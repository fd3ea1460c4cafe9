//! A group does without the gate by an operator's word: somebody should know, for as long as it lasts, and how many launches the
//! hook still holds. Deleting it before that is none would abandon every one of them.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{alert::Alert, timestamp::Timestamp};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let detached = scope.detached()?;
    let waiting = scope.members().filter(|(_, instance)| instance.state.is_waiting()).count();
    Some(Alert::Detached { warrant: detached.warrant.clone(), since: detached.at, waiting })
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};
    use crate::instance::LifecycleState::{InService, PendingWait};

    #[test]
    fn table() {
        let serving = || in_state(InService).wait(1, true).admission(1);
        let begin = "detached since 2024-10-04T00:00:50.000Z by ada: I looked: the unproven get in; ";
        let told = |rest: &str| alloc::format!("{begin}{rest}");
        let (none, one) =
            (told("none waits at the hook any more"), told("1 still waits at the hook: do not delete it"));
        let two = told("2 still wait at the hook: do not delete it");
        check(
            "detached",
            &[
                (serving(), 100, "-"),
                (serving().detached(50, None), 100, &none),
                (waiting().detached(50, None), 100, &one),
                (waiting().beside("i-2", PendingWait).detached(50, None), 100, &two),
                (waiting().detached(50, Some(60)), 100, "-"),
            ],
        );
    }
}
