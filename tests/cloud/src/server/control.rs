//! The control surface for tests and drills, in JSON. It is not part of AWS's API.

use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Answer, typed};
use crate::fault::Fault;
use crate::model::Cloud;

/// What went wrong, as a status and a text.
type Refusal = (StatusCode, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplaceRootVolume {
    instance: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetHealth {
    instance: String,
    healthy: bool,
}

pub(super) fn answer(cloud: &mut Cloud, parts: &Parts, body: &Bytes) -> Answer {
    match route(cloud, parts, body) {
        Ok(value) => typed(StatusCode::OK, "application/json", format!("{value}\n")),
        Err((status, error)) => typed(status, "application/json", format!("{}\n", json!({ "error": error }))),
    }
}

fn route(cloud: &mut Cloud, parts: &Parts, body: &Bytes) -> Result<Value, Refusal> {
    let path = parts.uri.path().trim_start_matches("/_cloud/");
    match (&parts.method, path) {
        (&Method::GET, "time") => Ok(time(cloud)),
        (&Method::GET, "instances") => Ok(json!({ "instances": cloud.instances(query(parts, "group").as_deref()) })),
        (&Method::GET, "events") => events(cloud, parts),
        (&Method::GET, "faults") => Ok(json!({ "faults": cloud.faults_mut().pending() })),
        (&Method::POST, "faults") => {
            cloud.inject(parse::<Fault>(body)?);
            Ok(json!({ "faults": cloud.faults_mut().pending() }))
        }
        (&Method::DELETE, "faults") => {
            cloud.faults_mut().clear();
            Ok(json!({ "faults": [] }))
        }
        (&Method::POST, "target-health") => tell_health(cloud, &parse(body)?),
        (&Method::POST, "replace-root-volume") => replace_root_volume(cloud, &parse(body)?),
        (&Method::POST, "advance") => advance(cloud, &parse(body)?),
        (_, "time" | "instances" | "events" | "faults" | "target-health" | "replace-root-volume" | "advance") => {
            Err((StatusCode::METHOD_NOT_ALLOWED, format!("{} is not for {path}", parts.method)))
        }
        _ => Err((StatusCode::NOT_FOUND, format!("there is no /_cloud/{path}"))),
    }
}

fn time(cloud: &Cloud) -> Value {
    json!({ "now_ms": cloud.now_ms(), "next_due_ms": cloud.next_due_ms() })
}

fn events(cloud: &Cloud, parts: &Parts) -> Result<Value, Refusal> {
    let since = query(parts, "since").unwrap_or_else(|| "0".into());
    let since = since.parse().map_err(|_| refused(format!("since must be a number, not {since:?}")))?;
    Ok(json!(cloud.events_since(since)))
}

fn tell_health(cloud: &mut Cloud, told: &TargetHealth) -> Result<Value, Refusal> {
    if cloud.instance(&told.instance).is_none() {
        return Err((StatusCode::NOT_FOUND, format!("there is no instance {}", told.instance)));
    }
    cloud.tell_target_health(&told.instance, told.healthy);
    Ok(json!({ "instance": cloud.instance(&told.instance) }))
}

fn replace_root_volume(cloud: &mut Cloud, asked: &ReplaceRootVolume) -> Result<Value, Refusal> {
    cloud.replace_root_volume(&asked.instance).map_err(|error| refused(error.to_string()))?;
    Ok(json!({ "instance": cloud.instance(&asked.instance) }))
}

/// Works on a real clock too: the time that is skipped stays skipped.
fn advance(cloud: &mut Cloud, by: &Advance) -> Result<Value, Refusal> {
    if by.ms > ADVANCE_MS_MAX {
        return Err(refused(format!("ms must be at most {ADVANCE_MS_MAX}")));
    }
    cloud.advance(cloud.now_ms().saturating_add(by.ms));
    Ok(time(cloud))
}

fn query(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| refused(error.to_string()))
}

fn refused(text: String) -> Refusal {
    (StatusCode::BAD_REQUEST, text)
}

/// A year at once.
const ADVANCE_MS_MAX: u64 = 366 * 86_400_000;
