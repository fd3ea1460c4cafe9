//! An instance refresh waits for instances that the survivors guard protects, and has done so for too long: it fails after an hour. A
//! refresh that goes well waits for a minute at a time, until the next instance is proven.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{
    alert::Alert,
    decide::{Guard, survivors::kept},
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let refresh = scope.group?.facts.as_ref()?.refresh.as_ref();
    let refresh = refresh.filter(|refresh| refresh.waits_for_protected && scope.guard == Guard::Impaired)?;
    let kept = kept(scope.name, scope.observed);
    let protected = scope.members().filter(|(id, instance)| instance.protected && kept.contains_key(*id));
    let protected: BTreeSet<_> = protected.filter_map(|(id, _)| kept.get(id)).collect();
    let since = **protected.first()?;
    if !scope.has_come(since + scope.policy.stall_after, wakes) {
        return None;
    }
    Some(Alert::RefreshWaits { protected: protected.len(), since, said: refresh.said.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::{
        super::fixtures::*,
        testing::{check, wakes},
    };
    use crate::instance::LifecycleState::InService;

    #[test]
    fn table() {
        let refreshed = |waits| {
            let scene = waiting().beside("i-2", InService).wait_of("i-2", 1, at(0), true);
            scene.guarded("i-2", 100).protected("i-2").refreshing(waits).described(690)
        };
        let told = "an instance refresh (5 % done) waits for 1 instances, protected since 2024-10-04T00:01:40.000Z until new ones \
                    are proven, and fails after an hour";
        check(
            "refresh_waits",
            &[
                (refreshed(true), 699, "-"),
                (refreshed(true), 700, told),
                (refreshed(false), 700, "-"),
                (refreshed(true).observing(), 700, "-"),
            ],
        );
        wakes(&refreshed(true).described(698), 699, 700, "refresh_waits");
    }
}
