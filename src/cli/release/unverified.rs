//! A manifest whose signatures nobody has looked at: to be shown and to be signed, never to be acted upon.

use std::path::Path;

use anyhow::Context as _;
use portcullis::{
    digest::Digest,
    manifest::{Manifest, PAYLOAD_TYPE},
    signature::{Envelope, EnvelopeLimits, SignatureError},
};

use crate::cli::files;

/// It keeps every rule of the format; who wrote it is another matter.
pub(crate) struct Unverified {
    pub(crate) envelope: Envelope,
    pub(crate) manifest: Manifest,
    pub(crate) digest: Digest,
}

impl Unverified {
    /// Reads and validates as a verifier would, but for the signatures.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Self::parse(&files::read_envelope(path)?).with_context(|| format!("failed to use `{}`", files::shown(path)))
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let envelope = Envelope::parse(bytes, &EnvelopeLimits::MANIFEST)?;
        if envelope.payload_type != PAYLOAD_TYPE {
            let (expected, actual) = (PAYLOAD_TYPE.into(), envelope.payload_type);
            return Err(SignatureError::PayloadType { expected, actual }.into());
        }
        let manifest = Manifest::parse(&envelope.payload)?;
        Ok(Self { manifest, digest: Digest::of(&envelope.payload), envelope })
    }
}
