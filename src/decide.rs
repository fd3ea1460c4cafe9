//! The decision: from all that is known, what to do now, and why.
//!
//! Every instance of a gated group is a `Case`; a list of rules looks at it, and the first that answers wins. A rule is pure,
//! and its `Opinion` holds the ruling, the actions it wishes for, and the moment at which it could change by time alone. What
//! concerns more than one instance comes after: none is given up while launches keep failing for one cause (`breaker`), else one
//! of a group at a time (`pacing`). Of those that serve, none is taken out of traffic while many fail for one cause (`freeze`), nor
//! beyond what its group may lose (`withdraw`), and they are protected while new ones are not proven (`survivors`). Last come
//! attempts under way and backoff (`retry`), the lease, and the budget of calls (`budget`).
//!
//! The order of the rules is an argument: what is being withdrawn is so whatever its state (`withdrawn`), what can be held again
//! comes next (`in_place`), what cannot be completed comes first of what waits (`no_hook`, `waits`), then what was done already
//! and cannot be undone (`admitted`, `rejected`) and what an operator says (`operator`), then what proof allows (`admit`), then
//! what its absence demands (`give_up`, `hold`). `hold` takes every waiting instance that is left, so none is without a reason.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

pub use breaker::Breaker;
use case::Case;
pub use freeze::Freeze;
use gated::{Gated, Members};
use group::OfGroup;
pub use memo::Memo;
use opinion::Opinion;
pub use survivors::Guard;

use crate::{
    action::Action,
    alert::{Alert, AlertKey},
    instance::{GroupName, InstanceId},
    observed::Observed,
    policy::Policy,
    timestamp::Timestamp,
    verdict::Ruling,
};

mod admit;
mod admitted;
mod alerts;
mod breaker;
mod budget;
mod case;
mod complete;
mod describe;
mod drift;
#[cfg(test)]
mod fixtures;
mod freeze;
mod gated;
mod give_up;
mod group;
mod heartbeat;
mod hold;
mod in_place;
mod memo;
mod no_hook;
mod operator;
mod opinion;
mod pacing;
pub mod promotion;
mod proof;
mod rejected;
mod retry;
mod serving;
mod survivors;
mod tell;
pub mod trial;
mod waits;
mod withdraw;
mod withdrawn;

/// What to do now, and what to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// One for each instance that waits or serves in a gated group.
    pub rulings: BTreeMap<InstanceId, Ruling>,
    /// One for each gated group: whether it replaces what fails.
    pub breakers: BTreeMap<GroupName, Breaker>,
    /// The groups from which none is withdrawn, since many fail for one cause.
    pub freezes: BTreeMap<GroupName, Freeze>,
    /// One for each gated group: whom it protects from scale-in.
    pub guards: BTreeMap<GroupName, Guard>,
    /// All that somebody should look at now.
    pub alerts: BTreeMap<AlertKey, Alert>,
    /// To be attempted once each, most urgent first. Empty without the lease.
    pub actions: Vec<Action>,
    /// The earliest moment after now at which this decision could change by itself, if nothing is observed before. What is
    /// left out for want of the lease or of budget comes back with an observation: the lease, or the answer to a call.
    pub wake_at: Option<Timestamp>,
}

/// Decides from scratch. Pure: the same knowledge, policy and moment give the same decision.
pub fn decide(observed: &Observed, policy: &Policy, now: Timestamp) -> Decision {
    let (members, nobody) = (Members::of_each(observed), Members::default());
    let groups = policy.groups.iter().map(|(name, of_group)| {
        let members = members.get(name).unwrap_or(&nobody);
        (name.clone(), group::decide(&Gated::of((name, of_group), &policy.limits, members, observed, now)))
    });
    whole(&groups.collect(), observed, policy, now)
}

