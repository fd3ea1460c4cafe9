//! Tells one wait of an instance from the next, and keeps that on record: evidence of one proves nothing for another.
//!
//! The cloud does not say when a wait began, nor which one it is. A wait begins when an instance is first described as waiting,
//! and is over when it is described in any other state. A whole round (admitted, served, root volume replaced, waiting again)
//! may pass between two descriptions, and then the agent tells: **an instance that waits with an admission of this wait on
//! record, and reports from another boot than was admitted, waits anew.** Whether the cloud took our CONTINUE is not asked,
//! since after a restart nobody knows. An instance that merely rebooted between the admission's record and CONTINUE gets a new
//! wait too: it has to prove itself again anyway, and all it gains is a later deadline.

use super::{case::Case, opinion::Opinion};
use crate::{
    action::Action,
    instance::WaitId,
    reason::Reason,
    record::{Key, Record, WaitRecord},
};

/// Answers for a waiting instance whose wait is not on record.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    if !case.instance.state.is_waiting() || case.wait().is_some_and(|wait| !wait.over && !began_anew(case, wait)) {
        return None;
    }
    Some(begin(case))
}

/// Holds the instance until the wait that it is in is on record.
pub(super) fn begin(case: &Case<'_>) -> Opinion {
    let wait = WaitId(case.wait().map_or(1, |last| last.wait.0 + 1));
    let record = WaitRecord { group: case.instance.group.clone(), wait, since: case.now, over: false };
    Opinion::held(case, Reason::WaitNotRecorded).wishing(write(case, record))
}

/// The record that a wait is over, where it is and none says so.
pub(super) fn over(case: &Case<'_>) -> Option<Action> {
    let wait = case.wait().filter(|wait| !wait.over && !case.instance.state.is_waiting())?;
    Some(write(case, WaitRecord { over: true, ..wait.clone() }))
}

fn began_anew(case: &Case<'_>, wait: &WaitRecord) -> bool {
    let admitted = case.admission().and_then(|admission| admission.boot.as_ref());
    let speaks = case.instance.evidence.as_ref();
    let speaks = speaks.filter(|evidence| evidence.wait == wait.wait && evidence.challenged_at >= wait.since);
    admitted.is_some_and(|boot| speaks.is_some_and(|evidence| evidence.boot != *boot))
}

fn write(case: &Case<'_>, record: WaitRecord) -> Action {
    let key = Key::Wait(case.id.clone());
    Action::Record { revision: case.revision(&key), key, record: Record::Wait(record) }
}
