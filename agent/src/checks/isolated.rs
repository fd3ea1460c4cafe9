//! A check that can neither take others down nor keep them waiting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, mpsc},
    thread,
    time::Duration,
};

use portcullis::outcome::{Outcome, Status};

use super::Busy;
use crate::clock;

/// What is to be run.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) kind: &'static str,
    /// While one of this name has not come back, no other is started.
    pub(super) busy: String,
    pub(super) timeout: Duration,
}

impl Job<'_> {
    /// The outcome of `work`; `unknown` if it panics, is late, or if an earlier one still hangs.
    pub(super) fn run(&self, busy: &Busy, work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
        let started = clock::monotonic();
        let outcome = self.attempt(busy, work).unwrap_or_else(|reason| {
            tracing::warn!(check = self.name, kind = self.kind, reason, "check came to no outcome");
            outcome(self.name, self.kind, Status::Unknown, Some(reason))
        });
        Outcome { took_ms: clock::ms_since(started), ..outcome }
    }

    fn attempt(&self, busy: &Busy, work: impl FnOnce() -> Outcome + Send + 'static) -> Result<Outcome, String> {
        if !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(self.busy.clone()) {
            return Err("not run: an earlier one still hangs".into());
        }
        let busy = Occupied { busy: Arc::clone(busy), name: self.busy.clone() };
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("check {}", self.kind)).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(busy);
            // Nobody listens once it was given up.
            let _ = sender.send(outcome);
        });
        thread.map_err(|error| format!("no thread could be started: {error}"))?;
        match receiver.recv_timeout(self.timeout) {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err("a defect of ours: the check panicked".into())
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("given up after {} s", self.timeout.as_secs_f32())),
        }
    }
}

/// Is in the list of what is busy until dropped: at the very end of the thread, if that ever comes.
struct Occupied {
    busy: Busy,
    name: String,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// An outcome without differences.
pub(super) fn outcome(name: &str, kind: &str, status: Status, reason: Option<String>) -> Outcome {
    Outcome::new(name, kind, status, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(timeout: Duration) -> Job<'static> {
        Job { name: "app", kind: "tree", busy: "tree /app".into(), timeout }
    }

    fn pass() -> Outcome {
        outcome("app", "tree", Status::Pass, None)
    }

    #[test]
    fn a_panic_is_unknown_and_leaves_nothing_behind() {
        let busy = Busy::default();
        let outcome = job(Duration::from_secs(5)).run(&busy, || panic!("oh"));
        assert_eq!(
            (outcome.status, outcome.reason.unwrap()),
            (Status::Unknown, "a defect of ours: the check panicked".into())
        );
        assert_eq!(job(Duration::from_secs(5)).run(&busy, pass).status, Status::Pass);
    }

    #[test]
    fn while_one_hangs_no_second_is_started() {
        let busy = Busy::default();
        let (release, hang) = mpsc::channel::<()>();
        let late = job(Duration::from_millis(20)).run(&busy, move || {
            let _ = hang.recv();
            pass()
        });
        assert_eq!(late.reason.as_deref(), Some("given up after 0.02 s"));
        let second = job(Duration::from_secs(5)).run(&busy, || unreachable!("must not be started"));
        assert_eq!(second.reason.as_deref(), Some("not run: an earlier one still hangs"));
        drop(release);
        while !busy.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        assert_eq!(job(Duration::from_secs(5)).run(&busy, pass).status, Status::Pass);
    }
}
