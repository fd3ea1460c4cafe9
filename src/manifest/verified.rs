//! The verifier of PROTOCOL.md §1: from the bytes of an envelope to a manifest that may be acted upon.

use alloc::{string::String, vec::Vec};

use super::{Manifest, ManifestError, PAYLOAD_TYPE};
use crate::{
    digest::Digest,
    signature::{Envelope, EnvelopeLimits, SignatureError, TrustedKeys},
};

/// A manifest that enough trusted keys have signed. Only [`open`](Self::open) makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedManifest {
    /// What it says.
    pub manifest: Manifest,
    /// Its name: the digest of the payload as signed.
    pub digest: Digest,
    /// The ids of the trusted keys that have signed it, ascending.
    pub signers: Vec<String>,
}

impl VerifiedManifest {
    /// The rules in their order, stopping at the first that is broken.
    pub fn open(envelope: &[u8], trusted: &TrustedKeys) -> Result<Self, OpenError> {
        // 1. Sizes before parsing. 2. The envelope.
        let envelope = Envelope::parse(envelope, &EnvelopeLimits::MANIFEST)?;
        // 3. The payload's type; strict signatures. 4. Distinct trusted keys, counted.
        let signed = envelope.verify(PAYLOAD_TYPE, trusted)?;
        // 5. Exactly the verified bytes. 6. Paths. 7. Names and roots.
        let manifest = Manifest::parse(&signed.payload)?;
        Ok(Self { manifest, digest: Digest::of(&signed.payload), signers: signed.signers })
    }
}

impl Manifest {
    /// Reads a payload that is known by its digest: one that was verified earlier and kept, or one that someone who is
    /// trusted has named.
    pub fn parse_known(payload: &[u8], digest: Digest) -> Result<Self, OpenError> {
        let actual = Digest::of(payload);
        if actual != digest {
            return Err(OpenError::Digest { expected: digest, actual });
        }
        Ok(Self::parse(payload)?)
    }
}

/// The bytes are no manifest that may be acted upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope, or not signed by whom it should be: rules 1 to 4.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Signed, but no manifest: rules 1, 5, 6 and 7.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Not the one that was asked for.
    #[error("its digest is {actual}, not {expected}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What is there.
        actual: Digest,
    },
}
