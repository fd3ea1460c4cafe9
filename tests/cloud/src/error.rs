//! AWS's errors: an HTTP status, a code that clients match on, and a text that people read.

/// Why a call was refused. Codes and texts are AWS's own where a source gives them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The code that clients match on, such as `ValidationError`.
    pub code: &'static str,
    /// The text for people.
    pub message: String,
}

impl ApiError {
    /// The caller's fault, with a code of its own.
    pub fn sender(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    /// `ValidationError`: what Auto Scaling answers to nearly everything it refuses.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::sender("ValidationError", message)
    }

    /// A value outside the constraints that the service's model gives.
    pub fn constraint(value: impl std::fmt::Display, member: &str, constraint: &str) -> Self {
        Self::validation(format!(
            "1 validation error detected: Value '{value}' at '{}' failed to satisfy constraint: {constraint}",
            lower_first(member)
        ))
    }

    /// There is no group of this name.
    pub fn no_group(name: &str) -> Self {
        Self::validation(format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"))
    }

    /// No group holds an instance with this id.
    pub fn no_instance(id: &str) -> Self {
        Self::validation(format!("Instance Id not found - No managed instance found for instance ID: {id}"))
    }

    /// The token bucket is empty.
    pub fn throttled() -> Self {
        Self::sender("Throttling", "Rate exceeded")
    }

    /// The caller lacks the permission.
    pub fn denied(action: &str) -> Self {
        let message = format!("User is not authorized to perform: {action} because no identity-based policy allows it");
        Self { status: 403, code: "AccessDenied", message }
    }

    /// The credentials were good once.
    pub fn expired() -> Self {
        let message = "The security token included in the request is expired".into();
        Self { status: 403, code: "ExpiredToken", message }
    }

    /// The service's own fault; the call was not applied.
    pub fn internal() -> Self {
        Self {
            status: 500,
            code: "InternalFailure",
            message: "The request processing has failed because of an unknown error, exception or failure.".into(),
        }
    }
}

fn lower_first(member: &str) -> String {
    let mut chars = member.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
}
