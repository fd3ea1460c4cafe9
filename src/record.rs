//! What the store keeps: what neither the cloud nor the agents know.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, AlertKey},
    digest::Digest,
    instance::{BootId, GroupName, InstanceId, WaitId},
    timestamp::Timestamp,
};

/// Where a record is kept. Written as a path: `group/NAME`, `pause/NAME`, `detach/NAME`, `breaker/NAME`, `protection/NAME`,
/// `alert/CODE/NAME`,
/// `wait/ID`, `admission/ID`, `rejection/ID`,
/// `dispute/ID`, `override/ID`, `trial/ID`, `freeze/NAME`, `withdrawal/ID`, `adoption/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// What a group accepts.
    Group(GroupName),
    /// Whether an operator paused a group.
    Pause(GroupName),
    /// Whether a group goes on replacing what fails.
    Breaker(GroupName),
    /// Whom of a group we protect from scale-in.
    Protection(GroupName),
    /// Who was told of an alert.
    Alert(AlertKey),
    /// An instance's waits.
    Wait(InstanceId),
    /// An instance's last admission.
    Admission(InstanceId),
    /// An instance's last rejection.
    Rejection(InstanceId),
    /// Whether somebody else claims to be an instance.
    Dispute(InstanceId),
    /// What an operator said of an instance.
    Override(InstanceId),
    /// Whether nothing is withdrawn from a group, since many fail for one cause.
    Freeze(GroupName),
    /// An instance's last withdrawal.
    Withdrawal(InstanceId),
    /// What would have become of an instance whose group only observes.
    Trial(InstanceId),
    /// Whether an operator wants to do without the gate.
    Detach(GroupName),
    /// Who of a group never passed the gate and is let be.
    Adoption(GroupName),
}

impl Key {
    /// The key as the store has it.
    pub fn path(&self) -> String {
        let (family, name) = match self {
            Self::Alert(AlertKey { group, code }) => return ["alert/", code, "/", &group.0].concat(),
            Self::Group(name) => ("group/", &name.0),
            Self::Pause(name) => ("pause/", &name.0),
            Self::Breaker(name) => ("breaker/", &name.0),
            Self::Protection(name) => ("protection/", &name.0),
            Self::Wait(id) => ("wait/", &id.0),
            Self::Admission(id) => ("admission/", &id.0),
            Self::Rejection(id) => ("rejection/", &id.0),
            Self::Dispute(id) => ("dispute/", &id.0),
            Self::Override(id) => ("override/", &id.0),
            Self::Freeze(name) => ("freeze/", &name.0),
            Self::Withdrawal(id) => ("withdrawal/", &id.0),
            Self::Trial(id) => ("trial/", &id.0),
            Self::Detach(name) => ("detach/", &name.0),
            Self::Adoption(name) => ("adoption/", &name.0),
        };
        [family, name].concat()
    }

    /// The key of a path that [`path`](Self::path) made; `None` for records that are none of the core's.
    pub fn parse(path: &str) -> Option<Self> {
        let (family, name) = path.split_once('/')?;
        match family {
            "group" => Some(Self::Group(name.into())),
            "pause" => Some(Self::Pause(name.into())),
            "breaker" => Some(Self::Breaker(name.into())),
            "protection" => Some(Self::Protection(name.into())),
            "alert" => {
                let (code, group) = name.split_once('/')?;
                Some(Self::Alert(AlertKey { group: group.into(), code: code.into() }))
            }
            "wait" => Some(Self::Wait(name.into())),
            "admission" => Some(Self::Admission(name.into())),
            "rejection" => Some(Self::Rejection(name.into())),
            "dispute" => Some(Self::Dispute(name.into())),
            "override" => Some(Self::Override(name.into())),
            "freeze" => Some(Self::Freeze(name.into())),
            "withdrawal" => Some(Self::Withdrawal(name.into())),
            "trial" => Some(Self::Trial(name.into())),
            "detach" => Some(Self::Detach(name.into())),
            "adoption" => Some(Self::Adoption(name.into())),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::escape(self.path().as_bytes()))
    }
}

