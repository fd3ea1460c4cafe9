//! The controller, as far as the agent believes it: it may be absent, slow or lying. What it says is data, bounded before it
//! is read; a manifest is only bytes here, proven elsewhere.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis::{
    api::{Answer, Challenged, Enrolled, Problem},
    digest::Digest,
    signature::{Envelope, EnvelopeLimits, SigningKey},
    text,
};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use crate::{
    config, state,
    transport::{self, Authorities, TransportError},
};

/// A client of one controller.
#[derive(Debug)]
pub(crate) struct Controller {
    url: Url,
    client: Client,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    /// Nobody there, or not for long enough.
    #[error("the controller cannot be reached: {0}")]
    Unreachable(TransportError),
    /// An error in its own words.
    #[error("the controller refuses: {status} {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The kind of problem: the last part of its URN; empty when it gave none.
        kind: String,
        /// Its words, escaped and cut.
        detail: String,
    },
    /// An answer that no controller gives.
    #[error("the controller's answer makes no sense: {0}")]
    Nonsense(String),
}

impl ControllerError {
    /// The word for it in metrics.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Nonsense(_) => "nonsense",
        }
    }

    /// Whether the controller does not know whom it is speaking with, so that enrolling again may help: its store was lost,
    /// or is older than this boot. A refused challenge is no such thing: a new one helps.
    pub(crate) fn is_unknown_binding(&self) -> bool {
        match self {
            Self::Refused { status: 401 | 404, kind, .. } => kind != "not-published" && !kind.contains("challenge"),
            Self::Refused { kind, .. } => kind == "wrong-boot",
            Self::Unreachable(_) | Self::Nonsense(_) => false,
        }
    }

    /// Whether someone else holds what this agent claims: asking often will not change that.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if matches!(kind.as_str(), "instance-bound" | "key-bound"))
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("`{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` has no certificate in PEM", path.display())]
    NoCertificate { path: PathBuf },
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Controller {
    pub(crate) fn new(settings: &config::Controller) -> Result<Self, ClientError> {
        let authorities = match (&settings.ca, settings.url.scheme()) {
            (_, "http") => Authorities::None,
            (None, _) => Authorities::System,
            (Some(path), _) => Authorities::Only(certificates(path)?),
        };
        Ok(Self { url: settings.url.clone(), client: transport::client(authorities, MESSAGE_TIMEOUT)? })
    }

    /// `POST /v1/enrol`
    pub(crate) async fn enrol(&self, envelope: Vec<u8>) -> Result<Enrolled, ControllerError> {
        let enrolled: Enrolled = self.post("v1/enrol", envelope).await?;
        bounded("binding", &enrolled.binding)?;
        Ok(enrolled)
    }

    /// `POST /v1/challenge`
    pub(crate) async fn challenge(&self, envelope: Vec<u8>) -> Result<Challenged, ControllerError> {
        let challenged: Challenged = self.post("v1/challenge", envelope).await?;
        bounded("challenge", &challenged.challenge)?;
        bounded("group", challenged.group.as_str())?;
        Ok(challenged)
    }

    /// `POST /v1/report`
    pub(crate) async fn report(&self, envelope: Vec<u8>) -> Result<Answer, ControllerError> {
        self.post("v1/report", envelope).await
    }

    /// `GET /v1/manifests/{digest}`: whatever bytes it has under that name, nothing about them proven.
    pub(crate) async fn manifest(&self, digest: Digest, to: mpsc::Sender<Vec<u8>>) -> Result<(), ControllerError> {
        let request = self.request(Method::GET, &format!("v1/manifests/{digest}"))?.timeout(MANIFEST_TIMEOUT);
        let response = successful(request).await?;
        transport::stream(response, EnvelopeLimits::MANIFEST.bytes_max, to).await.map_err(broken)
    }

    /// `GET /livez`: whether it can be reached at all, there and back; by TLS, that it is the one we believe.
    pub(crate) async fn reach(&self) -> Result<(), ControllerError> {
        let request = self.request(Method::GET, "livez")?.timeout(REACH_TIMEOUT);
        successful(request).await.map(drop)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, envelope: Vec<u8>) -> Result<T, ControllerError> {
        let request = self.request(Method::POST, path)?.header(header::CONTENT_TYPE, "application/json").body(envelope);
        let response = successful(request).await?;
        let body = transport::body(response, ANSWER_BYTES_MAX).await.map_err(broken)?;
        serde_json::from_slice(&body).map_err(|error| ControllerError::Nonsense(text::visible(&error.to_string())))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ControllerError> {
        let url = self.url.join(path).map_err(|error| ControllerError::Nonsense(error.to_string()))?;
        Ok(self.client.request(method, url))
    }
}

/// A message of the agent: what it says, signed by the instance's key.
pub(crate) fn signed<T: Serialize>(payload_type: &str, message: &T, key: &SigningKey) -> Vec<u8> {
    let payload = serde_json::to_vec(message).expect("messages have only strings, numbers, lists and maps by string");
    let mut envelope = Envelope::unsigned(payload_type, payload);
    envelope.sign(key);
    envelope.to_json()
}

/// The answer to a request, if it is 200. Redirects are not followed, so they end here as well.
async fn successful(request: RequestBuilder) -> Result<Response, ControllerError> {
    let response = request.send().await.map_err(|error| ControllerError::Unreachable(error.into()))?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status if status.is_client_error() || status.is_server_error() => Err(refused(response).await),
        status => Err(ControllerError::Nonsense(format!("status {}", status.as_u16()))),
    }
}

