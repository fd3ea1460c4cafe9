//! Doing without the gate, without killing what waits at its hook; and coming back.

use portcullis::{
    api::Detach,
    instance::GroupName,
    record::{DetachRecord, Key, Record},
};

use super::overrides::{line, warrant};
use crate::{
    http::{
        App,
        problem::{Kind, Refusal},
    },
    records,
    stores::Batch,
};

/// Detaches a group, or attaches it again.
pub(super) fn detach(app: &App, group: &GroupName, wish: &Detach, operator: &str) -> Result<DetachRecord, Refusal> {
    let warrant = warrant(&wish.reason, operator)?;
    app.gated(group)?;
    let path = Key::Detach(group.clone()).path();
    let before = records::read::<Record>(&*app.store, &path)?;
    let in_effect = matches!(&before, Some((_, Record::Detach(detached))) if detached.ended_at.is_none());
    if wish.attach && !in_effect {
        return Err(Refusal::new(Kind::OverrideRefused, format!("{group} is not detached")));
    }
    let at = app.clock.now();
    let record = DetachRecord { warrant, at, ended_at: wish.attach.then_some(at) };
    let write = records::put(path, before.map(|(revision, _)| revision), &Record::Detach(record.clone()));
    let what = if wish.attach { "attached again" } else { "detached: all that waits is let in" };
    let event = line("detach", at, (group, None), operator, &format!("{what}: {}", record.warrant.because));
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}
