//! Which manifest to check, and where it comes from: memory, the state directory, the controller. Wherever it was, it is
//! verified against the keys in the image, and its digest must be the one that was asked for.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use portcullis::{
    digest::Digest,
    manifest::{Manifest, OpenError, VerifiedManifest},
    signature::{EnvelopeLimits, TrustedKeys},
    text,
};

use crate::{
    config::Pin,
    controller::{Controller, ControllerError},
    state::{self, State},
};

/// A manifest that was verified and that this image takes.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) digest: Digest,
    pub(crate) manifest: Arc<Manifest>,
}

/// What the image says about manifests.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) trust: TrustedKeys,
    pub(crate) pin: Pin,
}

/// Manifests by digest. At most [`CANDIDATES_MAX`] stay in memory: they can be large.
#[derive(Debug)]
pub(crate) struct Manifests {
    rules: Arc<Rules>,
    state: Arc<State>,
    known: Vec<Release>,
}

/// There is no manifest to check by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error("`{path}`: {because}")]
    Unreadable { path: String, because: String },
    #[error("not a manifest to believe: {0}")]
    Open(#[from] OpenError),
    #[error("a manifest of product `{}`, and this image is of `{}`", text::visible(actual), text::visible(pinned))]
    Product { pinned: String, actual: String },
    #[error("a manifest with sequence {actual}, and this image takes none before {pinned}")]
    Sequence { pinned: u64, actual: u64 },
    #[error("verifying it was broken off")]
    BrokenOff,
}

impl Manifests {
    pub(crate) fn new(rules: Rules, state: Arc<State>) -> Self {
        Self { rules: Arc::new(rules), state, known: Vec::new() }
    }

    /// The manifest of that digest, from the nearest place that has it.
    pub(crate) async fn release(&mut self, digest: Digest, controller: &Controller) -> Result<Release, ManifestError> {
        if let Some(release) = self.cached(digest).await {
            return Ok(release);
        }
        let envelope = controller.manifest(digest).await?;
        let (release, envelope) = verified(envelope, Some(digest), Arc::clone(&self.rules)).await?;
        self.keep(envelope).await;
        tracing::info!("verified release `{}`, manifest {digest}", text::visible(&release.manifest.release));
        self.remember(release.clone());
        Ok(release)
    }

    /// The manifest of that digest, if memory or the state directory has it.
    pub(crate) async fn cached(&mut self, digest: Digest) -> Option<Release> {
        if let Some(release) = self.known.iter().find(|release| release.digest == digest) {
            return Some(release.clone());
        }
        let state = Arc::clone(&self.state);
        let envelope = tokio::task::spawn_blocking(move || state.manifest()).await.ok()??;
        let (release, _) = verified(envelope, Some(digest), Arc::clone(&self.rules)).await.ok()?;
        self.remember(release.clone());
        Some(release)
    }

    fn remember(&mut self, release: Release) {
        self.known.insert(0, release);
        self.known.truncate(CANDIDATES_MAX);
    }

    /// A disk that takes nothing more must not keep an instance from being proven.
    async fn keep(&self, envelope: Vec<u8>) {
        let state = Arc::clone(&self.state);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || state.keep_manifest(&envelope)).await {
            tracing::warn!("the manifest is not kept on disk: {error}");
        }
    }
}

/// The manifest in a file, for an agent without a controller.
pub(crate) async fn from_file(path: &Path, rules: Arc<Rules>) -> Result<Release, ManifestError> {
    let path = path.to_path_buf();
    let unreadable = |error: std::io::Error, path: &Path| ManifestError::Unreadable {
        path: text::escape(path.as_os_str().as_encoded_bytes()),
        because: error.to_string(),
    };
    let read = tokio::task::spawn_blocking(move || {
        state::read_capped(&path, EnvelopeLimits::MANIFEST.bytes_max).map_err(|error| unreadable(error, &path))
    });
    let envelope = read.await.map_err(|_| ManifestError::BrokenOff)??;
    Ok(verified(envelope, None, rules).await?.0)
}

/// Verification hashes and parses up to 64 MiB: beside the runtime's thread, which answers probes.
async fn verified(
    envelope: Vec<u8>,
    asked: Option<Digest>,
    rules: Arc<Rules>,
) -> Result<(Release, Vec<u8>), ManifestError> {
    let verify = move || open(&envelope, asked, &rules).map(|release| (release, envelope));
    tokio::task::spawn_blocking(verify).await.map_err(|_| ManifestError::BrokenOff)?
}

fn open(envelope: &[u8], asked: Option<Digest>, rules: &Rules) -> Result<Release, ManifestError> {
    let VerifiedManifest { manifest, digest, .. } = VerifiedManifest::open(envelope, &rules.trust)?;
    if let Some(expected) = asked.filter(|asked| *asked != digest) {
        return Err(OpenError::Digest { expected, actual: digest }.into());
    }
    if let Some(pinned) = rules.pin.product.as_ref().filter(|pinned| **pinned != manifest.product) {
        return Err(ManifestError::Product { pinned: pinned.clone(), actual: manifest.product });
    }
    if let Some(pinned) = rules.pin.sequence_min.filter(|pinned| *pinned > manifest.sequence) {
        return Err(ManifestError::Sequence { pinned, actual: manifest.sequence });
    }
    Ok(Release { digest, manifest: Arc::new(manifest) })
}

/// Which of the accepted manifests to check, in this order, until one passes: the one that the image claims to carry if it
/// is accepted, else the newest first.
pub(crate) fn candidates(hint: Option<Digest>, accepted: &[Digest]) -> Vec<Digest> {
    match hint.filter(|hint| accepted.contains(hint)) {
        Some(hint) => vec![hint],
        None => accepted.iter().copied().take(CANDIDATES_MAX).collect(),
    }
}

/// What the image claims to carry. No such file, or something else in it: no hint, which is all it ever was.
pub(crate) fn hint(file: Option<&PathBuf>) -> Option<Digest> {
    let bytes = state::read_capped(file?, HINT_BYTES_MAX).ok()?;
    str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

/// The wanted release, the former, and one more: checking each costs a walk of every tree.
pub(crate) const CANDIDATES_MAX: usize = 3;
const HINT_BYTES_MAX: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_goes_first_if_it_is_accepted() {
        let digest = |n: u8| Digest::of(&[n]);
        let accepted = [digest(4), digest(3), digest(2), digest(1)];
        assert_eq!(candidates(Some(digest(2)), &accepted), [digest(2)]);
        assert_eq!(candidates(Some(digest(9)), &accepted), accepted[..3]);
        assert_eq!(candidates(None, &accepted), accepted[..3]);
        assert_eq!(candidates(Some(digest(1)), &[]), []);
    }

    #[test]
    fn a_hint_is_a_digest_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("release");
        assert_eq!(hint(Some(&file)), None);
        for (text, expected) in [(format!("{}\n", Digest::of(b"")), Some(Digest::of(b""))), ("latest".into(), None)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(hint(Some(&file)), expected);
        }
    }
}
