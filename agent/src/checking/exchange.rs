//! What agent and checking process tell each other: one line of JSON each way.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use portcullis::{
    digest::Digest,
    facts::Facts,
    outcome::Outcome,
    signature::{KeyError, PublicKey, TrustedKeys},
};
use serde::{Deserialize, Serialize};

use crate::{
    checks::{Memory, Options},
    config::Pin,
    manifests::Rules,
};

/// What is to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Every tree and every check.
    All,
    /// Trees only.
    Trees,
    /// Of trees that passed, by their index, these directories alone, by their paths below the root. There are outcomes of these
    /// trees only, and one that passes says nothing.
    Directories(BTreeMap<usize, BTreeSet<Vec<u8>>>),
}

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Where the envelope is.
    pub(crate) file: PathBuf,
    /// What its payload must be, where that is known.
    pub(crate) digest: Option<Digest>,
    pub(crate) rules: WrittenRules,
    pub(crate) job: Job,
}

/// What is to be done with the manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Job {
    /// Nothing but to verify it.
    Outline,
    /// To check by it.
    Check(Box<Order>),
}

/// How to check.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) what: What,
    /// As the same program told it; written as a payload.
    pub(crate) outline: String,
    pub(crate) options: Options,
    pub(crate) memory: Memory,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The manifest is good. Its outline is written as a payload.
    Outline { digest: Digest, outline: String },
    /// What was checked, the facts that templates were rendered with, and what the next round must know.
    Checked { outcomes: Vec<Outcome>, facts: Facts, memory: Memory },
    /// The manifest cannot be used: why, for people.
    Refused { because: String },
}

/// [`Rules`], as they travel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenRules {
    /// PEM.
    keys: Vec<String>,
    threshold: usize,
    pin: Pin,
}

impl From<&Rules> for WrittenRules {
    fn from(rules: &Rules) -> Self {
        let keys = rules.trust.keys().iter().map(PublicKey::to_pem).collect();
        Self { keys, threshold: rules.trust.threshold(), pin: rules.pin.clone() }
    }
}

impl TryFrom<WrittenRules> for Rules {
    type Error = KeyError;

    fn try_from(written: WrittenRules) -> Result<Self, KeyError> {
        let keys = written.keys.iter().map(|pem| PublicKey::from_pem(pem)).collect::<Result<_, _>>()?;
        Ok(Self { trust: TrustedKeys::new(keys, written.threshold)?, pin: written.pin })
    }
}

/// Of an answer. A report that would be larger is cut for the controller anyway (`publish`), and there is no end to what could
/// differ.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;
