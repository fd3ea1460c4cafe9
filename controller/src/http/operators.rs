//! The operators' listener: what is held, and why; publishing, promoting, join tokens. Every change names its operator.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use portcullis::{
    api::{Acknowledge, Event, Override, Pause, Promote, Retire, Retry},
    digest::Digest,
    instance::{GroupName, InstanceId},
    json::{self, Limits},
    signature::EnvelopeLimits,
};
use serde::Deserialize;

use super::{
    App, answer, blocking,
    problem::{Kind, Refusal, malformed},
};

mod overrides;
mod promotion;
mod publication;
mod tokens;
mod view;

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    let protected = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/instances/{id}", get(instance))
        .route("/v1/events", get(events))
        .route("/v1/releases", get(releases).post(publish))
        .route("/v1/groups/{group}/promote", post(promote))
        .route("/v1/groups/{group}/retire", post(retire))
        .route("/v1/groups/{group}/pause", post(pause))
        .route("/v1/groups/{group}/retry", post(retry))
        .route("/v1/groups/{group}/acknowledge", post(acknowledge))
        .route("/v1/instances/{id}/override", post(override_instance))
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

async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.metrics.page())
        .into_response()
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
    Path(id): Path<String>,
) -> Response {
    let snapshot = app.snapshot();
    let found = view::instance(&app, &snapshot, &InstanceId(id));
    let result =
        found.ok_or_else(|| Refusal::new(Kind::NotFound, "no gated group that was described has this instance"));
    answer(&app, result, &name)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<u64>,
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

/// Lines after one that is known; without one, the newest. With `wait_s`, waits for the first that comes.
async fn read_events(app: &Arc<App>, query: EventsQuery) -> Result<Vec<Event>, Refusal> {
    let limit = query.limit.unwrap_or(EVENTS_DEFAULT).min(EVENTS_MAX);
    let mut audited = app.store.audited();
    let newest = *audited.borrow();
    let after = query.after.unwrap_or(newest.saturating_sub(limit as u64));
    if let Some(wait_s) = query.wait_s {
        let wait = Duration::from_secs(wait_s.min(EVENTS_WAIT_S_MAX));
        // In time or not: what there is then is the answer.
        let _ = tokio::time::timeout(wait, audited.wait_for(|newest| *newest > after)).await;
    }
    blocking(app, move |app| Ok(app.store.events(after, limit)?)).await
}

async fn releases(State(app): State<Arc<App>>, Extension(Operator(name)): Extension<Operator>) -> Response {
    let result = blocking(&app, |app| publication::list(app, &app.snapshot())).await;
    answer(&app, result, &name)
}

async fn publish(State(app): State<Arc<App>>, Extension(Operator(name)): Extension<Operator>, body: Body) -> Response {
    let operator = name.clone();
    let result = match app.body(body, EnvelopeLimits::MANIFEST.bytes_max).await {
        Ok(bytes) => blocking(&app, move |app| publication::publish(app, &bytes, &operator)).await,
        Err(refusal) => Err(refusal),
    };
    answer(&app, result, &name)
}

async fn promote(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Path(group): Path<String>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &Promote, operator| {
        promotion::promote(app, &GroupName(group), wish, operator)
    })
    .await
}

async fn retire(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Path(group): Path<String>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &Retire, operator| {
        promotion::retire(app, &GroupName(group), wish, operator)
    })
    .await
}

async fn pause(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Path(group): Path<String>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &Pause, operator| overrides::pause(app, &GroupName(group), wish, operator))
        .await
}

async fn retry(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Path(group): Path<String>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &Retry, operator| overrides::retry(app, &GroupName(group), wish, operator))
        .await
}

async fn acknowledge(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Path(group): Path<String>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &Acknowledge, operator| {
        overrides::acknowledge(app, &GroupName(group), wish, operator)
    })
    .await
}

async fn override_instance(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &Override, operator| overrides::say(app, &InstanceId(id), wish, operator))
        .await
}

async fn join_token(
    State(app): State<Arc<App>>,
    Extension(Operator(name)): Extension<Operator>,
    body: Body,
) -> Response {
    change(app, name, body, move |app, wish: &tokens::Wish, operator| tokens::create(app, wish, operator)).await
}

/// What an operator asks for, done in the operator's name.
async fn change<W, T>(
    app: Arc<App>,
    name: String,
    body: Body,
    work: impl FnOnce(&App, &W, &str) -> Result<T, Refusal> + Send + 'static,
) -> Response
where
    W: serde::de::DeserializeOwned + Send + 'static,
    T: serde::Serialize + Send + 'static,
{
    let operator = name.clone();
    let result = match request::<W>(&app, body).await {
        Ok(wish) => blocking(&app, move |app| work(app, &wish, &operator)).await,
        Err(refusal) => Err(refusal),
    };
    answer(&app, result, &name)
}

async fn request<T: serde::de::DeserializeOwned>(app: &App, body: Body) -> Result<T, Refusal> {
    let bytes = app.body(body, REQUEST_BYTES_MAX).await?;
    json::parse(&bytes, &Limits { bytes_max: REQUEST_BYTES_MAX, depth_max: 4 }).map_err(malformed)
}

const REQUEST_BYTES_MAX: usize = 64 << 10;
const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1_000;
/// Below the time after which middle boxes cut idle connections.
const EVENTS_WAIT_S_MAX: u64 = 30;
