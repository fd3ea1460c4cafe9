//! What a liar says in the place of its agent. That everything passes, on a fresh challenge, for its present wait and boot, is not
//! among it: who is root on an instance can say so and be believed, about that instance (ARCHITECTURE.md, threat model).

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::body::Bytes;
use portcullis::{
    instance::WaitId,
    outcome::{Outcome, Status},
    report::{PAYLOAD_TYPE, Report},
    signature::{Envelope, SigningKey},
};

/// The last passing report that anybody sent, for liars to tell again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rumours(Arc<Mutex<Option<Bytes>>>);

impl Rumours {
    pub(crate) fn hear(&self, report: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    fn last(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One that lies whenever it can; in between it tells the truth, so that there is an answered challenge to use again.
#[derive(Debug)]
pub(crate) struct Liar {
    key: PathBuf,
    /// What this instance proved in an earlier wait, when it had other content.
    earlier: Option<Bytes>,
    /// The truth that was told last, and whether it was taken.
    told: Option<(Report, bool)>,
    turn: u32,
}

impl Liar {
    pub(crate) const fn new(key: PathBuf, earlier: Option<Bytes>) -> Self {
        Self { key, earlier, told: None, turn: 0 }
    }

    /// The controller took the truth that was told last.
    pub(crate) const fn was_heard(&mut self) {
        if let Some((_, is_taken)) = &mut self.told {
            *is_taken = true;
        }
    }

    /// A lie, if it is time for one and there is something to make it of.
    pub(crate) fn instead_of(&mut self, truth: Report, rumours: &Rumours) -> Option<Bytes> {
        self.turn += 1;
        let lie = match self.turn % 7 {
            1 => None,
            2 => self.sealed(self.answered().map(|old| Report { challenge: old.challenge, ..rosy(&truth) })),
            3 => self.sealed(Some(Report { wait: WaitId(truth.wait.0 + 1), ..rosy(&truth) })),
            4 => self.sealed(Some(Report { boot_id: "another".into(), ..rosy(&truth) })),
            5 => rumours.last(),
            6 => self.earlier.clone(),
            _ => payload(&rosy(&truth)).map(|payload| Envelope::unsigned(PAYLOAD_TYPE, payload).to_json().into()),
        };
        if lie.is_none() {
            self.told = Some((truth, false));
        }
        lie
    }

    fn answered(&self) -> Option<Report> {
        self.told.as_ref().filter(|(_, is_taken)| *is_taken).map(|(report, _)| report.clone())
    }

    fn sealed(&self, report: Option<Report>) -> Option<Bytes> {
        let key = SigningKey::from_pem(&fs::read_to_string(&self.key).ok()?).ok()?;
        let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload(&report?)?);
        envelope.sign(&key);
        Some(envelope.to_json().into())
    }
}

fn payload(report: &Report) -> Option<Vec<u8>> {
    serde_json::to_vec(report).ok()
}

/// As it would be if all were well.
fn rosy(truth: &Report) -> Report {
    let pass = |outcome: &Outcome| Outcome::new(&outcome.check, &outcome.kind, Status::Pass, None);
    Report { outcomes: truth.outcomes.iter().map(pass).collect(), ..truth.clone() }
}
