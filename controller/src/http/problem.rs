//! Refusals, and how they are said: `application/problem+json` (RFC 9457), one kind for each thing that can be wrong.

use std::fmt::Display;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use portcullis::{api::Problem, instance::InstanceId, text};

use crate::stores::StoreError;

/// What can be wrong with a request. Agents go by these words: see [`Kind::word`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not what the endpoint takes.
    Malformed,
    /// More than the endpoint takes.
    TooLarge,
    /// No such endpoint or thing.
    NotFound,
    /// The endpoint has other methods.
    MethodNotAllowed,
    /// No token, or an unknown one.
    Unauthorized,
    /// Too many requests of one client.
    TooManyRequests,
    /// Meant for another controller.
    WrongAudience,
    /// No such binding: enrol (again).
    UnknownBinding,
    /// Not signed by the bound key.
    BadSignature,
    /// Neither token nor document shows who speaks.
    IdentityRefused,
    /// The instance is bound to another key: an incident.
    InstanceBound,
    /// The key is bound to another instance: an incident.
    KeyBound,
    /// Another boot than the one that was announced: enrol again.
    WrongBoot,
    /// Another instance than the binding's.
    WrongInstance,
    /// Not the group that the instance is in, or not the one its token was for.
    WrongGroup,
    /// No described group has the instance yet: ask for a challenge again, later.
    NotDescribed,
    /// Not ours, expired or used: ask for a new one.
    StaleChallenge,
    /// The instance waits anew: ask for a new challenge.
    WrongWait,
    /// The group does not accept the manifest.
    NotAccepted,
    /// The manifest was never published.
    NotPublished,
    /// The outcomes are not those of the manifest.
    NotAReport,
    /// The manifest breaks a rule, or is not signed as it should be.
    InvalidManifest,
    /// The release must not be promoted there.
    PromotionRefused,
    /// The release must not be retired there.
    RetirementRefused,
    /// There is nothing there that an operator's word could change.
    OverrideRefused,
    /// Somebody else wrote first: look again.
    Conflict,
    /// The controller cannot answer now.
    Unavailable,
}

impl Kind {
    /// The word in the problem's `type`, after `urn:portcullis:problem:`.
    pub const fn word(self) -> &'static str {
        self.row().0
    }

    const fn status(self) -> u16 {
        self.row().1
    }

    const fn title(self) -> &'static str {
        self.row().2
    }

    /// Whether somebody may be pretending to be somebody else.
    pub(crate) const fn is_incident(self) -> bool {
        matches!(self, Self::InstanceBound | Self::KeyBound)
    }

    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "the request cannot be read"),
            Self::TooLarge => ("too-large", 413, "the request is too large"),
            Self::NotFound => ("not-found", 404, "there is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "the endpoint has other methods"),
            Self::Unauthorized => ("unauthorized", 401, "a valid token is needed"),
            Self::TooManyRequests => ("too-many-requests", 429, "too many requests"),
            Self::WrongAudience => ("wrong-audience", 403, "meant for another controller"),
            Self::UnknownBinding => ("unknown-binding", 404, "there is no such binding"),
            Self::BadSignature => ("bad-signature", 401, "not signed by the bound key"),
            Self::IdentityRefused => ("identity-refused", 403, "it is not shown who speaks"),
            Self::InstanceBound => ("instance-bound", 409, "the instance is bound to another key"),
            Self::KeyBound => ("key-bound", 409, "the key is bound to another instance"),
            Self::WrongBoot => ("wrong-boot", 409, "another boot than the one announced"),
            Self::WrongInstance => ("wrong-instance", 403, "another instance than the bound one"),
            Self::WrongGroup => ("wrong-group", 409, "another group than the instance's"),
            Self::NotDescribed => ("not-described", 409, "the instance was not seen in a gated group yet"),
            Self::StaleChallenge => ("stale-challenge", 409, "the challenge is not to be answered any more"),
            Self::WrongWait => ("wrong-wait", 409, "the instance waits anew"),
            Self::NotAccepted => ("not-accepted", 409, "the group does not accept the manifest"),
            Self::NotPublished => ("not-published", 404, "the manifest is not published"),
            Self::NotAReport => ("not-a-report", 422, "the outcomes are not those of the manifest"),
            Self::InvalidManifest => ("invalid-manifest", 422, "the manifest is refused"),
            Self::PromotionRefused => ("promotion-refused", 409, "the release must not be promoted"),
            Self::RetirementRefused => ("retirement-refused", 409, "the release must not be retired"),
            Self::OverrideRefused => ("override-refused", 409, "there is nothing that an operator's word could change"),
            Self::Conflict => ("conflict", 409, "somebody else wrote first"),
            Self::Unavailable => ("unavailable", 503, "the controller cannot answer now"),
        }
    }
}

/// A request that was refused: nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of thing is wrong.
    pub kind: Kind,
    /// What it is this time, and what to do; safe to show.
    pub detail: String,
    /// Who it is about, if that much was proven.
    pub instance: Option<InstanceId>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, detail: impl Display) -> Self {
        Self { kind, detail: text::visible(&detail.to_string()), instance: None }
    }

    /// Names the instance that it is about.
    pub(crate) fn of(self, instance: &InstanceId) -> Self {
        Self { instance: Some(instance.clone()), ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("urn:portcullis:problem:{}", self.kind.word()),
            title: self.kind.title().into(),
            status: self.kind.status(),
            detail: self.detail,
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.kind == Kind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::new(Kind::Conflict, error),
            StoreError::Failed(_) => unavailable(&error),
        }
    }
}

pub(crate) fn malformed(detail: impl Display) -> Refusal {
    Refusal::new(Kind::Malformed, detail)
}

pub(crate) fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Kind::TooLarge, format!("at most {bytes_max} bytes are taken here"))
}

/// What went wrong inside is logged, not told.
pub(crate) fn unavailable(error: &dyn Display) -> Refusal {
    tracing::error!(%error, "a request could not be answered");
    Refusal::new(Kind::Unavailable, "the controller's store or the controller itself failed: try again")
}
