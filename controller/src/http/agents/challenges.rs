//! `POST /v1/challenge`: a single-use value, asked for before the first read. Nothing is stored: its MAC says all.

use portcullis::{
    api::Challenged,
    challenge::{PAYLOAD_TYPE, Request},
    instance::GroupName,
};

use super::{Place, Signed, check_audience, enrol::check_scope, issue, open};
use crate::{
    http::{
        App,
        problem::{Kind, Refusal},
    },
    records::Binding,
};

/// Handles a request for a challenge.
pub(super) fn challenge(app: &App, bytes: &[u8]) -> Result<Challenged, Refusal> {
    let signed: Signed<Request> = open(app, bytes, PAYLOAD_TYPE, |request: &Request| &request.binding)?;
    let Signed { message, binding_id, binding, .. } = signed;
    answer(app, &message, &binding_id, &binding).map_err(|refusal| refusal.of(&binding.instance))
}

fn answer(app: &App, message: &Request, id: &str, binding: &Binding) -> Result<Challenged, Refusal> {
    check_audience(app, &message.audience)?;
    if message.boot_id != binding.boot {
        return Err(Refusal::new(Kind::WrongBoot, "enrol again to announce the boot"));
    }
    let place = Place::of(app, &app.snapshot(), &binding.instance);
    check_scope(binding.group.as_ref(), &place)?;
    if place.group.is_none()
        && let Some(group) = &binding.group
    {
        app.notices.notice(group.clone());
    }
    Ok(Challenged {
        challenge: issue(app, id, binding, &place),
        wanted: place.accepted.first().copied(),
        wait: place.open_wait(),
        group: place.group.unwrap_or_else(|| GroupName::from("")),
        accepted: place.accepted,
    })
}
