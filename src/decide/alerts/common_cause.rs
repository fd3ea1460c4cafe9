//! Many that serve fail for one cause: a person is wanted, since nothing is withdrawn meanwhile.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{alert::Alert, timestamp::Timestamp};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let freeze = scope.freeze?;
    Some(Alert::CommonCause { cause: freeze.cause.clone(), count: freeze.count, since: freeze.since })
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};

    #[test]
    fn table() {
        let told = "2 that serve fail for one cause, and none is withdrawn since 2024-10-04T00:01:40.000Z: app: fail";
        check(
            "common_cause",
            &[
                (drifting(&["i-1", "i-2", "i-3"], &["i-1", "i-2"], 100), 100, told),
                (drifting(&["i-1", "i-2", "i-3"], &["i-1"], 100), 100, "-"),
            ],
        );
    }
}
