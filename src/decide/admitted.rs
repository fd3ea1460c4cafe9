//! Answers for an instance that still waits after the cloud took our CONTINUE.
//!
//! (A balancer's do not: what it took, it shows.) Descriptions lag, so for a while that is as it should be. With other launch hooks on the group it may stay so for long: ours
//! is done, theirs is named, and nothing is sent again. Without any, after `propagation_max` the instance cannot be waiting for
//! something that we did: the rules that follow see it like any other.

use alloc::{string::ToString, vec::Vec};

use super::{case::Case, opinion::Opinion, serving};
use crate::{action::Action, reason::Reason, record::WaitRecord, timestamp::Timestamp};

pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let wait = case.wait().filter(|_| case.instance.state.is_waiting())?;
    let taken_at = taken_at(case, wait)?;
    if case.instance.described_at < taken_at {
        let group = case.instance.group.clone();
        return Some(Opinion::admitted(case, serving::reason(case)).wishing(Action::Describe(group)));
    }
    let hooks: Vec<_> = case.other_hooks().map(ToString::to_string).collect();
    if !hooks.is_empty() {
        return Some(Opinion::admitted(case, Reason::OtherHooks { hooks }));
    }
    propagates(case, wait).then(|| Opinion::admitted(case, serving::reason(case)))
}

/// Whether the cloud took our CONTINUE so lately that the description may not show it.
pub(super) fn propagates(case: &Case<'_>, wait: &WaitRecord) -> bool {
    let max = if case.is_in_place() { core::time::Duration::ZERO } else { case.limits.propagation_max };
    taken_at(case, wait).is_some_and(|at| case.instance.described_at < at + max)
}

/// When the cloud took our CONTINUE. A wait that was over after we sent it tells as much as an answer.
fn taken_at(case: &Case<'_>, wait: &WaitRecord) -> Option<Timestamp> {
    let attempts = case.admits(wait)?;
    attempts.accepted_at.or_else(|| wait.over.then_some(attempts.last_sent))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, rule};
    use crate::{instance::LifecycleState, observation::Answer};

    #[test]
    fn table() {
        let taken = || proven().continued(99, Some(Answer::Accepted));
        let others = || taken().hooks(&["portcullis", "deployer"]);
        check(
            rule,
            &[
                (proven(), 100, "not ours"),
                (proven().continued(99, None), 100, "not ours"),
                (taken(), 100, "admitted proven, describe web"),
                (taken().described(99), 100, "admitted proven"),
                (taken().described(158), 200, "admitted proven"),
                (taken().described(159), 200, "not ours"),
                (taken().in_place(), 100, "admitted proven, describe web"),
                (taken().in_place().described(99), 100, "not ours"),
                (others(), 100, "admitted proven, describe web"),
                (others().described(99), 100, "admitted other_hooks"),
                (others().described(5_000), 5_000, "admitted other_hooks"),
                (
                    in_state(LifecycleState::InService).wait(1, false).continued(99, Some(Answer::Accepted)),
                    100,
                    "not ours",
                ),
            ],
        );
        let ruling = rule(&others().described(99).case(at(100))).and_then(|opinion| opinion.ruling);
        let ruling = ruling.expect("it has one");
        assert!(ruling.continue_accepted);
        let hooks = alloc::vec!["deployer".into()];
        assert_eq!(ruling.reason, crate::reason::Reason::OtherHooks { hooks });
    }
}
