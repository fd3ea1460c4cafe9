//! Agents of serving instances say nothing. Silence reads as "all is well" where nobody listens for it: here it is a finding.

use alloc::{collections::BTreeSet, vec};

use super::Scope;
use crate::{
    alert::{Alert, Tally},
    timestamp::Timestamp,
};

/// A controller that has just come (back) listens first: reports that it missed are no silence.
pub(super) fn rule(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let listening_since = scope.observed.listening_since?;
    let mut silent = vec![];
    for (id, instance) in scope.serving() {
        let heard_at = instance.evidence.as_ref().map_or(Timestamp(0), |evidence| evidence.received_at);
        let since = heard_at.max(listening_since).max(instance.serving_since.unwrap_or_default());
        if scope.has_come(since + scope.policy.silent_after, wakes) {
            let never = if instance.evidence.is_none() { "never a report" } else { "no report any more" };
            silent.push((id.clone(), vec![never.into()]));
        }
    }
    let instances = Tally::of(silent);
    (!instances.is_empty()).then_some(Alert::Silent { instances })
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
        let serving = || in_state(InService).wait(1, true).admission(1);
        let told = |words: &str| alloc::format!("serving, and no report comes: {words} on 1 (i-1)");
        let rows = [
            (serving().serving_since(0), 299, "-".into()),
            (serving().serving_since(0), 300, told("never a report")),
            (serving().serving_since(100), 399, "-".into()),
            (serving().reported(ready()), 394, "-".into()),
            (serving().reported(ready()), 395, told("no report any more")),
            (serving().listening_since(Some(at(200))), 499, "-".into()),
            (serving().listening_since(Some(at(200))), 500, told("never a report")),
            (serving().listening_since(None), 900, "-".into()),
            (waiting(), 900, "-".into()),
        ];
        check("silent", &rows.each_ref().map(|(scene, now, told)| (scene.clone(), *now, told.as_str())));
        wakes(&serving().serving_since(0).described(290), 299, 300, "silent");
    }
}
