//! For those who never type `apply`: a live edit that breaks a guard is undone from the signed manifest's texts.
//!
//! A tree says so by `restore = true`. When a check finds that it differs, while the instance serves and no change is being
//! applied, a process of its own is started (`__restore`): the agent's service has few rights, and keeps no manifest in
//! memory. It opens and verifies the manifest anew, asks the guards, and decides (`decide`); what is put back is only what
//! the manifest has as text, and whatever was there instead is kept below `restored/` in the state directory.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use portcullis::{
    manifest::Tree,
    outcome::{Outcome, Status},
};

use crate::{apply, clock, config::Config, manifests::Release};

pub use work::run;

mod decide;
mod history;
mod work;

/// Started after a verification, if there is anything to look into.
#[derive(Debug)]
pub(crate) struct Restorer {
    config_file: PathBuf,
    state_dir: PathBuf,
    /// When a process was started last, by the clock of this boot.
    started_ms: Mutex<Option<u64>>,
}

impl Restorer {
    pub(crate) fn new(config: &Config) -> Self {
        Self { config_file: config.file.clone(), state_dir: config.state_dir.clone(), started_ms: Mutex::new(None) }
    }

    /// Looks at what a verification of a serving instance came to; starts a process if a tree that is to be restored differs.
    /// Costs nothing otherwise, and never waits.
    pub(crate) fn after(&self, release: &Release, outcomes: &[Outcome]) {
        let differs =
            |tree: &Tree| outcomes.iter().any(|outcome| outcome.check == tree.name && outcome.status == Status::Fail);
        if !release.outline.trees.iter().filter(|tree| tree.restore).any(differs)
            || apply::is_open(&self.state_dir)
            || !self.is_time()
        {
            return;
        }
        let (config, manifest, digest) =
            (self.config_file.clone(), release.file().to_path_buf(), release.digest.to_string());
        // Off the thread that answers probes: systemd may take its time.
        let start = move || {
            let arguments = [OsStr::new("__restore"), config.as_os_str(), manifest.as_os_str(), OsStr::new(&digest)];
            if let Err(because) = apply::launch::start(&format!("portcullis-restore-{}", clock::boot_ms()), &arguments)
            {
                tracing::error!("nobody looks whether an edit is to be undone: {because}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("restore".into()).spawn(start) {
            tracing::error!("nobody looks whether an edit is to be undone: {error}");
        }
    }

    fn is_time(&self) -> bool {
        let mut started = self.started_ms.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = clock::boot_ms();
        let is_time = started.is_none_or(|started| now.saturating_sub(started) >= LOOK_EVERY_MS);
        if is_time {
            *started = Some(now);
        }
        is_time
    }
}

/// What was restored lately, and what was not and why; for `status`.
pub fn lines(state_dir: &Path) -> Vec<String> {
    let lines = fs::read_to_string(state_dir.join(HOME).join(LOG)).unwrap_or_default();
    let lines: Vec<_> = lines.lines().map(portcullis::text::visible).collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].to_vec()
}

/// What is in the log from `offset` bytes on, which is moved on to its end: for the agent's own log.
pub(crate) fn news(state_dir: &Path, offset: &mut usize) -> Vec<String> {
    let log = fs::read(state_dir.join(HOME).join(LOG)).unwrap_or_default();
    // It was begun anew.
    let from = if log.len() < *offset { 0 } else { *offset };
    *offset = log.len();
    String::from_utf8_lossy(&log[from..]).lines().map(portcullis::text::visible).collect()
}

/// Below the state directory.
const HOME: &str = "restored";
/// Below that: a line for each thing that was done.
const LOG: &str = "log";
const LINES_SHOWN: usize = 10;
/// A round of checks while it waits takes a second; an edit that stays as it is need not be looked into so often.
const LOOK_EVERY_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once_also_of_a_log_that_was_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(HOME)).unwrap();
        let mut offset = 0;
        for (log, told) in [
            ("one\n", &["one"][..]),
            ("one\ntwo\nthree\n", &["two", "three"]),
            ("one\ntwo\nthree\n", &[]),
            ("four\n", &["four"]),
        ] {
            fs::write(dir.path().join(HOME).join(LOG), log).unwrap();
            assert_eq!(news(dir.path(), &mut offset), told, "{log:?}");
        }
    }
}
