//! A manifest to check by: opened only when its entries are needed, since that takes longer than to see that nothing changed.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use portcullis::{digest::Digest, manifest::Manifest};

/// What opens a manifest; the error is for people.
type Open = dyn Fn() -> Result<Manifest, String> + Send + Sync;

/// A manifest, or the way to it.
pub(crate) struct Source {
    /// Its digest, where anything is to be remembered by it.
    pub(crate) digest: Option<Digest>,
    /// All of it but entries.
    pub(crate) outline: Arc<Manifest>,
    whole: OnceLock<Result<Arc<Manifest>, String>>,
    open: Box<Open>,
}

impl Source {
    /// One that is open.
    pub(crate) fn whole(manifest: Arc<Manifest>) -> Self {
        let open = || Err("it is open".into());
        Self { digest: None, outline: Arc::clone(&manifest), whole: Ok(manifest).into(), open: Box::new(open) }
    }

    /// One of which `outline` is known to be the outline.
    pub(crate) fn of(
        digest: Digest,
        outline: Manifest,
        open: impl Fn() -> Result<Manifest, String> + Send + Sync + 'static,
    ) -> Self {
        Self { digest: Some(digest), outline: Arc::new(outline), whole: OnceLock::new(), open: Box::new(open) }
    }

    /// All of it, opened once.
    pub(crate) fn manifest(&self) -> Result<Arc<Manifest>, String> {
        self.whole.get_or_init(|| (self.open)().map(Arc::new)).clone()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("digest", &self.digest).finish_non_exhaustive()
    }
}