/// A record that the decisions depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// Under [`Key::Group`].
    Group(GroupRecord),
    /// Under [`Key::Wait`].
    Wait(WaitRecord),
    /// Under [`Key::Admission`].
    Admission(AdmissionRecord),
    /// Under [`Key::Rejection`].
    Rejection(RejectionRecord),
    /// Under [`Key::Dispute`].
    Dispute(DisputeRecord),
    /// Under [`Key::Pause`].
    Pause(PauseRecord),
    /// Under [`Key::Breaker`].
    Breaker(BreakerRecord),
    /// Under [`Key::Protection`].
    Protection(ProtectionRecord),
    /// Under [`Key::Alert`].
    Alert(AlertRecord),
    /// Under [`Key::Override`].
    Override(OverrideRecord),
    /// Under [`Key::Freeze`].
    Freeze(FreezeRecord),
    /// Under [`Key::Withdrawal`].
    Withdrawal(WithdrawalRecord),
    /// Under [`Key::Trial`].
    Trial(TrialRecord),
    /// Under [`Key::Detach`].
    Detach(DetachRecord),
    /// Under [`Key::Adoption`].
    Adoption(AdoptionRecord),
}

/// What a group accepts: written by operators' promotions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The wanted manifest first, former ones after it. Empty: none is promoted.
    pub accepted: Vec<Digest>,
    /// When that was last changed.
    #[serde(default)]
    pub at: Timestamp,
}

/// A wait of an instance at its launch hook: written when it is first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitRecord {
    /// The group it waits in.
    pub group: GroupName,
    /// Counts the waits of this instance, from 1.
    pub wait: WaitId,
    /// When it was first seen waiting, by the controller's clock.
    pub since: Timestamp,
    /// Whether it was seen not to wait since: the next wait is another one.
    pub over: bool,
    /// Whether it is on its way into the warm pool: it will wait once more on its way out.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub warm: bool,
}

/// Written before CONTINUE is sent: after a restart, what serves without one has bypassed the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionRecord {
    /// The group it was admitted to.
    pub group: GroupName,
    /// Which wait it ended.
    pub wait: WaitId,
    /// Which boot was proven; none when the group only observed.
    pub boot: Option<BootId>,
    /// What was proven; none when the group only observed.
    pub manifest: Option<Digest>,
    /// When it was decided.
    pub at: Timestamp,
    /// Who let it in without proof, where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warrant: Option<Warrant>,
}

/// Written before ABANDON is sent: paces the group, also across a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectionRecord {
    /// The group it was launched in.
    pub group: GroupName,
    /// Which wait it ended.
    pub wait: WaitId,
    /// When it was decided.
    pub at: Timestamp,
    /// Why, as text: for people.
    pub because: String,
    /// Why, as [`Reason::causes`](crate::reason::Reason::causes) has it: what the breaker counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Whose word it was, where it was an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warrant: Option<Warrant>,
    /// What its group launched from by then, where it is that the instance was launched from something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
}

/// Whose word it was, and why: for the audit, and for whoever asks at night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warrant {
    /// The operator.
    pub by: String,
    /// The reason that was given.
    pub because: String,
}

/// An operator's word on one wait of one instance. It outweighs the rules, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideRecord {
    /// The group it waits in.
    pub group: GroupName,
    /// Which wait: for another, it means nothing.
    pub wait: WaitId,
    /// What is to be done.
    pub word: Word,
    /// Who said so, and why.
    pub warrant: Warrant,
    /// When it was said.
    pub at: Timestamp,
    /// When it is no longer in effect.
    pub until: Timestamp,
}

/// What an operator may say of a waiting instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Let it into service without proof.
    Admit,
    /// Hold it, proven or not, and past its deadline too.
    Hold,
    /// End it, without waiting for its deadline.
    Reject,
}

