//! The agents' listener (PROTOCOL.md §3). Every message is signed; nothing changes before all of it holds.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use portcullis::{
    challenge::{self, Challenge},
    digest::Digest,
    instance::{GroupName, InstanceId, WaitId},
    policy::Mode,
    record::{Key, Record, WaitRecord},
    signature::{Envelope, EnvelopeLimits, PublicKey, TrustedKeys},
};

use super::{
    App, answer, blocking,
    limits::Inflow,
    operators::Named,
    problem::{Kind, Refusal, malformed},
};
use crate::{
    reconcile::Snapshot,
    records::{self, Binding},
};

mod challenges;
mod enrol;
mod reports;

/// The routes; [`serve`](super::serve) adds the limits of each client.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/enrol", post(enrol))
        .route("/v1/challenge", post(challenge))
        .route("/v1/report", post(report))
        .route("/v1/manifests/{digest}", get(manifest))
        .route("/livez", get(super::operators::livez))
        .fallback(super::operators::not_found)
        .method_not_allowed_fallback(super::operators::method_not_allowed)
        .with_state(app)
}

async fn enrol(State(app): State<Arc<App>>, body: Inflow) -> Response {
    let result = match app.body(body, MESSAGE_BYTES_MAX).await {
        Ok(bytes) => {
            let _in_turn = app.enrolling.lock().await;
            blocking(&app, move |app| enrol::enrol(app, &bytes)).await
        }
        Err(refusal) => Err(refusal),
    };
    answer(&app, result, AGENT)
}

async fn challenge(State(app): State<Arc<App>>, body: Inflow) -> Response {
    let result = match app.body(body, MESSAGE_BYTES_MAX).await {
        Ok(bytes) => blocking(&app, move |app| challenges::challenge(app, &bytes)).await,
        Err(refusal) => Err(refusal),
    };
    answer(&app, result, AGENT)
}

async fn report(State(app): State<Arc<App>>, body: Inflow) -> Response {
    let client = body.client.clone();
    let mut answer = take_report(&app, body).await;
    // A round is over: the next is seconds away.
    if client.is_some_and(|client| client.is_crowded()) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn take_report(app: &Arc<App>, body: Inflow) -> Response {
    let result = match app.body(body, REPORT_BYTES_MAX).await {
        Ok(bytes) => blocking(app, move |app| reports::accept(app, &bytes)).await,
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok(accepted) => answer(app, Ok(reports::answer(app, accepted).await), AGENT),
        Err(refusal) => app.refuse(refusal, AGENT),
    }
}

/// Signed data, by a name that cannot be guessed: whoever knows the digest has it from the group's promotion.
async fn manifest(State(app): State<Arc<App>>, Named(digest): Named) -> Response {
    let result = blocking(&app, move |app| {
        let digest: Digest =
            digest.parse().or_else(|error| Digest::from_hex(&digest).ok_or(error)).map_err(malformed)?;
        let envelope = app.releases.sent(&digest)?;
        envelope.ok_or_else(|| Refusal::new(Kind::NotPublished, format!("{digest} was never published")))
    });
    match result.await {
        Ok(envelope) => {
            ([(header::CONTENT_TYPE, "application/vnd.dsse+json")], Bytes::from_owner(envelope)).into_response()
        }
        Err(refusal) => app.refuse(refusal, AGENT),
    }
}

/// A message whose signature by the bound key holds.
struct Signed<T> {
    message: T,
    binding_id: String,
    revision: u64,
    binding: Binding,
    /// Of the payload: what a resend is known by.
    digest: Digest,
}

/// Opens a message: read, look up the binding it names, verify with that binding's key. What it says is not judged yet.
fn open<T: serde::de::DeserializeOwned>(
    app: &App,
    bytes: &[u8],
    payload_type: &str,
    names: impl FnOnce(&T) -> &str,
) -> Result<Signed<T>, Refusal> {
    let envelope = Envelope::parse(bytes, &EnvelopeLimits::MESSAGE).map_err(malformed)?;
    let message: T =
        portcullis::json::parse(&envelope.payload, &portcullis::json::Limits::MESSAGE).map_err(malformed)?;
    let binding_id = names(&message).to_string();
    let (revision, binding) = binding(app, &binding_id)?;
    let key = PublicKey::from_pem(&binding.public_key).map_err(|error| super::problem::unavailable(&error))?;
    let digest = Digest::of(&envelope.payload);
    verify(envelope, payload_type, key)?;
    Ok(Signed { message, binding_id, revision, binding, digest })
}

fn binding(app: &App, id: &str) -> Result<(u64, Binding), Refusal> {
    // Ids are ours: hex. Anything else would name other things of the store.
    let known = if id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        records::read(&*app.store, &records::binding_path(id))?
    } else {
        None
    };
    known.ok_or_else(|| Refusal::new(Kind::UnknownBinding, "enrol, or enrol again"))
}

