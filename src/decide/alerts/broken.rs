//! Launches keep failing for one cause: a person is wanted, for nothing is replaced meanwhile.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{alert::Alert, decide::Breaker, timestamp::Timestamp};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    match scope.breaker {
        Breaker::Closed => None,
        Breaker::Open { cause, since, .. } | Breaker::HalfOpen { cause, since } => {
            Some(Alert::BreakerOpen { cause: cause.clone(), since: *since })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};

    #[test]
    fn table() {
        let told = "launches keep failing since 2024-10-04T00:01:40.000Z, and none is replaced: no_report";
        check(
            "breaker_open",
            &[
                (waiting(), 2_000, "-"),
                (waiting().broken(100, 100, 2_100), 2_000, told),
                (waiting().broken(100, 100, 1_900), 2_000, told),
                (waiting().broken(100, 100, 2_100).mended(200), 2_000, "-"),
            ],
        );
    }
}
