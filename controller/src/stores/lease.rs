//! Who may act: the part of a store that belongs to one process. Its epochs are on disk, its tenure is in memory, since whoever
//! opens the store next knows that the former process is gone.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Batch, Store, StoreError, Tenure};
use crate::{
    clock::Clock,
    records::{self, Epoch},
};

/// The present tenure.
#[derive(Debug, Default)]
pub(super) struct Tenancy {
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    holder: String,
    epoch: u64,
    until: Instant,
}

impl Tenancy {
    /// See [`Store::lease`].
    pub(super) fn claim(&self, store: &dyn Store, holder: &str, length: Duration) -> Result<Tenure, StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Clock::monotonic();
        let epoch = match &*held {
            Some(present) if present.holder == holder => present.epoch,
            Some(present) if now < present.until => return Ok(Tenure::Others { holder: present.holder.clone() }),
            Some(_) | None => next_epoch(store)?,
        };
        // From after the write, so that it ends no earlier here than its holder believes.
        *held = Some(Held { holder: holder.into(), epoch, until: Clock::monotonic() + length });
        Ok(Tenure::Held { epoch })
    }

    /// See [`Store::release`].
    pub(super) fn release(&self, holder: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|present| present.holder == holder);
    }
}

/// A new epoch for each holder: what an earlier one may still send is told apart.
fn next_epoch(store: &dyn Store) -> Result<u64, StoreError> {
    let last = records::read::<Epoch>(store, PATH)?;
    let epoch = last.map_or(0, |(_, last)| last.epoch) + 1;
    let write = records::put(PATH.into(), last.map(|(revision, _)| revision), &Epoch { epoch });
    store.commit(Batch { writes: vec![write], events: Vec::new() })?;
    Ok(epoch)
}

const PATH: &str = "lease";
