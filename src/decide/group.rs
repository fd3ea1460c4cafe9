//! All that is decided of one group: each of its instances by itself, then what concerns more than one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    Breaker, Freeze, Guard, RULES, alerts, breaker, bypass, case::Case, freeze, gated::Gated, opinion::Opinion, pacing,
    survivors, trial, waits, withdraw,
};
use crate::{action::Action, alert::Alert, instance::InstanceId, timestamp::Timestamp, verdict::Ruling};

/// What was decided of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfGroup {
    pub(super) rulings: BTreeMap<InstanceId, Ruling>,
    pub(super) breaker: Breaker,
    pub(super) freeze: Option<Freeze>,
    pub(super) guard: Guard,
    pub(super) alerts: Vec<Alert>,
    /// What should be done, whether its time has come or not.
    pub(super) wishes: Vec<Action>,
    /// The earliest moment after now at which all this could change by itself.
    pub(super) wake_at: Option<Timestamp>,
}

pub(super) fn decide(gated: &Gated<'_>) -> OfGroup {
    let cases = gated.cases();
    let mut opinions: BTreeMap<_, _> = cases.iter().map(|case| (case.id.clone(), opinion(case))).collect();
    let mut wakes: BTreeSet<Timestamp> = opinions.values().filter_map(|opinion| opinion.wake_at).collect();
    let mut wishes = Vec::new();
    let breaker = breaker::veto(&mut opinions, gated, &mut wishes, &mut wakes);
    pacing::one_each(&mut opinions, &breaker, gated);
    let fleet = withdraw::Fleet::of(gated, &cases);
    fleet.iter().for_each(|fleet| bypass::adopt(fleet, &mut wishes));
    let fleet = fleet.filter(withdraw::Fleet::withdraws);
    let freeze = fleet.as_ref().and_then(|fleet| freeze::of(fleet, &mut wishes, &mut wakes));
    fleet.iter().for_each(|fleet| withdraw::within_limits(&mut opinions, freeze.as_ref(), fleet, &mut wakes));
    let mut rulings = BTreeMap::new();
    for (id, opinion) in opinions {
        wishes.extend(opinion.wishes);
        opinion.ruling.into_iter().for_each(|ruling| drop(rulings.insert(id.clone(), ruling)));
    }
    let guard = survivors::protect(&rulings, &breaker, gated, &mut wishes, &mut wakes);
    let ruled = alerts::Ruled { rulings: &rulings, breaker: &breaker, freeze: freeze.as_ref(), guard };
    let alerts = alerts::firing(&ruled, gated, &mut wakes);
    let wake_at = wakes.into_iter().find(|at| *at > gated.now);
    OfGroup { rulings, breaker, freeze, guard, alerts, wishes, wake_at }
}

fn opinion(case: &Case<'_>) -> Opinion {
    let opinion = trial::noted(case, waits::over(case, RULES.iter().find_map(|rule| rule(case)).unwrap_or_default()));
    // Most rules ask what an operator says, and whose word was the reason for which answer is not told apart.
    case.words_end().fold(opinion, |opinion, at| opinion.until(case, at))
}
