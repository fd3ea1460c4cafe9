//! One request and its answer, for checks: on a runtime of its own that is left behind at the deadline, with whatever hangs in it.

use std::{future::Future, io, time::Duration};

use portcullis::text;
use reqwest::{Request, Response, header::HeaderMap};

use super::{Finding, Task};
use crate::transport::{self, TransportError};

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Empty unless it was asked for.
    pub(super) body: Vec<u8>,
}

/// Sends `request`, and reads at most `body_max` bytes of the answer's body; without a bound, none of it.
pub(super) fn fetch(
    client: &reqwest::Client,
    request: Request,
    body_max: Option<usize>,
    task: &Task<'_>,
) -> Result<Answer, Finding> {
    within(task.left(), async {
        let response = client.execute(request).await.map_err(|error| unanswered(error, task))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match body_max {
            Some(max) => body(response, max, task).await?,
            None => Vec::new(),
        };
        Ok(Answer { status, headers, body })
    })
    .map_err(|error| Finding::unknown(format!("no runtime: {error}")))?
    .unwrap_or_else(|| Err(late(task)))
}

async fn body(response: Response, max: usize, task: &Task<'_>) -> Result<Vec<u8>, Finding> {
    transport::body(response, max).await.map_err(|error| match error {
        TransportError::TooLarge { bytes_max } => Finding::fail("body", format!("at most {bytes_max} bytes"), "more"),
        TransportError::Broken(_) if task.is_over() => late(task),
        TransportError::Broken(why) => Finding::unknown(format!("the body broke off: {why}")),
    })
}

/// `None` when the time is over.
fn within<T>(left: Duration, work: impl Future<Output = T>) -> io::Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async { tokio::time::timeout(left, work).await.ok() });
    // A name that is still being looked up would be waited for.
    runtime.shutdown_background();
    Ok(done)
}

fn late(task: &Task<'_>) -> Finding {
    Finding::unknown(format!("no whole answer within {} ms", task.check.timeout_ms))
}

/// What refuses, has the wrong certificate, speaks no HTTP or hangs up instead was there, and is wrong; all else could not be
/// told: a connection that is reset may have been so by what lies between.
fn unanswered(error: reqwest::Error, task: &Task<'_>) -> Finding {
    if error.is_timeout() {
        return late(task);
    }
    let (wrong, hung_up) = (wrong(&error), has_hung_up(&error));
    let why = if hung_up { HUNG_UP.into() } else { TransportError::from(error).to_string() };
    match wrong {
        Some(expected) => Finding::fail("connection", expected, why),
        None => Finding::unknown(format!("no answer: {}", text::visible(&why))),
    }
}

fn wrong(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Some("one that is accepted");
            }
            // It does not name what it wraps as its source.
            if let Some(found) = io.get_ref().and_then(|inner| wrong(inner)) {
                return Some(found);
            }
        }
        match cause.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some("a certificate to believe"),
            Some(rustls::Error::InvalidMessage(_)) => return Some("TLS"),
            _ => {}
        }
        let is_no_http = |error: &hyper::Error| error.is_parse() || error.is_incomplete_message();
        if cause.downcast_ref::<hyper::Error>().is_some_and(is_no_http) {
            return Some("HTTP");
        }
        next = cause.source();
    }
    None
}

fn has_hung_up(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_incomplete_message)
}

const HUNG_UP: &str = "it hung up before the answer was whole";
