//! `POST /v1/join-tokens`: a secret that lets instances of one group enrol. Shown once, kept as a hash.

use std::time::Duration;

use portcullis::{digest::Digest, instance::GroupName, timestamp::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    http::{
        App,
        problem::{Refusal, malformed, unavailable},
    },
    records::{self, JoinToken},
    stores::{Batch, Entry},
};

/// What an operator asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    group: GroupName,
    expires_in_s: u64,
    uses: u32,
}

/// The only time that the token is told.
#[derive(Serialize)]
pub(super) struct Created {
    token: String,
    group: GroupName,
    expires: Timestamp,
    uses: u32,
}

/// Makes a token.
pub(super) fn create(app: &App, wish: &Wish, operator: &str) -> Result<Created, Refusal> {
    app.gated(&wish.group)?;
    if !(1..=EXPIRES_S_MAX).contains(&wish.expires_in_s) || !(1..=USES_MAX).contains(&wish.uses) {
        return Err(malformed(format!("`expires_in_s` may be 1 to {EXPIRES_S_MAX}, `uses` 1 to {USES_MAX}")));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| unavailable(&error))?;
    let token = format!("pcj_{}", Digest::from_bytes(random).to_hex());
    let now = app.clock.now();
    let expires = now + Duration::from_secs(wish.expires_in_s);
    let record = JoinToken { group: wish.group.clone(), expires, uses_left: wish.uses, created_by: operator.into() };
    let event = Entry {
        at: now,
        kind: "join_token",
        group: Some(wish.group.clone()),
        instance: None,
        actor: operator.into(),
        text: format!("join token created: {} uses until {expires}", wish.uses),
    };
    let write = records::put(records::token_path(&token), None, &record);
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(Created { token, group: wish.group.clone(), expires, uses: wish.uses })
}

/// 90 days: a token in a launch template is renewed at least quarterly.
const EXPIRES_S_MAX: u64 = 90 * 86_400;
const USES_MAX: u32 = 1_000_000;
