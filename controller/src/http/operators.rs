//! The operators' listener: what is held, and why; publishing, promoting, join tokens. Every change names its operator.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use portcullis::{
    api::{Event, Override, Settle},
    digest::Digest,
    exposition,
    instance::{GroupName, InstanceId},
    json::{self, Limits},
    signature::EnvelopeLimits,
    timestamp::Timestamp,
};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{
    App, answer, blocking,
    limits::Inflow,
    problem::{Kind, Refusal, malformed},
};
use crate::stores::{Change, Store, StoreError};

mod detach;
mod doctor;
mod overrides;
mod promotion;
mod publication;
mod settle;
mod tokens;
mod view;

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    let protected = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/instances/{id}", get(instance))
        .route("/v1/events", get(events))
        .route("/v1/doctor", get(examine))
        .route("/v1/releases", get(releases).post(publish))
        .route("/v1/groups/{group}/promote", on_group(promotion::promote))
        .route("/v1/groups/{group}/retire", on_group(promotion::retire))
        .route("/v1/groups/{group}/trial", get(trial))
        .route("/v1/groups/{group}/pause", on_group(overrides::pause))
        .route("/v1/groups/{group}/retry", on_group(overrides::retry))
        .route("/v1/groups/{group}/withdraw", on_group(overrides::withdraw))
        .route("/v1/groups/{group}/detach", on_group(detach::detach))
        .route("/v1/groups/{group}/acknowledge", on_group(overrides::acknowledge))
        .route("/v1/instances/{id}/override", post(override_instance))
        .route("/v1/instances/{id}/settle", post(settle_instance))
        .route("/v1/join-tokens", post(join_token))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), authenticate));
    Router::new()
        .merge(protected)
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

/// A name in the path; what is no text is refused like anything else that cannot be read.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(malformed)
    }
}

/// The operator's name, as the configuration has it with the token.
#[derive(Debug, Clone)]
struct Operator(String);

async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.split_once(' '));
    // RFC 9110, §11.1: the scheme's case does not matter.
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    match token.and_then(|token| operator(&app.config.operator_tokens, token)) {
        Some(name) => {
            request.extensions_mut().insert(Operator(name));
            next.run(request).await
        }
        None => app.refuse(Refusal::new(Kind::Unauthorized, "give `Authorization: Bearer TOKEN`"), "operator"),
    }
}

