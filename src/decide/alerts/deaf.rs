//! A sink takes no alerts: whoever listens there hears nothing, and takes it for peace.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use super::Scope;
use crate::{
    action::{AttemptKey, Told},
    alert::{Alert, AlertKey},
    record::{Key, Record},
    timestamp::Timestamp,
};

/// Told in the group whose alert it did not take, since that is what somebody misses.
pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let first = AlertKey { group: scope.name.clone(), code: String::new() };
    let first = AttemptKey::Tell(first, String::new(), Timestamp(0), Told::Fires);
    let of_group = |key: &AttemptKey| matches!(key, AttemptKey::Tell(alert, ..) if alert.group == *scope.name);
    let tried = scope.observed.attempts.range(first..).take_while(|(key, _)| of_group(key));
    let failing = tried.filter_map(|(key, attempts)| match key {
        AttemptKey::Tell(alert, sink, since, _) if attempts.sent >= FAILED_MIN => {
            let present = match scope.observed.records.get(&Key::Alert(alert.clone())) {
                Some((_, Record::Alert(record))) => record.since == *since,
                _ => true,
            };
            (present && !attempts.was_accepted()).then(|| sink.clone())
        }
        _ => None,
    });
    let mut sinks: Vec<String> = failing.collect();
    sinks.dedup();
    (!sinks.is_empty()).then_some(Alert::Deaf { sinks })
}

/// With backoff, about a quarter of a minute.
const FAILED_MIN: u32 = 5;
