//! What travels between the programs, version 1. Requests of agents are DSSE envelopes around these; answers are plain JSON.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    alert::Severity,
    digest::Digest,
    instance::{BootId, GroupName, InstanceId, LifecycleState, WaitId},
    reason::Reason,
    record::{Warrant, Word},
    timestamp::Timestamp,
    verdict::Verdict,
};

/// Payload type of [`Enrol`] in its DSSE envelope.
pub const ENROL_PAYLOAD_TYPE: &str = "application/vnd.portcullis.enrol.v1+json";

/// `POST /v1/enrol` (PROTOCOL.md §3, 1), signed by the key it announces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// Which controller it is meant for.
    pub audience: String,
    /// Who speaks.
    pub instance: InstanceId,
    /// Which boot.
    pub boot_id: BootId,
    /// SPKI PEM of the key that the agent made.
    pub public_key: String,
    /// What shows that the speaker is that instance.
    pub evidence: Identity,
}

/// What shows that an agent speaks for an instance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Identity {
    /// AWS's identity document and its `/rsa2048` signature, as IMDSv2 gives them.
    AwsIid {
        /// The JSON document, byte for byte.
        document: String,
        /// PKCS7, base64, as it came.
        rsa2048: String,
    },
    /// A token that an operator made for one group.
    JoinToken(String),
}

impl core::fmt::Debug for Identity {
    /// Both are secrets: an identity document is a bearer token too.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::AwsIid { .. } => "AwsIid(…)",
            Self::JoinToken(_) => "JoinToken(…)",
        })
    }
}

/// The answer to [`Enrol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The name of this binding of instance, boot and key, for all that follows.
    pub binding: String,
    /// The first challenge.
    pub challenge: String,
    /// The manifest wanted of the group, if one is promoted and the group is known.
    pub wanted: Option<Digest>,
}

/// The answer to a [challenge request](crate::challenge::Request).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenged {
    /// To be answered by a report.
    pub challenge: String,
    /// The manifest wanted of the group, if one is promoted.
    pub wanted: Option<Digest>,
    /// All manifests that would be accepted, newest first.
    pub accepted: Vec<Digest>,
    /// The group that the controller saw the instance in; empty while it has not.
    pub group: GroupName,
    /// The wait that the report will count for; 0 while the instance was not seen to wait.
    pub wait: WaitId,
}

/// The answer to a [`Report`](crate::report::Report).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What the controller makes of the instance now.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
    /// The manifest wanted of the group.
    pub wanted: Option<Digest>,
    /// The challenge for the next report.
    pub next_challenge: String,
    /// When to report again.
    pub poll_after_s: u64,
}

/// An error, RFC 9457, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URN that names the kind of error: `urn:portcullis:problem:<kind>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of error in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
}

/// `GET /v1/status`: what is held, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When the controller decided this.
    pub decided_at: Timestamp,
    /// Every group it gates.
    pub groups: Vec<GroupStatus>,
    /// What is the matter with the controller itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertStatus>,
}

/// One group of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub group: GroupName,
    /// `observe` or `enforce`.
    pub mode: crate::policy::Mode,
    /// The release wanted, by name; absent when none is promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Digest>,
    /// How many instances the cloud is asked for; absent until the group was described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
    /// What is wrong with the group itself: no hook, not found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What somebody should look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertStatus>,
    /// Its instances.
    pub instances: Vec<InstanceStatus>,
}

/// One alert of [`GroupStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// Names it, together with the group.
    pub code: String,
    /// `critical` or `warning`.
    pub severity: Severity,
    /// What is the matter, for people.
    pub text: String,
    /// Who looks after it: it is not repeated any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Warrant>,
}

/// `POST /v1/groups/{group}/acknowledge`: somebody looks after an alert, and it is not repeated any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Which alert.
    pub code: String,
    /// What is done about it.
    pub reason: String,
}

/// One instance of [`GroupStatus`], and the answer of `GET /v1/instances/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its id.
    pub instance: InstanceId,
    /// The group it is in.
    pub group: GroupName,
    /// Where the cloud says it is in its life.
    pub state: LifecycleState,
    /// What the controller makes of it; absent for one it has nothing to say about (on its way out).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why, typed; absent too where the controller is newer than the reader and knows more reasons: `because` has its text.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_reason")]
    pub reason: Option<Reason>,
    /// Why, for people: the text of `reason`.
    pub because: String,
    /// When a hold ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Whether the cloud has taken our CONTINUE for this wait.
    pub continue_accepted: bool,
    /// Whether it gets traffic: `InService`, and not found unhealthy by its load balancers.
    #[serde(default)]
    pub in_service: bool,
    /// Who protects it from scale-in; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_by: Option<ProtectedBy>,
    /// Its present wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitId>,
    /// The last accepted report, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<crate::report::Evidence>,
}

/// Who protects an instance from scale-in. The cloud does not say; the controller knows what it did itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtectedBy {
    /// The controller, while new instances are not proven.
    SurvivorsGuard,
    /// Somebody else: the controller leaves it alone.
    SomebodyElse,
}

fn known_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}

