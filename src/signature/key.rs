//! Keys: ed25519, in PEM (PKCS#8 and SPKI).

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use ed25519_dalek::{
    Signature, Signer as _, VerifyingKey,
    pkcs8::{
        DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
        spki::der::pem::LineEnding,
    },
};
use zeroize::Zeroizing;

use crate::digest::Digest;

/// More trusted keys than this are refused: each costs a hash of the payload for each signature.
pub const KEYS_MAX: usize = 64;

/// A key that signs. Its memory is overwritten when it is dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of 32 random bytes: the caller has the randomness.
    pub fn generate(random: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(random))
    }

    /// Reads PKCS#8 in PEM, with or without the public key in it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim()).map(Self).map_err(|_| KeyError::NotAPrivateKey)
    }

    /// PKCS#8 in PEM, without the public key: older OpenSSL refuses a key that has it.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).expect("32 bytes are always encodable")
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of `message`: the same whenever it is made.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().key_id())
    }
}

/// A key that verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads SPKI in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|_| KeyError::NotAPublicKey)?;
        Self::from_bytes(key.as_bytes())
    }

    /// The key of RFC 8032's 32 bytes. One point has one encoding here, or one key could count as two.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPublicKey)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotAPublicKey);
        }
        Ok(Self(key))
    }

    /// RFC 8032's 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// SPKI in PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("32 bytes are always encodable")
    }

    /// Lower-case hex SHA-256 of the SPKI DER.
    pub fn key_id(&self) -> String {
        let der = self.0.to_public_key_der().expect("32 bytes are always encodable");
        Digest::of(der.as_bytes()).to_hex()
    }

    /// Strictly: no weak keys or points, no second form of a signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_strict(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

/// Whom to believe, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
    threshold: usize,
}

impl TrustedKeys {
    /// The same key given twice is one key; `threshold` is from 1 to the number of different keys.
    pub fn new(keys: Vec<PublicKey>, threshold: usize) -> Result<Self, KeyError> {
        let keys: BTreeMap<_, _> = keys.into_iter().map(|key| (key.to_bytes(), key)).collect();
        if keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany { keys: keys.len() });
        }
        if !(1..=keys.len()).contains(&threshold) {
            return Err(KeyError::Threshold { threshold, keys: keys.len() });
        }
        Ok(Self { keys: keys.into_values().collect(), threshold })
    }

    /// The different keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many of them must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }
}

/// A key, or a set of them, that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Other text, or another kind of key.
    #[error("not an ed25519 private key in PEM (PKCS#8, not encrypted)")]
    NotAPrivateKey,
    /// Other text, or another kind of key.
    #[error("not an ed25519 public key in PEM (SPKI)")]
    NotAPublicKey,
    /// A point of small order: anyone can sign for it.
    #[error("a weak key: anyone can sign for it")]
    Weak,
    /// More than [`KEYS_MAX`].
    #[error("{keys} keys, {KEYS_MAX} allowed")]
    TooMany {
        /// How many there are.
        keys: usize,
    },
    /// None, or more than there are keys.
    #[error("threshold {threshold} is not from 1 to {keys}, the number of different keys")]
    Threshold {
        /// What was asked for.
        threshold: usize,
        /// How many different keys there are.
        keys: usize,
    },
}
