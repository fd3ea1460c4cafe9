//! What the controller can do, in the gate's words; a provider says it in the cloud's.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, AlertKey},
    instance::{GroupName, InstanceId, WaitId},
    record::{Key, Record, Way},
    timestamp::Timestamp,
};

/// One thing to do, once. Its result comes back as an observation; doing it twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write a record, if it still has the revision it was decided on.
    Record {
        /// Where.
        key: Key,
        /// The revision it must have; `None`: it must not exist.
        revision: Option<u64>,
        /// What.
        record: Record,
    },
    /// Describe a group, whole.
    Describe(GroupName),
    /// Let a waiting instance go into service (AWS: CONTINUE).
    Admit(Held),
    /// Keep a waiting instance waiting (AWS: RecordLifecycleActionHeartbeat).
    KeepWaiting(Held),
    /// End a waiting instance (AWS: ABANDON).
    GiveUp(Held),
    /// Take a serving instance out of traffic (AWS: EnterStandby, or SetInstanceHealth to have it replaced).
    Withdraw(Departure),
    /// Bring one that stands by back into service (AWS: ExitStandby).
    Return(Departure),
    /// Protect instances that serve from scale-in, or no longer (AWS: SetInstanceProtection).
    Protect(Protection),
    /// Tell a sink of an alert.
    Tell {
        /// Which alert.
        key: AlertKey,
        /// Which sink, by its name.
        sink: String,
        /// Whether it fires.
        told: Told,
        /// The alert as it is now; as it was, when it is over.
        alert: Alert,
        /// When it began.
        since: Timestamp,
    },
}

/// What is told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It fires, or still does.
    Fires,
    /// It no longer does.
    IsOver,
}

/// A waiting instance, and the hook that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its group.
    pub group: GroupName,
    /// Which instance.
    pub instance: InstanceId,
    /// Which wait.
    pub wait: WaitId,
    /// The name of our hook.
    pub hook: String,
}

/// An instance on its way out of traffic, or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Its group.
    pub group: GroupName,
    /// Which instance.
    pub instance: InstanceId,
    /// How it goes.
    pub way: Way,
    /// When that was decided, as on record: tells one withdrawal from the next.
    pub decided_at: Timestamp,
}

/// Instances of a group, and whether they are to be protected from scale-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// Their group.
    pub group: GroupName,
    /// Which.
    pub instances: Vec<InstanceId>,
    /// Protect them, or no longer.
    pub protected: bool,
}

/// What an attempt is known by: the same thing to do has the same key, however often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptKey {
    /// [`Action::Record`].
    Record(Key),
    /// [`Action::Describe`].
    Describe(GroupName),
    /// [`Action::Admit`].
    Admit(InstanceId, WaitId),
    /// [`Action::KeepWaiting`].
    KeepWaiting(InstanceId, WaitId),
    /// [`Action::GiveUp`].
    GiveUp(InstanceId, WaitId),
    /// [`Action::Withdraw`], as decided then.
    Withdraw(InstanceId, Timestamp),
    /// [`Action::Return`], as decided then.
    Return(InstanceId, Timestamp),
    /// [`Action::Protect`], either way: which instances it was is seen when the group is described.
    Protect(GroupName, bool),
    /// [`Action::Tell`], of one time that the alert began: to tell that it fires and that it is over are two things.
    Tell(AlertKey, String, Timestamp, Told),
}

impl Action {
    /// What its attempts are known by.
    pub fn key(&self) -> AttemptKey {
        match self {
            Self::Record { key, .. } => AttemptKey::Record(key.clone()),
            Self::Describe(group) => AttemptKey::Describe(group.clone()),
            Self::Admit(held) => AttemptKey::Admit(held.instance.clone(), held.wait),
            Self::KeepWaiting(held) => AttemptKey::KeepWaiting(held.instance.clone(), held.wait),
            Self::GiveUp(held) => AttemptKey::GiveUp(held.instance.clone(), held.wait),
            Self::Withdraw(departure) => AttemptKey::Withdraw(departure.instance.clone(), departure.decided_at),
            Self::Return(departure) => AttemptKey::Return(departure.instance.clone(), departure.decided_at),
            Self::Protect(protection) => AttemptKey::Protect(protection.group.clone(), protection.protected),
            Self::Tell { key, sink, told, since, .. } => AttemptKey::Tell(key.clone(), sink.clone(), *since, *told),
        }
    }
}

impl AttemptKey {
    /// Whether it is a call to the cloud. The store and the sinks are ours.
    pub const fn is_call(&self) -> bool {
        match self {
            Self::Record(_) | Self::Tell(..) => false,
            Self::Describe(_) | Self::Admit(..) | Self::KeepWaiting(..) | Self::GiveUp(..) => true,
            Self::Protect(..) | Self::Withdraw(..) | Self::Return(..) => true,
        }
    }

    /// How many requests it takes, of the one bucket that the cloud has for them all: a description asks for the group, its
    /// hooks, its targets' health and, while too few serve, its activities.
    pub const fn cost(&self) -> usize {
        match self {
            Self::Record(_) | Self::Tell(..) => 0,
            Self::Admit(..) | Self::KeepWaiting(..) | Self::GiveUp(..) => 1,
            Self::Protect(..) | Self::Withdraw(..) | Self::Return(..) => 1,
            Self::Describe(_) => 3,
        }
    }

    /// The instance it is about; `None` for what concerns a whole group.
    pub const fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Record(
                Key::Wait(id)
                | Key::Admission(id)
                | Key::Rejection(id)
                | Key::Dispute(id)
                | Key::Override(id)
                | Key::Trial(id)
                | Key::Withdrawal(id),
            ) => Some(id),
            Self::Admit(id, _) | Self::KeepWaiting(id, _) | Self::GiveUp(id, _) => Some(id),
            Self::Withdraw(id, _) | Self::Return(id, _) => Some(id),
            Self::Record(
                Key::Group(_)
                | Key::Pause(_)
                | Key::Breaker(_)
                | Key::Protection(_)
                | Key::Alert(_)
                | Key::Detach(_)
                | Key::Adoption(_)
                | Key::Freeze(_),
            )
            | Self::Describe(_)
            | Self::Protect(..)
            | Self::Tell(..) => None,
        }
    }
}