/// `GET /v1/groups/{group}/trial`: what a group that only observes would have done with its launches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which group.
    pub group: GroupName,
    /// Launches whose wait began since then.
    pub since: Timestamp,
    /// How many were proven before their deadline: they would have been held so long, and admitted.
    pub proven: u64,
    /// How long that took, in seconds, for half of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_after_s_median: Option<u64>,
    /// And for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_after_s_max: Option<u64>,
    /// Those that would have been given up, by what they have in common; the most first.
    pub failures: Vec<TrialFailure>,
}

/// Launches that would have been given up for the same causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialFailure {
    /// As reasons have them: `app: missing`, `no_report`.
    pub causes: Vec<String>,
    /// Which instances.
    pub instances: Vec<InstanceId>,
}

/// One line of the audit, and of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Ascends without gaps.
    pub sequence: u64,
    /// When, by the controller's clock.
    pub at: Timestamp,
    /// `verdict`, `action`, `answer`, `promoted`, `published`, `enrolled`, `refused`, …
    pub kind: String,
    /// Which group, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Which instance, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Who did it: an operator's name, or `controller`.
    pub actor: String,
    /// What happened, for people.
    pub text: String,
}

/// `GET /v1/releases`, one each: what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSummary {
    /// The manifest's digest.
    pub manifest: Digest,
    /// Of which product.
    pub product: String,
    /// The release's name.
    pub release: String,
    /// Its place among builds.
    pub sequence: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// By whom.
    pub published_by: String,
    /// The groups that want it.
    pub wanted_by: Vec<GroupName>,
    /// The groups that still accept it.
    pub accepted_by: Vec<GroupName>,
}

/// `GET /v1/doctor`: what is to be mended about the set-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// When it was looked at, by the controller's clock.
    pub examined_at: Timestamp,
    /// At least one finding for each group and topic, and of the controller itself.
    pub findings: Vec<crate::doctor::Finding>,
}

/// `POST /v1/groups/{group}/promote`: make a release the wanted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// A digest, or the name of exactly one published release.
    pub release: String,
    /// Allows an older sequence than the wanted one; needs a reason.
    #[serde(default)]
    pub rollback: bool,
    /// Allows a release that was not proven where the group's policy demands it, and one of another product than the wanted one;
    /// needs a reason. A rollback needs no proof.
    #[serde(default)]
    pub force: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/groups/{group}/retire`: no longer accept a former release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retire {
    /// A digest, or the name of exactly one published release.
    pub release: String,
    /// Allows one that still serves; needs a reason.
    #[serde(default)]
    pub force: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/instances/{instance}/override`: an operator's word on the present wait of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// What is to be done; absent: what was said before no longer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<Word>,
    /// Why, for the audit and for whoever asks.
    pub reason: String,
    /// For how long, in seconds: 1 to [`WORD_S_MAX`].
    #[serde(default = "word_s_default")]
    pub for_s: u64,
}

/// `POST /v1/instances/{instance}/settle`: which key speaks for an instance that two claim to be, or that is another machine now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// Which.
    pub key: Claim,
    /// Why.
    pub reason: String,
}

/// One of two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// The one that enrolled first: nothing was wrong with it.
    Old,
    /// The next one that enrols. The old one is never taken again, and what was proven with it counts no more.
    New,
}

/// What an operator settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The instance.
    pub instance: InstanceId,
    /// Whose word counts.
    pub key: Claim,
}

/// `POST /v1/groups/{group}/retry`: replace one instance of a group that stopped replacing, to see whether it still fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Why.
    pub reason: String,
}

/// `POST /v1/groups/{group}/withdraw`: go on withdrawing from a group in which many fail for one cause, as far as it may lose some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// Why.
    pub reason: String,
}

/// `POST /v1/groups/{group}/pause`: neither admit nor give up any of a group's waiting instances, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Why.
    pub reason: String,
    /// For how long, in seconds: up to [`WORD_S_MAX`]; 0 ends a pause.
    #[serde(default = "word_s_default")]
    pub for_s: u64,
}

/// `POST /v1/groups/{group}/detach`: let in all that waits in a group, proven or not; or, to attach it, no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detach {
    /// Why.
    pub reason: String,
    /// Whether to end it.
    #[serde(default)]
    pub attach: bool,
}

const fn word_s_default() -> u64 {
    WORD_S_DEFAULT
}

/// How long an operator's word counts unless said otherwise: 30 minutes, long enough to look.
pub const WORD_S_DEFAULT: u64 = 30 * 60;

/// The longest that an operator's word counts: 4 hours. What should last longer is a policy.
pub const WORD_S_MAX: u64 = 4 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_tomorrow_is_no_error() {
        let status = |reason: &str| {
            let json = alloc::format!(
                r#"{{"instance":"i-1","group":"web","state":"Pending:Wait","reason":{reason},"because":"so","continue_accepted":false}}"#
            );
            serde_json::from_str::<InstanceStatus>(&json).map(|status| status.reason)
        };
        assert_eq!(status(r#"{"code":"no_release"}"#).unwrap(), Some(Reason::NoRelease));
        assert_eq!(status(r#"{"code":"of_tomorrow","why":1}"#).unwrap(), None);
    }
}
