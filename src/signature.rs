//! Who said it: DSSE envelopes signed with ed25519 (PROTOCOL.md §1, rules 1 to 4).
//!
//! An [`Envelope`] is not what is in it. The way from one to the other is [`Envelope::verify`], and there is no other: its
//! payload is for showing to the one who signs, never for acting upon.

use alloc::{borrow::Cow, string::String, vec::Vec};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use ed25519_dalek::Signature as Ed25519Signature;
use serde::{Deserialize, Serialize};

use crate::{
    json::{self, Fault, JsonError, Limits},
    text,
};

pub use key::{KEYS_MAX, KeyError, PublicKey, SigningKey, TrustedKeys};

mod key;

/// What is refused before it can cost anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeLimits {
    /// Of the whole envelope.
    pub bytes_max: usize,
    /// Of the payload, decoded.
    pub payload_bytes_max: usize,
}

impl EnvelopeLimits {
    /// A signed manifest (PROTOCOL.md §1, rule 1).
    pub const MANIFEST: Self = Self { bytes_max: 64 << 20, payload_bytes_max: Limits::MANIFEST.bytes_max };
    /// What agents say to the controller; base64 takes a third more.
    pub const MESSAGE: Self = Self { bytes_max: 11 << 20, payload_bytes_max: Limits::MESSAGE.bytes_max };
}

/// More signatures than this in one envelope are refused: each costs a hash of the payload for each trusted key.
pub const SIGNATURES_MAX: usize = 16;

/// How deep an envelope may be nested, unknown fields included.
const DEPTH_MAX: usize = 16;

/// A payload and what claim to be signatures of it. Nothing in it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is; signed with it, so that one thing never passes for another.
    pub payload_type: String,
    /// The bytes that are signed.
    pub payload: Vec<u8>,
    /// At most [`SIGNATURES_MAX`].
    pub signatures: Vec<Signature>,
}

/// What claims to be a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// A hint, not signed, often absent: trust is never based on it.
    pub key_id: Option<String>,
    /// Whatever was there: 64 bytes if it is one of ed25519.
    pub bytes: Vec<u8>,
}

/// What enough trusted keys have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPayload {
    /// Exactly the bytes that were signed.
    pub payload: Vec<u8>,
    /// The ids of the trusted keys that did, each once, ascending.
    pub signers: Vec<String>,
}