/// The problem it tells, or the bare status when it tells none that can be read.
async fn refused(response: Response) -> ControllerError {
    let status = response.status().as_u16();
    let body = transport::body(response, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    let (kind, detail) = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => (problem.kind.rsplit(':').next().unwrap_or_default().to_string(), shown(&problem.detail)),
        Err(_) => (String::new(), String::new()),
    };
    ControllerError::Refused { status, kind, detail }
}

fn broken(error: TransportError) -> ControllerError {
    match error {
        TransportError::Broken(_) => ControllerError::Unreachable(error),
        TransportError::TooLarge { .. } => ControllerError::Nonsense(error.to_string()),
    }
}

/// What goes back in every report must not be any size it likes.
fn bounded(what: &str, value: &str) -> Result<(), ControllerError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(ControllerError::Nonsense(format!("a {what} of {} bytes", value.len())));
    }
    Ok(())
}

/// The controller's words, for a line of a log.
pub(crate) fn shown(words: &str) -> String {
    let cut: String = words.chars().take(WORDS_MAX).collect();
    text::visible(&cut)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let pem = state::read_capped(path, CA_BYTES_MAX)
        .map_err(|source| ClientError::Unreadable { path: path.into(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ClientError::NoCertificate { path: path.into() }),
    }
}

/// A report of the largest size, on a slow link.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A request without a body, and an answer of a few bytes.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// 64 MiB at 2 Mbit/s; that it stalls is noticed far earlier.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(300);
/// An answer names some digests and a reason.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const PROBLEM_BYTES_MAX: usize = 64 << 10;
const CA_BYTES_MAX: usize = 1 << 20;
/// As long as a sealed challenge may be.
const VALUE_BYTES_MAX: usize = 4_096;
const WORDS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refusal_is_about() {
        for (status, kind, enrol_again, conflict) in [
            (404, "unknown-binding", true, false),
            (401, "bad-signature", true, false),
            (409, "wrong-boot", true, false),
            (401, "", true, false),
            (404, "not-published", false, false),
            (409, "stale-challenge", false, false),
            (401, "challenge", false, false),
            (409, "wrong-wait", false, false),
            (503, "unavailable", false, false),
            (409, "conflict", false, false),
            (409, "instance-bound", false, true),
            (409, "key-bound", false, true),
        ] {
            let error = ControllerError::Refused { status, kind: kind.into(), detail: String::new() };
            assert_eq!((error.is_unknown_binding(), error.is_conflict()), (enrol_again, conflict), "{status} {kind}");
        }
    }

    #[test]
    fn words_from_outside_are_cut_and_escaped() {
        assert_eq!(shown("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown(&"x".repeat(1 << 20)).len(), WORDS_MAX);
    }
}