/// All groups together, and what they have in common.
fn whole(groups: &BTreeMap<GroupName, OfGroup>, observed: &Observed, policy: &Policy, now: Timestamp) -> Decision {
    let mut wakes: BTreeSet<Timestamp> = groups.values().filter_map(|group| group.wake_at).collect();
    let mut wishes = describe::due(observed, policy, now, &mut wakes);
    let (mut decision, mut alerts) = (Decision::default(), alerts::own(observed, policy, now, &mut wakes));
    for (name, group) in groups {
        decision.rulings.extend(group.rulings.iter().map(|(id, ruling)| (id.clone(), ruling.clone())));
        decision.breakers.insert(name.clone(), group.breaker.clone());
        decision.freezes.extend(group.freeze.clone().map(|freeze| (name.clone(), freeze)));
        decision.guards.insert(name.clone(), group.guard);
        let key = |alert: &Alert| AlertKey { group: name.clone(), code: alert.code().into() };
        alerts.extend(group.alerts.iter().map(|alert| (key(alert), alert.clone())));
        wishes.extend(group.wishes.iter().cloned());
    }
    wishes.extend(tell::due(&alerts, observed, policy, now, &mut wakes));
    let wishes = retry::sendable(wishes, observed, policy, now, &mut wakes);
    let mut actions = budget::granted(wishes, observed, policy, now, &mut wakes);
    if !leads(observed, policy, now, &mut wakes) {
        actions.clear();
    }
    Decision { alerts, actions, wake_at: wakes.into_iter().find(|at| *at > now), ..decision }
}

type Rule = fn(&Case<'_>) -> Option<Opinion>;

/// The first that answers wins.
const RULES: [Rule; 11] = [
    withdrawn::rule,
    in_place::rule,
    serving::rule,
    no_hook::rule,
    waits::rule,
    admitted::rule,
    operator::rule,
    rejected::rule,
    admit::rule,
    give_up::rule,
    hold::rule,
];

/// Whether this controller may act: until its lease ends, less the time that a call may take, so that a call is over before
/// another holder makes its first.
fn leads(observed: &Observed, policy: &Policy, now: Timestamp, wakes: &mut BTreeSet<Timestamp>) -> bool {
    let Some((_, until)) = observed.lease else {
        return false;
    };
    let call_ms = u64::try_from(policy.limits.call_timeout.as_millis()).unwrap_or(u64::MAX);
    let acts_until = Timestamp(until.0.saturating_sub(call_ms));
    wakes.insert(acts_until);
    now < acts_until
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{decide, fixtures::*};
    use crate::instance::LifecycleState;

    #[test]
    fn a_whole_decision() {
        let decision = decide(&proven().observed, &proven().policy, at(100));
        assert_eq!(decision.actions.iter().map(said).collect::<Vec<_>>(), ["admit i-1"]);
        assert_eq!(decision.rulings[&i1()].reason.code(), "proven");
        assert_eq!(decision.wake_at.map(seconds).as_deref(), Some("108+"));
    }

    #[test]
    fn without_the_lease_nothing_is_done_and_all_is_told() {
        for (until, acts) in [(None, false), (Some(129), false), (Some(130), false), (Some(131), true)] {
            let mut scene = proven();
            scene.observed.lease = until.map(|until| (1, at(until)));
            let decision = decide(&scene.observed, &scene.policy, at(100));
            assert_eq!(decision.actions.is_empty(), !acts, "until {until:?}");
            assert_eq!(decision.rulings.len(), 1);
            let wake_at = decision.wake_at.map(seconds);
            assert_eq!(wake_at.as_deref(), Some(if acts { "101" } else { "108+" }), "until {until:?}");
        }
    }

    #[test]
    fn only_gated_and_described_groups_are_ours() {
        let mut elsewhere = proven();
        elsewhere.policy.groups.clear();
        let decision = decide(&elsewhere.observed, &elsewhere.policy, at(100));
        assert!(decision.actions.is_empty() && decision.rulings.is_empty());
        let mut unseen = proven();
        unseen.observed.groups.clear();
        let decision = decide(&unseen.observed, &unseen.policy, at(100));
        assert_eq!(decision.actions.iter().map(said).collect::<Vec<_>>(), ["describe web"]);
        assert!(decision.rulings.is_empty());
        let leaving = in_state(LifecycleState::Terminating).wait(1, false).described(99);
        let decision = decide(&leaving.observed, &leaving.policy, at(100));
        assert_eq!(decision.actions.iter().map(said).collect::<Vec<_>>(), ["wait/i-1 1 over"]);
        assert!(decision.rulings.is_empty());
    }
}
