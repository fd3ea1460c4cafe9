//! Describes every gated group often enough: no notice is needed, though one makes it sooner.

use alloc::{collections::BTreeSet, vec::Vec};

use crate::{action::Action, observed::Observed, policy::Policy, timestamp::Timestamp};

/// The groups whose description is due; for all others, when it will be.
pub(super) fn due(
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> Vec<Action> {
    let mut due = Vec::new();
    for name in policy.groups.keys() {
        let at = due_at(observed, policy, name);
        if now >= at {
            due.push(Action::Describe(name.clone()));
        } else {
            wakes.insert(at);
        }
    }
    due
}

/// At once when it was never described, or somebody noticed something since.
fn due_at(observed: &Observed, policy: &Policy, name: &crate::instance::GroupName) -> Timestamp {
    let group = observed.groups.get(name);
    let Some(asked_at) = group.and_then(|group| group.asked_at) else {
        return Timestamp(0);
    };
    let noticed_at = group.and_then(|group| group.noticed_at).filter(|noticed_at| *noticed_at > asked_at);
    noticed_at.unwrap_or(asked_at + policy.limits.describe_every)
}