/// Compares with every token, all bytes of each: how long it takes says nothing.
fn operator(tokens: &[(Digest, String)], token: &str) -> Option<String> {
    let given = Digest::of(token.as_bytes());
    let mut found = None;
    for (hash, name) in tokens {
        let different = hash.as_bytes().iter().zip(given.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        if different == 0 {
            found = Some(name.clone());
        }
    }
    found
}

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Ready once a turn was made: before that nobody can be told anything.
async fn readyz(State(app): State<Arc<App>>) -> Response {
    if app.snapshot().turn > 0 {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the loop has not made its first turn\n").into_response()
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let newest = *app.store.audited().borrow();
    // A store that cannot be read is told of elsewhere.
    if let Ok(lines) = blocking(&app, |app| Ok(app.store.audit_lines()?)).await {
        app.metrics.audit_reaches(newest, lines);
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let (media_type, page) = exposition::negotiated(app.metrics.page(), accept);
    ([(header::CONTENT_TYPE, media_type)], page).into_response()
}

pub(super) async fn not_found() -> Response {
    Refusal::new(Kind::NotFound, "no such endpoint").into_response()
}

pub(super) async fn method_not_allowed() -> Response {
    Refusal::new(Kind::MethodNotAllowed, "the endpoint has other methods").into_response()
}

async fn status(State(app): State<Arc<App>>, Extension(Operator(name)): Extension<Operator>) -> Response {
    let result = blocking(&app, |app| view::status(app, &app.snapshot())).await;
    answer(&app, result, &name)
}

async fn instance(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Named(id): Named,
) -> Response {
    let snapshot = app.snapshot();
    let found = view::instance(&app, &snapshot, &InstanceId(id));
    let result =
        found.ok_or_else(|| Refusal::new(Kind::NotFound, "no gated group that was described has this instance"));
    answer(&app, result, &name)
}

async fn examine(State(app): State<Arc<App>>, Extension(Operator(name)): Extension<Operator>) -> Response {
    let result = doctor::examine(&app).await;
    answer(&app, result, &name)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<u64>,
    /// RFC 3339.
    since: Option<String>,
    limit: Option<usize>,
    wait_s: Option<u64>,
}

async fn events(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Response {
    let result = match query {
        Ok(Query(query)) => read_events(&app, query).await,
        Err(error) => Err(malformed(error)),
    };
    answer(&app, result, &name)
}

/// Lines after one that is known, or of a time and later, or of both, oldest first; without either, the newest. With `wait_s`,
/// waits for the first that comes.
async fn read_events(app: &Arc<App>, query: EventsQuery) -> Result<Vec<Event>, Refusal> {
    let limit = query.limit.unwrap_or(EVENTS_DEFAULT).clamp(1, EVENTS_MAX);
    let moment = |text: &str| Timestamp::parse_rfc3339(text).ok_or_else(|| malformed("`since` must be RFC 3339"));
    let since = query.since.as_deref().map(moment).transpose()?;
    let mut audited = app.store.audited();
    let newest = *audited.borrow();
    let first = if since.is_some() { 0 } else { newest.saturating_sub(limit as u64) };
    let after = query.after.unwrap_or(first);
    let since = since.unwrap_or_default();
    let read = |after| blocking(app, move |app| Ok(events_since(&*app.store, after, since, limit)?));
    let found = read(after).await?;
    let Some(wait_s) = query.wait_s.filter(|_| found.is_empty()) else { return Ok(found) };
    let (wait, seen) = (Duration::from_secs(wait_s.min(EVENTS_WAIT_S_MAX)), newest.max(after));
    // In time or not: what there is then is the answer.
    let _ = tokio::time::timeout(wait, audited.wait_for(|newest| *newest > seen)).await;
    read(seen).await
}

/// Reads until there are enough: lines are in the order in which they were written, which is nearly, not quite, that of time.
fn events_since(store: &dyn Store, mut after: u64, since: Timestamp, limit: usize) -> Result<Vec<Event>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = store.events(after, EVENTS_MAX)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.sequence;
        found.extend(page.into_iter().filter(|event| event.at >= since).take(limit - found.len()));
        if found.len() == limit {
            return Ok(found);
        }
    }
}

async fn releases(State(app): State<Arc<App>>, Extension(Operator(name)): Extension<Operator>) -> Response {
    let result = blocking(&app, |app| publication::list(app, &app.snapshot())).await;
    answer(&app, result, &name)
}

async fn publish(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    body: Inflow,
) -> Response {
    let operator = name.clone();
    let result = match app.body(body, EnvelopeLimits::MANIFEST.bytes_max).await {
        Ok(bytes) => blocking(&app, move |app| publication::publish(app, &bytes, &operator)).await,
        Err(refusal) => Err(refusal),
    };
    answer(&app, result, &name)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialQuery {
    since: Option<Timestamp>,
}

async fn trial(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Named(group): Named,
    query: Result<Query<TrialQuery>, QueryRejection>,
) -> Response {
    let result = query.map_err(malformed).and_then(|Query(query)| {
        view::trial(&app, &app.snapshot(), &GroupName(group), query.since.unwrap_or_default())
    });
    answer(&app, result, &name)
}

async fn override_instance(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Named(id): Named,
    body: Inflow,
) -> Response {
    change(app, name, body, move |app, wish: &Override, operator| overrides::say(app, &InstanceId(id), wish, operator))
        .await
}

async fn settle_instance(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Named(id): Named,
    body: Inflow,
) -> Response {
    change(app, name, body, move |app, wish: &Settle, operator| settle::settle(app, &InstanceId(id), wish, operator))
        .await
}

async fn join_token(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    body: Inflow,
) -> Response {
    change(app, name, body, move |app, wish: &tokens::Wish, operator| tokens::create(app, wish, operator)).await
}

/// A change of one group: the wish is the body.
fn on_group<W, T>(work: fn(&App, &GroupName, &W, &str) -> Result<T, Refusal>) -> MethodRouter<Arc<App>>
where
    W: serde::de::DeserializeOwned + Send + 'static,
    T: serde::Serialize + Send + 'static,
{
    post(
        move |State(app): State<Arc<App>>,
              Extension(Operator(name)): Extension<Operator>,
              Named(group): Named,
              body: Inflow| {
            change(app, name, body, move |app, wish: &W, operator| work(app, &GroupName(group), wish, operator))
        },
    )
}

/// What an operator asks for, done in the operator's name. Whoever has the answer sees what it came to.
async fn change<W, T>(
    app: Arc<App>,
    name: String,
    body: Inflow,
    work: impl FnOnce(&App, &W, &str) -> Result<T, Refusal> + Send + 'static,
) -> Response
where
    W: serde::de::DeserializeOwned + Send + 'static,
    T: serde::Serialize + Send + 'static,
{
    let (operator, mut changes) = (name.clone(), app.store.watch());
    let result = match request::<W>(&app, body).await {
        Ok(wish) => blocking(&app, move |app| work(app, &wish, &operator)).await,
        Err(refusal) => Err(refusal),
    };
    app.decided(newest(&mut changes)).await;
    answer(&app, result, &name)
}

/// The newest of what was told; that much else was changed meanwhile is no reason to know nothing.
fn newest(changes: &mut Receiver<Change>) -> u64 {
    let mut newest = 0;
    loop {
        match changes.try_recv() {
            Ok(change) => newest = newest.max(change.revision),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return newest,
        }
    }
}

async fn request<T: serde::de::DeserializeOwned>(app: &App, body: Inflow) -> Result<T, Refusal> {
    let bytes = app.body(body, REQUEST_BYTES_MAX).await?;
    json::parse(&bytes, &Limits { bytes_max: REQUEST_BYTES_MAX, depth_max: 4 }).map_err(malformed)
}

const REQUEST_BYTES_MAX: usize = 64 << 10;
const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1_000;
/// Below the time after which middle boxes cut idle connections.
const EVENTS_WAIT_S_MAX: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{Batch, CHANGES_MAX, Write, memory::MemoryStore};

    /// Many reports come while an operator's wish does.
    #[test]
    fn more_changes_than_can_be_told_hide_none_that_came_last() {
        let store = MemoryStore::new();
        let mut changes = store.watch();
        let commit = |writes| store.commit(Batch { writes, events: Vec::new() }).unwrap();
        assert_eq!(newest(&mut changes), 0);
        commit((0..CHANGES_MAX + 500).map(|n| Write::put(format!("evidence/{n}"), None, Vec::new())).collect());
        let own = commit(vec![Write::put("group/web", None, Vec::new())]);
        assert_eq!(newest(&mut changes), own);
    }
}