impl Envelope {
    /// An envelope that nobody has signed yet.
    pub fn unsigned(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.into(), payload, signatures: Vec::new() }
    }

    /// Reads an envelope; unknown fields are ignored, as DSSE wants it.
    pub fn parse(bytes: &[u8], limits: &EnvelopeLimits) -> Result<Self, SignatureError> {
        let wire: Wire<'_> = json::parse(bytes, &Limits { bytes_max: limits.bytes_max, depth_max: DEPTH_MAX })?;
        if wire.payload.len() / 4 > limits.payload_bytes_max.div_ceil(3) {
            return Err(SignatureError::PayloadTooLarge { bytes_max: limits.payload_bytes_max });
        }
        let payload = decode(&wire.payload).ok_or(SignatureError::Base64 { field: "payload".into() })?;
        if payload.len() > limits.payload_bytes_max {
            return Err(SignatureError::PayloadTooLarge { bytes_max: limits.payload_bytes_max });
        }
        let signatures = wire.signatures.into_iter().enumerate().map(|(index, signature)| {
            let field = || alloc::format!("signatures.{index}.sig");
            let bytes = decode(&signature.sig).ok_or_else(|| SignatureError::Base64 { field: field() })?;
            Ok(Signature { key_id: signature.keyid, bytes })
        });
        let signatures = signatures.collect::<Result<_, SignatureError>>()?;
        Ok(Self { payload_type: wire.payload_type, payload, signatures })
    }

    /// One line of JSON for each signature, and one for the rest.
    pub fn to_json(&self) -> Vec<u8> {
        let quoted = |text: &str| serde_json::Value::from(text);
        let mut json = alloc::format!(
            "{{\"payloadType\":{},\n\"payload\":\"{}\",\n\"signatures\":[",
            quoted(&self.payload_type),
            STANDARD.encode(&self.payload)
        );
        for (index, signature) in self.signatures.iter().enumerate() {
            json.push_str(if index == 0 { "\n{" } else { ",\n{" });
            if let Some(key_id) = &signature.key_id {
                json.push_str(&alloc::format!("\"keyid\":{},", quoted(key_id)));
            }
            json.push_str(&alloc::format!("\"sig\":\"{}\"}}", STANDARD.encode(&signature.bytes)));
        }
        json.push_str("]}\n");
        json.into_bytes()
    }

    /// Adds a signature; one that the same key has made before is replaced.
    pub fn sign(&mut self, key: &SigningKey) {
        let key_id = key.public().key_id();
        let bytes = key.sign(&pae(&self.payload_type, &self.payload));
        self.signatures.retain(|old| old.key_id.as_deref() != Some(&key_id) && old.bytes != bytes);
        self.signatures.push(Signature { key_id: Some(key_id), bytes: bytes.into() });
    }

    /// The payload, if it is what `payload_type` says and enough of the trusted keys have signed it.
    pub fn verify(self, payload_type: &str, trusted: &TrustedKeys) -> Result<VerifiedPayload, SignatureError> {
        let signers = self.signers(payload_type, trusted)?;
        Ok(VerifiedPayload { payload: self.payload, signers })
    }

    /// The ids of the trusted keys that have signed it, ascending, if they are enough.
    ///
    /// Keys are counted, never signatures or ids: every signature is tried with every trusted key that has none yet, and
    /// one that verifies under none is skipped.
    pub(crate) fn signers(&self, payload_type: &str, trusted: &TrustedKeys) -> Result<Vec<String>, SignatureError> {
        if self.payload_type != payload_type {
            let (expected, actual) = (payload_type.into(), self.payload_type.clone());
            return Err(SignatureError::PayloadType { expected, actual });
        }
        let message = pae(&self.payload_type, &self.payload);
        let signatures: Vec<_> =
            self.signatures.iter().filter_map(|one| Ed25519Signature::from_slice(&one.bytes).ok()).collect();
        let mut signers: Vec<String> = Vec::new();
        for key in trusted.keys() {
            if signatures.iter().any(|signature| key.verifies(&message, signature)) {
                signers.push(key.key_id());
            }
        }
        signers.sort_unstable();
        if signers.len() < trusted.threshold() {
            return Err(SignatureError::Threshold { signers: signers.len(), threshold: trusted.threshold() });
        }
        Ok(signers)
    }
}

/// The bytes that are signed: DSSE's pre-authentication encoding, v1.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = alloc::format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Standard or URL-safe, padded, without white space or stray bits.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// Megabytes of base64: not copied.
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(deserialize_with = "json::at_most::<_, _, SIGNATURES_MAX>")]
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

/// The envelope cannot be read, or is not signed as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not the JSON of an envelope.
    #[error("not a DSSE envelope: {0} (rule {rule})", rule = rule_of(.0))]
    Json(JsonError),
    /// Neither of the two base64 alphabets, or not padded, or with stray bits.
    #[error("`{field}` is not base64 (rule 2)")]
    Base64 {
        /// Which field.
        field: String,
    },
    /// Too much.
    #[error("the payload has more than {bytes_max} bytes (rule 1)")]
    PayloadTooLarge {
        /// How many it may have.
        bytes_max: usize,
    },
    /// Something else than what was asked for.
    #[error("`payloadType` is `{}`, expected `{expected}` (rule 3)", text::visible(actual))]
    PayloadType {
        /// What was asked for.
        expected: String,
        /// What is there.
        actual: String,
    },
    /// Not enough trusted keys have signed it.
    #[error("signed by {signers} of the trusted keys, {threshold} needed (rule 4)")]
    Threshold {
        /// How many have.
        signers: usize,
        /// How many must.
        threshold: usize,
    },
}

impl From<JsonError> for SignatureError {
    /// Not as a `source`: the message has it already.
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

/// The number in PROTOCOL.md §1 of what an envelope's JSON breaks.
fn rule_of(error: &JsonError) -> u8 {
    match error.fault {
        Fault::TooLarge { .. } | Fault::TooDeep { .. } | Fault::TooMany(_) => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests;