fn verify(envelope: Envelope, payload_type: &str, key: PublicKey) -> Result<(), Refusal> {
    let keys = TrustedKeys::new(vec![key], 1).map_err(malformed)?;
    envelope.verify(payload_type, &keys).map(drop).map_err(|error| Refusal::new(Kind::BadSignature, error))
}

fn check_audience(app: &App, audience: &str) -> Result<(), Refusal> {
    if audience == app.config.audience {
        return Ok(());
    }
    Err(Refusal::new(Kind::WrongAudience, format!("this is `{}`, not `{audience}`", app.config.audience)))
}

/// What the loop knows of an instance's whereabouts.
struct Place {
    /// The gated group that it was described in.
    group: Option<GroupName>,
    mode: Mode,
    wait: Option<WaitRecord>,
    accepted: Vec<Digest>,
}

impl Place {
    fn of(app: &App, snapshot: &Snapshot, instance: &InstanceId) -> Self {
        let group = snapshot.observed.instances.get(instance).map(|instance| instance.group.clone());
        let group = group.filter(|group| app.config.policy.groups.contains_key(group));
        let mode =
            group.as_ref().and_then(|group| app.config.policy.groups.get(group)).map_or(Mode::Enforce, |of| of.mode);
        let wait = match snapshot.observed.records.get(&Key::Wait(instance.clone())) {
            Some((_, Record::Wait(wait))) => Some(wait.clone()),
            _ => None,
        };
        let accepted = group.as_ref().map(|group| accepted(snapshot, group)).unwrap_or_default();
        Self { group, mode, wait, accepted }
    }

    /// The wait that a report would count for: 0 while the instance does not wait.
    fn open_wait(&self) -> WaitId {
        self.wait.as_ref().filter(|wait| !wait.over).map_or(WaitId(0), |wait| wait.wait)
    }

    /// Whether a report for `wait` says something about the present: it is the last wait, which may just have ended, or
    /// there is no wait now. A report of an earlier wait, or from before the wait was seen, proves nothing for it.
    fn takes(&self, wait: WaitId) -> bool {
        wait == self.open_wait() || self.wait.as_ref().is_some_and(|last| last.wait == wait)
    }
}

/// What a group accepts, the wanted manifest first.
fn accepted(snapshot: &Snapshot, group: &GroupName) -> Vec<Digest> {
    match snapshot.observed.records.get(&Key::Group(group.clone())) {
        Some((_, Record::Group(record))) => record.accepted.clone(),
        _ => Vec::new(),
    }
}

/// The next challenge of a binding, for the present wait.
fn issue(app: &App, id: &str, binding: &Binding, place: &Place) -> String {
    let issued = app.clock.now();
    Challenge {
        key_id: app.mac.id.clone(),
        audience: app.config.audience.clone(),
        binding: id.into(),
        boot: binding.boot.clone(),
        wait: place.open_wait(),
        manifest: place.accepted.first().copied(),
        n: binding.n + 1,
        issued,
        expires: issued + challenge::LIFETIME,
    }
    .seal(&app.mac)
}

/// Agents have no other name until their signature holds.
const AGENT: &str = "agent";
/// Enrolments and requests for challenges: a key, a token or a document, some names.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Reports: 1,000 differences a check, base64.
const REPORT_BYTES_MAX: usize = 4 << 20;
