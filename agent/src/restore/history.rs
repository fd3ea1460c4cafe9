//! When something was restored in this boot, on the disk: a restart of the agent forgets none of it.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use crate::state;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    boot_id: String,
    /// Milliseconds since boot.
    pub(super) at_ms: Vec<u64>,
}

impl History {
    /// Of this boot; one that cannot be read is none.
    pub(super) fn read(home: &Path, boot_id: &str) -> Self {
        let kept = state::read_capped(&home.join(FILE), BYTES_MAX).ok();
        let kept: Option<Self> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        kept.filter(|kept| kept.boot_id == boot_id)
            .unwrap_or_else(|| Self { boot_id: boot_id.into(), at_ms: Vec::new() })
    }

    /// Written before it is done: what ends it half-way counts too.
    pub(super) fn add(&mut self, home: &Path, now_ms: u64) -> io::Result<()> {
        self.at_ms.retain(|at| now_ms.saturating_sub(*at) < super::decide::TRIES_WITHIN_MS);
        self.at_ms.push(now_ms);
        state::replace(&home.join(FILE), &serde_json::to_vec(self)?)
    }
}

const FILE: &str = "history.json";
const BYTES_MAX: usize = 64 << 10;
