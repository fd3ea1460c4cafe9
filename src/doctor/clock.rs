//! The controller's clock against the cloud's: requests are signed with it, and what is fresh or expired goes by it.

use alloc::{format, vec, vec::Vec};

use super::{Facts, Symptom};
use crate::duration::Span;

pub(super) fn look(facts: &Facts) -> Vec<Symptom> {
    let Some(cloud) = &facts.cloud else { return vec![] };
    let Some(ahead_ms) = cloud.ahead_ms else {
        return vec![Symptom::unclear("the cloud did not tell the time")];
    };
    if ahead_ms.unsigned_abs() < APART_MS_MAX {
        return vec![];
    }
    let apart = Span::from_s(ahead_ms.unsigned_abs() / 1_000);
    let which = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let what = format!("the controller's clock is {apart} {which} the cloud's");
    vec![Symptom::mend(what, "let it follow a time server; on AWS: 169.254.169.123")]
}

/// The cloud tells whole seconds, and its answer took a moment. A report may be 30 s old: a sixth of that is much.
const APART_MS_MAX: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::super::{Topic, fixtures::*};

    #[test]
    fn table() {
        for (ahead_ms, told) in [
            (Some(0), None),
            (Some(4_999), None),
            (Some(-4_999), None),
            (Some(5_000), Some("mend clock: the controller's clock is 5s ahead of the cloud's")),
            (Some(-61_500), Some("mend clock: the controller's clock is 1m1s behind the cloud's")),
            (None, Some("unclear clock: the cloud did not tell the time")),
        ] {
            let mut facts = good();
            facts.cloud.as_mut().expect("it has one").ahead_ms = ahead_ms;
            assert_eq!(found(&facts, Some(Topic::Clock)).first().map(alloc::string::String::as_str), told);
        }
    }
}