/// What a group that only observes would have done with a launch: written once, when that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// The group it was launched in.
    pub group: GroupName,
    /// Which wait.
    pub wait: WaitId,
    /// When the wait began.
    pub since: Timestamp,
    /// When it was proven; else when it would have been given up.
    pub at: Timestamp,
    /// Why it would have been given up, as [`Reason::causes`](crate::reason::Reason::causes) has it; none: it was proven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// An operator's word that nothing is to be done to the waiting instances of a group, for a time: they are kept waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRecord {
    /// Who said so, and why.
    pub warrant: Warrant,
    /// When it was said.
    pub at: Timestamp,
    /// When it is no longer in effect.
    pub until: Timestamp,
}

/// An operator's word that a group is to do without the gate: everything that waits in it is let in, proven or not, until the
/// operator says otherwise. Without an end of its own, since it is how to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachRecord {
    /// Who said so, and why; or who ended it.
    pub warrant: Warrant,
    /// When it was said.
    pub at: Timestamp,
    /// When it was ended. None while it is in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// That launches of a group keep failing: written when it stops replacing them, when another one failed all the same, and when
/// it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BreakerRecord {
    /// What they have in common.
    pub cause: String,
    /// When replacing stopped.
    pub since: Timestamp,
    /// When this was written.
    pub at: Timestamp,
    /// When one more may be replaced, to see whether it still fails.
    pub until: Timestamp,
    /// When one was proven after all. None while replacing is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
}

/// That many instances of a group fail for one cause: written when withdrawing stops, and when it may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRecord {
    /// What they have in common.
    pub cause: String,
    /// When withdrawing stopped.
    pub since: Timestamp,
    /// When it was over: none fails for the cause any more, or an operator let it go on. What began to fail before does not count
    /// again. None while nothing is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Timestamp>,
    /// Who let it go on, where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warrant: Option<Warrant>,
}

/// Written before an instance is taken out of traffic, and before it is brought back: only what we withdrew comes back by us, also
/// after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawalRecord {
    /// The group it served in.
    pub group: GroupName,
    /// How it is taken out.
    pub way: Way,
    /// How far it has come.
    pub stage: Stage,
    /// When it was decided.
    pub at: Timestamp,
    /// When the present stage was decided.
    pub changed_at: Timestamp,
    /// Why, as text: for people.
    pub because: String,
    /// Why, as [`Cause::key`](crate::report::Cause::key) has it: what a common cause is counted by.
    pub causes: Vec<String>,
    /// Whether somebody else brought it back, or put it in standby again: for the same causes it is let be.
    #[serde(default)]
    pub by_hand: bool,
    /// Whether it came past the gate and was never proven: then silence counts.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub bypassed: bool,
}

/// How an instance is taken out of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// It stands by, and can come back.
    Standby,
    /// It is replaced, for good.
    Replace,
}

/// How far a withdrawal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is to be out of traffic.
    Out,
    /// It is to come back.
    Back,
    /// It is none of ours any more.
    Over,
}

/// Whom of a group we protect from scale-in: written before the first call that does, and again when it is over. Protected and not
/// in it is somebody else's doing. One record for a whole group: a thousand instances are one write.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProtectionRecord {
    /// When it was decided, for each.
    pub instances: BTreeMap<InstanceId, Timestamp>,
}

/// Who of a group never passed the gate and is let be: those that served before there was a policy for such, and those that have proven
/// themselves since. Written when the group is first described with that policy; nobody is withdrawn for a bypass before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AdoptionRecord {
    /// Since when, for each.
    pub instances: BTreeMap<InstanceId, Timestamp>,
}

/// Who was told of an alert, and when: so that it is repeated, and its end told, across restarts too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Which alert.
    pub key: AlertKey,
    /// As it was when it began.
    pub alert: Alert,
    /// When it began.
    pub since: Timestamp,
    /// When each sink last took that it fires, by the sinks' names.
    pub told: BTreeMap<String, Timestamp>,
    /// The sinks that took that it is over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told_over: BTreeSet<String>,
    /// Who looks after it: it is not repeated any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Warrant>,
    /// When it was seen to be over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Timestamp>,
    /// Whether everybody who knew of it was told that it is over.
    #[serde(default)]
    pub is_over: bool,
}

/// Written when a second key, with an identity as good as the first one's, claims an instance: the first may have been the
/// thief (PROTOCOL.md §3, 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeRecord {
    /// When it happened.
    pub at: Timestamp,
}
