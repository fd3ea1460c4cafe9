//! Answers for waiting instances of a group without our hook: others hold them, and there is nothing we could complete.

use super::{case::Case, opinion::Opinion};
use crate::reason::Reason;

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let waits_without_us = case.instance.state.is_waiting() && case.hook().is_none();
    waits_without_us.then(|| Opinion::held(case, Reason::NoHook { wanted: case.policy.hook.clone() }))
}
