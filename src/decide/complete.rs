//! Ending a wait, either way: the same care for CONTINUE as for ABANDON.
//!
//! The cloud does not take the same call twice, and answers "no active action" for calls that came too late and for some that
//! came too early. So an attempt is made on what was described after all former attempts have had their effect, and a short
//! time ago.

use super::{case::Case, opinion::Opinion};
use crate::{action::Action, record::WaitRecord, timestamp::Timestamp};

/// Wishes for `call`, or for what must come before it: a description asked for no earlier than `since`.
pub(super) fn complete(
    case: &Case<'_>,
    wait: &WaitRecord,
    call: Action,
    since: Timestamp,
    opinion: Opinion,
) -> Opinion {
    let is_described = is_described(case, Some(wait), since);
    when_described(case, call, is_described, opinion)
}

/// The same for a call that ends no wait: after its own earlier attempts settled.
pub(super) fn depart(case: &Case<'_>, call: Action, since: Timestamp, opinion: Opinion) -> Opinion {
    let settled_at = case.attempts(&call.key()).map(|attempts| attempts.settled_at(case.limits));
    let is_described = is_described(case, None, settled_at.map_or(since, |at| since.max(at)));
    when_described(case, call, is_described, opinion)
}

fn when_described(case: &Case<'_>, call: Action, is_described: bool, opinion: Opinion) -> Opinion {
    let next_at = case.attempts(&call.key()).map(|attempts| attempts.next_at(case.limits));
    if let Some(next_at) = next_at.filter(|at| *at > case.now) {
        return opinion.until(case, next_at);
    }
    if is_described {
        return opinion.wishing(call).until(case, described_until(case));
    }
    opinion.wishing(Action::Describe(case.instance.group.clone()))
}

/// Whether the description is fresh, was asked for no earlier than `since`, and after every attempt at ending `wait` settled.
pub(super) fn is_described(case: &Case<'_>, wait: Option<&WaitRecord>, since: Timestamp) -> bool {
    let tried = wait.into_iter().flat_map(|wait| [case.admits(wait), case.give_ups(wait)]);
    let settled = tried.flatten().map(|attempts| attempts.settled_at(case.limits));
    let since = settled.fold(since, Timestamp::max);
    let described_at = case.instance.described_at;
    described_at >= since && case.now.since(described_at) <= case.limits.describe_age_max
}

/// When the description is no longer fresh.
pub(super) fn described_until(case: &Case<'_>) -> Timestamp {
    Case::too_old_at(case.instance.described_at, case.limits.describe_age_max)
}
