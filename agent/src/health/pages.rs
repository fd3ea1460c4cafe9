//! What each path answers: a pure function of the request and the standing.

use hyper::{Method, StatusCode, body::Bytes};
use portcullis::{api::Problem, exposition};

use crate::{metrics::Metrics, standing::Standing};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// What kind of page is wanted, as the request's header says it.
    pub(super) accept: Option<&'a str>,
    /// Whether the asker may see details: on this machine, or everybody may.
    pub(super) details: bool,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// Answers one request.
pub(super) fn page(asked: Asked<'_>, standing: &Standing, metrics: &Metrics) -> Page {
    let is_known = matches!(asked.path, "/livez" | "/readyz" | "/metrics" | "/v1/report");
    if is_known && *asked.method != Method::GET && *asked.method != Method::HEAD {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "only GET and HEAD");
    }
    match asked.path {
        "/livez" => text(StatusCode::OK, Bytes::from_static(b"ok\n")),
        "/readyz" => readyz(standing, asked.details && is_verbose(asked.query)),
        "/metrics" => match metrics.write(standing, asked.details) {
            Ok(metrics) => {
                let (content_type, metrics) = exposition::negotiated(metrics, asked.accept);
                Page { status: StatusCode::OK, content_type, body: metrics.into() }
            }
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the metrics cannot be written"),
        },
        "/v1/report" => report(standing, asked.details),
        _ => problem(StatusCode::NOT_FOUND, "not-found", "there are /livez, /readyz, /metrics and /v1/report"),
    }
}

fn readyz(standing: &Standing, verbose: bool) -> Page {
    let (status, line) = match standing.why_not_ready() {
        None => (StatusCode::OK, "ok\n"),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why.line()),
    };
    let mut body = Bytes::from_static(line.as_bytes());
    if verbose {
        let reasons = standing.reasons().into_iter().map(|reason| reason + "\n");
        body = (line.to_string() + &reasons.collect::<String>()).into();
    }
    text(status, body)
}

/// `?verbose`, alone or among others, with any value.
fn is_verbose(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")))
}

fn report(standing: &Standing, details: bool) -> Page {
    if !details {
        let detail = "reports are told on the instance itself only, unless `public_details` is set";
        return problem(StatusCode::FORBIDDEN, "loopback-only", detail);
    }
    let Some(report) = standing.report() else {
        return problem(StatusCode::NOT_FOUND, "no-report", "nothing was checked yet; /readyz?verbose says why");
    };
    match serde_json::to_vec(&report) {
        Ok(body) => Page { status: StatusCode::OK, content_type: "application/json", body: body.into() },
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the report cannot be written"),
    }
}

fn text(status: StatusCode, body: Bytes) -> Page {
    Page { status, content_type: "text/plain; charset=utf-8", body }
}

pub(super) fn problem(status: StatusCode, kind: &str, detail: &str) -> Page {
    let problem = Problem {
        kind: format!("urn:portcullis:problem:{kind}"),
        title: status.canonical_reason().unwrap_or_default().into(),
        status: status.as_u16(),
        detail: detail.into(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default().into();
    Page { status, content_type: "application/problem+json", body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::By;

    fn get(target: &str, details: bool) -> (u16, String) {
        ask(&Method::GET, target, details)
    }

    fn ask(method: &Method, target: &str, details: bool) -> (u16, String) {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let standing = Standing::new(By::Admission, vec!["a warning".into()]);
        let page = page(Asked { method, path, query, accept: None, details }, &standing, &Metrics::default());
        (page.status.as_u16(), String::from_utf8(page.body.into()).unwrap())
    }

    #[test]
    fn table() {
        assert_eq!(get("/livez", false), (200, "ok\n".into()));
        assert_eq!(get("/readyz", true), (503, "no_manifest\n".into()));
        assert_eq!(get("/readyz?verbose", true), (503, "no_manifest\nwarning: a warning\n".into()));
        assert_eq!(get("/v1/report", true).0, 404);
        assert_eq!(get("/other", true).0, 404);
        assert_eq!(ask(&Method::POST, "/livez", true).0, 405);
        assert!(get("/metrics", false).1.contains("portcullis_agent_ready 0\n"));
    }

    #[test]
    fn details_stay_on_the_machine() {
        assert_eq!(get("/readyz?verbose", false), (503, "no_manifest\n".into()));
        let (status, body) = get("/v1/report", false);
        assert_eq!(status, 403);
        assert!(body.contains("urn:portcullis:problem:loopback-only"), "{body}");
    }
}
