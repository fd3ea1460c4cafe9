//! Fewer instances serve than are wanted, for too long: in service, and not found unhealthy by their load balancers. The text
//! names what those that are held have in common, and what the cloud says of its own attempts: with a quota reached or a subnet
//! full, "held: 0" alone would be no help.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    instance::LifecycleState,
    timestamp::Timestamp,
    verdict::Verdict,
};

pub(super) fn rule(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let group = scope.group?;
    let facts = group.facts.as_ref()?;
    let since = short_since(scope)?;
    if !scope.has_come(since + scope.policy.stall_after, wakes) {
        return None;
    }
    let held = scope.rulings.iter().filter(|(_, ruling)| ruling.verdict != Verdict::Admitted);
    let held = held.map(|(id, ruling)| (id.clone(), ruling.reason.told()));
    let (serving, sick): (Vec<_>, Vec<_>) = scope.serving().partition(|(_, instance)| instance.serves());
    let held = Tally::of(held.chain(sick.into_iter().map(|(id, _)| (id.clone(), vec![UNHEALTHY.into()]))));
    let serving = u32::try_from(serving.len()).unwrap_or(u32::MAX);
    Some(Alert::Stalled { desired: facts.desired, serving, since, held, activities: facts.activities.clone() })
}

/// Since when too few serve. What was before this controller came is not known to it; but when the oldest wait began is on
/// record, and while somebody waits, too few serve; but for a warm pool, which is filled in good time.
fn short_since(scope: &Scope<'_>) -> Option<Timestamp> {
    let since = scope.group?.short_since?;
    let waiting = scope.members().filter(|(_, instance)| instance.state == LifecycleState::PendingWait);
    let oldest = waiting.filter_map(|(id, _)| scope.wait_since(id)).min();
    Some(oldest.map_or(since, |oldest| oldest.min(since)))
}

const UNHEALTHY: &str = "in service, and unhealthy behind its load balancer";

#[cfg(test)]
mod tests {
    use super::super::{
        super::fixtures::*,
        testing::{check, wakes},
    };
    use crate::{
        instance::LifecycleState::{InService, WarmedPendingWait},
        outcome::Status,
    };

    #[test]
    fn table() {
        let short = || waiting().described(590).short_since(10);
        let begin = "0 of 1 instances serve since 2024-10-04T00:00:00.000Z; ";
        let told = |rest: &str| alloc::format!("{begin}{rest}");
        let rows = [
            (short(), 599, "-".into()),
            (short(), 600, told("1 instance held: no_report on 1 (i-1)")),
            (
                short().reported(not_ready(&[Status::Fail]).received(590)),
                600,
                told("1 instance held: app: fail on 1 (i-1)"),
            ),
            (
                short().activity("Could not launch: quota"),
                600,
                told("1 instance held: no_report on 1 (i-1); the cloud says: Could not launch: quota"),
            ),
            // Nobody is held, and yet too few serve.
            (
                in_state(InService).admission(1).short_since(10).activity("no capacity"),
                610,
                "1 of 1 instances serve since 2024-10-04T00:00:10.000Z; none is held; the cloud says: no capacity"
                    .into(),
            ),
            (in_state(InService).admission(1).short_since(10), 609, "-".into()),
            (
                in_state(InService).admission(1).unhealthy().short_since(10),
                610,
                "0 of 1 instances serve since 2024-10-04T00:00:10.000Z; 1 instance held: in service, and unhealthy behind its \
                 load balancer on 1 (i-1)"
                    .into(),
            ),
            (waiting().described(590), 900, "-".into()),
            (short().short_since(590).in_state(WarmedPendingWait), 900, "-".into()),
        ];
        check("stalled", &rows.each_ref().map(|(scene, now, told)| (scene.clone(), *now, told.as_str())));
        wakes(&short().described(595), 598, 600, "stalled");
    }
}
