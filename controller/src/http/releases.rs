//! Published manifests: read from the store, verified again, kept in memory while they are asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use portcullis::{
    digest::Digest,
    manifest::{Manifest, VerifiedManifest},
    signature::TrustedKeys,
};

use crate::{
    records::{self, Release},
    stores::{Store, StoreError},
};

/// The controller's own copies of published manifests. Of what reports are judged by, only an outline is kept in memory: each
/// report is held against it, and a release has a million files.
#[derive(Debug)]
pub(crate) struct Releases {
    store: Arc<dyn Store>,
    trust: TrustedKeys,
    cached: Mutex<BTreeMap<Digest, Arc<Manifest>>>,
    sent: Mutex<BTreeMap<Digest, Weak<[u8]>>>,
}

impl Releases {
    pub(crate) fn new(store: Arc<dyn Store>, trust: TrustedKeys) -> Self {
        Self { store, trust, cached: Mutex::default(), sent: Mutex::default() }
    }

    /// The [outline](Manifest::outline) of a published manifest; `None` when it was never published, or the keys that signed it are no longer trusted.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<Option<Arc<Manifest>>, StoreError> {
        if let Some(manifest) = self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(Some(Arc::clone(manifest)));
        }
        let Some(envelope) = self.envelope(digest)? else { return Ok(None) };
        let Ok(verified) = VerifiedManifest::open(&envelope, &self.trust) else { return Ok(None) };
        if verified.digest != *digest {
            return Err(StoreError::Failed(format!("another manifest is kept under {digest}")));
        }
        let manifest = Arc::new(verified.manifest.outline());
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(*digest, Arc::clone(&manifest));
        Ok(Some(manifest))
    }

    /// The envelope, exactly as published.
    pub(crate) fn envelope(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&records::manifest_path(digest))?.map(|found| found.value))
    }

    /// The envelope, to be sent: all who ask at the same time, however slowly they take it, share one copy.
    pub(crate) fn sent(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, StoreError> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = sent.get(digest).and_then(Weak::upgrade) {
            return Ok(Some(shared));
        }
        let Some(envelope) = self.envelope(digest)? else { return Ok(None) };
        let shared: Arc<[u8]> = envelope.into();
        sent.retain(|_, kept| kept.strong_count() > 0);
        sent.insert(*digest, Arc::downgrade(&shared));
        Ok(Some(shared))
    }

    /// What is published under a digest.
    pub(crate) fn release(&self, digest: &Digest) -> Result<Option<Release>, StoreError> {
        Ok(records::read(&*self.store, &records::release_path(digest))?.map(|(_, release)| release))
    }

    /// All that is published.
    pub(crate) fn all(&self) -> Result<Vec<(Digest, Release)>, StoreError> {
        let mut all = Vec::new();
        for (path, _) in self.store.list("release/")? {
            let digest = path.strip_prefix("release/").and_then(Digest::from_hex);
            if let Some(digest) = digest
                && let Some(release) = self.release(&digest)?
            {
                all.push((digest, release));
            }
        }
        Ok(all)
    }
}

/// A fleet runs few releases at a time, and to read one again that is large takes a second.
const CACHED_MAX: usize = 4;
