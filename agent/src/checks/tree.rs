//! Trees: the work is the core's ([`portcullis::tree`]); here is the word that it is no longer waited for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use portcullis::tree::Progress;

/// Nobody looks on, but the walk can be called off.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub(super) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Progress for Cancelled {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
