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
        Self::open_beside(envelope, trusted, |verify, _| verify())
    }

    /// The same, to the very error, and sooner where `both` runs its two tasks at the same time: the payload is read while its
    /// signatures are verified. What `both` does not run is done in its turn.
    ///
    /// Reading what nobody may have signed is no more than has to be done with any envelope: it has no effect, and a cost in
    /// proportion to bytes that were capped. What it comes to, be it an error, is not looked at before the signatures hold; and
    /// what costs more (ignores, texts, the order of paths) is not begun.
    pub fn open_beside(
        envelope: &[u8],
        trusted: &TrustedKeys,
        both: impl FnOnce(Task<'_>, Task<'_>),
    ) -> Result<Self, OpenError> {
        // 1. Sizes before parsing. 2. The envelope.
        let envelope = &Envelope::parse(envelope, &EnvelopeLimits::MANIFEST)?;
        let verify = || Ok((envelope.signers(PAYLOAD_TYPE, trusted)?, Digest::of(&envelope.payload)));
        let read = || Manifest::read(&envelope.payload);
        let (mut verified, mut manifest) = (None, None);
        both(&mut || verified = Some(verify()), &mut || manifest = Some(read()));
        // 3. The payload's type; strict signatures. 4. Distinct trusted keys, counted.
        let (signers, digest) = verified.unwrap_or_else(verify).map_err(OpenError::Signature)?;
        // 5. Exactly the verified bytes.
        let manifest = manifest.unwrap_or_else(read)?;
        // 6. Paths. 7. Names and roots.
        manifest.validate()?;
        Ok(Self { manifest, digest, signers })
    }
}

/// Half of the work.
pub type Task<'a> = &'a mut (dyn FnMut() + Send);

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
