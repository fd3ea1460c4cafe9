//! Challenges: a single-use value that makes a report fresh, and proves *when the checking began*.
//!
//! A challenge is a MAC under a key that all controllers share, so either of two can answer for the other, and a restart
//! loses nothing. That it is used once is the store's business: only `n` = last accepted `n` + 1 is taken (PROTOCOL.md §3).

use alloc::{format, string::String};
use core::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{
    digest::Digest,
    instance::{BootId, WaitId},
    timestamp::Timestamp,
};

/// Payload type of [`Request`] in its DSSE envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.portcullis.challenge.v1+json";

/// How long a challenge is good for: the longest check (trees: 120 s) several times over.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// `POST /v1/challenge` (PROTOCOL.md §3, 2), signed by the instance's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which controller it is meant for.
    pub audience: String,
    /// The binding that enrolment gave.
    pub binding: String,
    /// Which boot.
    pub boot_id: BootId,
}

/// What a challenge says, under its MAC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Which of the controllers' keys sealed it.
    pub key_id: String,
    /// Which controller it came from.
    pub audience: String,
    /// Whom it was given to.
    pub binding: String,
    /// For which boot.
    pub boot: BootId,
    /// For which wait; 0 when the controller has not yet seen the instance wait.
    pub wait: WaitId,
    /// The wanted manifest when it was issued.
    pub manifest: Option<Digest>,
    /// One more than that of the last accepted report.
    pub n: u64,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it is no longer accepted.
    pub expires: Timestamp,
}

/// A key that the controllers share.
#[derive(Clone)]
pub struct MacKey {
    /// Its public name.
    pub id: String,
    /// 32 random bytes.
    pub secret: [u8; 32],
}

/// Why a challenge is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Not of our making: malformed, another key, or a wrong MAC.
    #[error("not a challenge of this controller")]
    NotOurs,
    /// Its time is over.
    #[error("the challenge has expired")]
    Expired,
}

impl Challenge {
    /// The challenge as it travels: base64url of its JSON, a dot, base64url of the MAC.
    pub fn seal(&self, key: &MacKey) -> String {
        let body = serde_json::to_vec(self).expect("a challenge has only strings and numbers");
        let mac = mac(key, &body).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(mac))
    }

    /// What a sealed challenge says, if one of `keys` sealed it and it has not expired.
    ///
    /// # Errors
    /// When it is not ours or has expired; the MAC is compared in constant time, and nothing is parsed before it holds.
    pub fn open(sealed: &str, keys: &[MacKey], now: Timestamp) -> Result<Self, ChallengeError> {
        let challenge = Self::authentic(sealed, keys).ok_or(ChallengeError::NotOurs)?;
        if now >= challenge.expires {
            return Err(ChallengeError::Expired);
        }
        Ok(challenge)
    }

    fn authentic(sealed: &str, keys: &[MacKey]) -> Option<Self> {
        if sealed.len() > SEALED_BYTES_MAX {
            return None;
        }
        let (body, tag) = sealed.split_once('.')?;
        let (body, tag) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?);
        let key = keys.iter().find(|key| mac(key, &body).verify_slice(&tag).is_ok())?;
        let challenge: Self = serde_json::from_slice(&body).ok()?;
        (challenge.key_id == key.id).then_some(challenge)
    }
}

fn mac(key: &MacKey, body: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(&key.secret).expect("HMAC takes a key of any length").chain_update(CONTEXT).chain_update(body)
}

/// Keeps MACs under the same key for another purpose from being taken for challenges.
const CONTEXT: &[u8] = b"portcullis challenge v1\n";
const SEALED_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, byte: u8) -> MacKey {
        MacKey { id: id.into(), secret: [byte; 32] }
    }

    fn challenge() -> Challenge {
        Challenge {
            key_id: "a".into(),
            audience: "here".into(),
            binding: "b".into(),
            boot: "boot".into(),
            wait: WaitId(1),
            manifest: Some(Digest::of(b"m")),
            n: 7,
            issued: Timestamp(1_000),
            expires: Timestamp(2_000),
        }
    }

    #[test]
    fn there_and_back() {
        let sealed = challenge().seal(&key("a", 1));
        assert_eq!(Challenge::open(&sealed, &[key("b", 2), key("a", 1)], Timestamp(1_999)), Ok(challenge()));
        assert_eq!(Challenge::open(&sealed, &[key("a", 1)], Timestamp(2_000)), Err(ChallengeError::Expired));
    }

    #[test]
    fn outlives_the_longest_check_several_times() {
        let longest_tree_check = Duration::from_secs(120);
        assert!(LIFETIME >= 5 * longest_tree_check);
    }

    #[test]
    fn no_longer_than_it_may_be() {
        let sealed = |audience_bytes| {
            let challenge = Challenge { audience: "a".repeat(audience_bytes), ..challenge() };
            challenge.seal(&key("a", 1))
        };
        let open = |sealed: &str| Challenge::open(sealed, &[key("a", 1)], Timestamp(0)).is_ok();
        // 4 characters for 3 bytes.
        let most = (0..SEALED_BYTES_MAX).rev().find(|&bytes| sealed(bytes).len() <= SEALED_BYTES_MAX).unwrap();
        assert_eq!(sealed(most).len(), SEALED_BYTES_MAX);
        assert!(open(&sealed(most)) && !open(&sealed(most + 1)) && !open(&sealed(most + 100)));
    }

    #[test]
    fn refuses_what_is_not_ours() {
        let sealed = challenge().seal(&key("a", 1));
        let other_key = Challenge::open(&sealed, &[key("a", 2)], Timestamp(0));
        let other_name = Challenge::open(&sealed, &[key("b", 1)], Timestamp(0));
        assert_eq!((other_key, other_name), (Err(ChallengeError::NotOurs), Err(ChallengeError::NotOurs)));
        for index in 0..sealed.len() {
            let mut bent = sealed.clone().into_bytes();
            bent[index] = if bent[index] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            assert_eq!(
                Challenge::open(&bent, &[key("a", 1)], Timestamp(0)),
                Err(ChallengeError::NotOurs),
                "byte {index}"
            );
        }
    }
}
