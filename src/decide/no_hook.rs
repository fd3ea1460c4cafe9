//! Answers for waiting instances of a group without our hook: others hold them, and there is nothing we could complete.

use alloc::string::ToString;

use super::{case::Case, opinion::Opinion};
use crate::reason::Reason;

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let waits_without_us = case.instance.state.is_waiting() && case.hook().is_none();
    let others = || case.other_hooks().map(ToString::to_string).collect();
    waits_without_us.then(|| Opinion::held(case, Reason::NoHook { wanted: case.policy.hook.clone(), others: others() }))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::instance::LifecycleState;

    #[test]
    fn table() {
        check(
            rule,
            &[
                (waiting(), 1, "not ours"),
                (waiting().hooks(&["deployer"]), 1, "held no_hook"),
                (waiting().hooks(&["deployer"]), 9_000, "held no_hook"),
                (waiting().hooks(&["deployer", "portcullis"]), 1, "not ours"),
                (in_state(LifecycleState::PendingWait).hooks(&[]), 1, "held no_hook"),
                (in_state(LifecycleState::InService).hooks(&[]), 1, "not ours"),
            ],
        );
    }
}
