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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{super::fixtures::*, *};

    #[test]
    fn table() {
        let noticed = |seconds| {
            let mut scene = waiting().described(10);
            scene.observed.fold(crate::observation::Observation::Noticed(web()), at(seconds));
            scene
        };
        let unknown = || {
            let mut scene = waiting();
            scene.observed.groups.clear();
            scene
        };
        for (scene, now, is_due, until) in [
            (unknown(), 0, true, None),
            (waiting().described(10), 24, false, Some(at(25))),
            (waiting().described(10), 25, true, None),
            (noticed(11), 11, true, None),
            (noticed(10), 11, false, Some(at(25))),
            (noticed(9), 11, false, Some(at(25))),
        ] {
            let mut wakes = BTreeSet::new();
            let actions = due(&scene.observed, &scene.policy, at(now), &mut wakes);
            assert_eq!(actions.len(), usize::from(is_due), "at {now}");
            assert_eq!(wakes.into_iter().collect::<Vec<_>>(), until.into_iter().collect::<Vec<_>>(), "at {now}");
        }
    }
}
