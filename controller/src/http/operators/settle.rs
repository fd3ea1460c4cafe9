//! An operator's word on which key speaks for an instance: after a reinstall, or when two keys claim to be it.
//!
//! The key that is given up stays on record as used, so that it can enrol neither this instance nor another: whoever still has it
//! cannot be faster than the machine that is meant.

use portcullis::{
    api::{Claim, Settle, Settled},
    instance::InstanceId,
    record::Key,
    text,
};

use super::overrides::warrant;
use crate::{
    http::{
        App,
        problem::{Kind, Refusal},
    },
    records::{self, Binding},
    stores::{Batch, Entry, StoreError, Write},
};

/// Ends a dispute; with [`Claim::New`], also forgets the key that enrolled and all that was proven with it.
pub(super) fn settle(app: &App, id: &InstanceId, wish: &Settle, operator: &str) -> Result<Settled, Refusal> {
    let warrant = warrant(&wish.reason, operator)?;
    let refused = |detail: &str| Refusal::new(Kind::OverrideRefused, format!("{id}: {detail}"));
    let bound = records::read::<String>(&*app.store, &records::bound_path(id))?;
    let (_, binding) = bound.ok_or_else(|| Refusal::new(Kind::NotFound, format!("no key enrolled as `{id}`")))?;
    let disputed = Key::Dispute(id.clone()).path();
    let (paths, said) = match wish.key {
        Claim::Old if app.store.get(&disputed)?.is_none() => {
            return Err(refused("nobody else claims to be it: there is nothing to settle"));
        }
        Claim::Old => (vec![disputed], "the key that enrolled first speaks for it"),
        Claim::New => {
            let proven = [records::evidence_path(id), Key::Admission(id.clone()).path()];
            let bound = [records::binding_path(&binding), records::bound_path(id)];
            ([disputed].into_iter().chain(bound).chain(proven).collect(), "the next key that enrols speaks for it")
        }
    };
    let group = records::read::<Binding>(&*app.store, &records::binding_path(&binding))?.and_then(|(_, it)| it.group);
    let seen = app.snapshot().observed.instances.get(id).map(|seen| seen.group.clone());
    let event = Entry {
        at: app.clock.now(),
        kind: "settled",
        group: seen.or(group),
        instance: Some(id.clone()),
        actor: operator.into(),
        text: text::visible(&format!("{said}: {}", warrant.because)),
    };
    let removals: Result<Vec<_>, StoreError> = paths.into_iter().map(|path| removal(app, path)).collect();
    let writes = removals?.into_iter().flatten().collect();
    app.store.commit(Batch { writes, events: vec![event] })?;
    Ok(Settled { instance: id.clone(), key: wish.key })
}

fn removal(app: &App, path: String) -> Result<Option<Write>, StoreError> {
    let found = app.store.get(&path)?;
    Ok(found.map(|found| Write { path, expected: Some(found.revision), value: None }))
}
