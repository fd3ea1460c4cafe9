//! What the controller keeps besides the core's records, and how all of it is read and written: JSON, one value a key.

use std::collections::BTreeSet;

use portcullis::{
    action::AttemptKey,
    digest::Digest,
    instance::{BootId, GroupName, InstanceId},
    observation::{Answer, Observation},
    observed::Observed,
    record::{Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::stores::{Store, StoreError, Versioned, Write};

/// Who speaks for an instance: key and boot, and how far its reports have come. Under `binding/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The instance.
    pub instance: InstanceId,
    /// The group its join token was for; none when an identity document bound it.
    pub group: Option<GroupName>,
    /// SPKI PEM of the key.
    pub public_key: String,
    /// The boot that was announced last.
    pub boot: BootId,
    /// How many boots this binding has seen.
    pub epoch: u64,
    /// The counter of the last accepted report.
    pub n: u64,
    /// The last accepted report, by its bytes: a resend is told from a replay.
    pub last_report: Option<Digest>,
    /// When the key was bound.
    pub enrolled_at: Timestamp,
    /// When the present boot was announced, if it is not the first.
    #[serde(default)]
    pub boot_at: Timestamp,
}

/// The cloud took our CONTINUE or ABANDON. Under `ended/INSTANCE`: after a restart nobody else would know, for an instance that
/// other hooks still hold looks like any other that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which attempt it was.
    pub attempt: AttemptKey,
    /// When the answer came.
    pub at: Timestamp,
}

/// A token that lets instances of one group enrol. Under `token/HASH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The group it is for.
    pub group: GroupName,
    /// When it is no longer taken.
    pub expires: Timestamp,
    /// How many instances may still use it.
    pub uses_left: u32,
    /// The operator who made it.
    pub created_by: String,
}

/// A published release. Under `release/DIGEST`, beside `manifest/DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Of which product.
    pub product: String,
    /// Its name.
    pub release: String,
    /// Its place among builds.
    pub sequence: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// By whom.
    pub published_by: String,
}

/// The controllers' key for challenges. Under `secret/challenge`.
#[derive(Clone, Serialize, Deserialize)]
pub struct ChallengeKey {
    /// Its public name.
    pub id: String,
    /// 64 hex digits.
    pub secret: String,
}

/// The epoch of the last holder of the lease. Under `lease`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Ascends with every holder.
    pub epoch: u64,
}

/// Where a binding is kept.
pub fn binding_path(id: &str) -> String {
    format!("binding/{id}")
}

/// Where the binding of an instance is named.
pub fn bound_path(instance: &InstanceId) -> String {
    format!("bound/{}", instance.as_str())
}

/// Where the binding of a key is named.
pub fn key_path(key_id: &str) -> String {
    format!("key/{key_id}")
}

/// Where a join token is kept: by its hash, so that the store gives none away.
pub fn token_path(token: &str) -> String {
    format!("token/{}", Digest::of(token.as_bytes()).to_hex())
}

/// Where a published release is kept.
pub fn release_path(manifest: &Digest) -> String {
    format!("release/{}", manifest.to_hex())
}

/// Where a published envelope is kept, exactly as it came.
pub fn manifest_path(manifest: &Digest) -> String {
    format!("manifest/{}", manifest.to_hex())
}

/// Where the last accepted report of an instance is kept.
pub fn evidence_path(instance: &InstanceId) -> String {
    format!("{EVIDENCE}{}", instance.as_str())
}

/// Reads a record, with the revision that a write over it must expect.
///
/// # Errors
/// When the store cannot be read, or what is there is no such record.
pub fn read<T: DeserializeOwned>(store: &dyn Store, path: &str) -> Result<Option<(u64, T)>, StoreError> {
    store.get(path)?.map(|found| Ok((found.revision, decode(path, &found.value)?))).transpose()
}

/// A write of a record over the revision that was read.
pub fn put<T: Serialize>(path: String, expected: Option<u64>, record: &T) -> Write {
    Write::put(path, expected, serde_json::to_vec(record).expect("records have string keys only"))
}

/// What a value of the store means to the core; `None` for all that is none of its business. Evidence that is gone is unproven. Of evidence that cannot be read there is
/// none: nothing is proven by it, and the next report is written over it. That a wait was ended is asked of the cloud once more.
pub fn observation(path: &str, found: Option<&Versioned>, revision: u64) -> Option<Observation> {
    let unread = |error: StoreError| tracing::error!(path, %error, "it cannot be read, and counts for nothing");
    if let Some(instance) = path.strip_prefix(EVIDENCE) {
        if found.is_none() {
            return Some(Observation::Unproven(instance.into()));
        }
        return decode::<Evidence>(path, &found?.value).map(Observation::Reported).map_err(unread).ok();
    }
    if path.starts_with(ENDED) {
        let Ended { attempt, at } = decode(path, &found?.value).map_err(unread).ok()?;
        return Some(Observation::Answered { attempt, answer: Answer::Accepted, at });
    }
    let key = Key::parse(path)?;
    let record = found.map(|found| decode::<Record>(path, &found.value)).transpose();
    Some(match record {
        Ok(record) => Observation::Stored { key, revision, record },
        Err(error) => {
            tracing::error!(path, %error, "a record cannot be read: what it bears on stays as it is");
            Observation::Unreadable { key, revision }
        }
    })
}

/// What was known and is no longer `there`, where all paths of the [`observed`] families are.
pub(crate) fn gone(known: &Observed, there: &BTreeSet<String>) -> Vec<Observation> {
    let records = known.records.iter().map(|(key, (revision, _))| (key, revision)).chain(&known.unreadable);
    let records = records.filter(|(key, _)| !there.contains(&key.path()));
    // It went by a later commit, and is there again by a still later one, if at all.
    let stored =
        |(key, revision): (&Key, &u64)| Observation::Stored { key: key.clone(), revision: revision + 1, record: None };
    let proven = known.instances.iter().filter(|(_, instance)| instance.evidence.is_some());
    let proven = proven.map(|(id, _)| id).chain(known.early.keys());
    let proven = proven.filter(|id| !there.contains(&evidence_path(id)));
    records.map(stored).chain(proven.cloned().map(Observation::Unproven)).collect()
}

fn decode<T: DeserializeOwned>(path: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Failed(format!("`{path}`: {error}")))
}

/// Where it is kept that a wait of an instance was ended.
pub fn ended_path(instance: &InstanceId) -> String {
    format!("{ENDED}{}", instance.as_str())
}

const EVIDENCE: &str = "evidence/";
const ENDED: &str = "ended/";

/// The families of what is kept of an instance and the core knows: one list, for loading as for sweeping.
pub(crate) const OF_INSTANCES: [&str; 9] =
    ["wait/", "admission/", "rejection/", "dispute/", "override/", "trial/", "withdrawal/", EVIDENCE, ENDED];

/// All families that the core knows.
pub(crate) fn observed() -> impl Iterator<Item = &'static str> {
    ["group/", "pause/", "breaker/", "protection/", "alert/", "detach/", "freeze/", "adoption/"]
        .into_iter()
        .chain(OF_INSTANCES)
}
