//! Two keys claim to be one instance: somebody may speak in its name.

use alloc::{collections::BTreeSet, vec};

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    record::Key,
    timestamp::Timestamp,
};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let disputed = scope.members().filter(|(id, _)| scope.observed.records.contains_key(&Key::Dispute((*id).clone())));
    let instances = Tally::of(disputed.map(|(id, _)| (id.clone(), vec!["disputed".into()])));
    (!instances.is_empty()).then_some(Alert::Disputed { instances })
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};

    #[test]
    fn table() {
        let told = "two keys claim to be one instance: disputed on 1 (i-1)";
        check(
            "disputed",
            &[
                (waiting(), 100, "-"),
                (waiting().disputed(), 100, told),
                (proven().disputed().moved("i-1", "db"), 100, "-"),
            ],
        );
    }
}
