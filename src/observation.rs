//! What can happen, all of it: read this and you know what the controller reacts to.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    action::AttemptKey,
    instance::{GroupName, InstanceId, LifecycleState},
    record::{Key, Record},
    report::Evidence,
    timestamp::Timestamp,
};

/// One thing the controller came to know. Any order, any number of times: folding is idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// The cloud described a group.
    Described(Description),
    /// Somebody says that something happened in a group: describe it sooner.
    Noticed(GroupName),
    /// An agent's report was accepted.
    Reported(Evidence),
    /// What an agent had reported is no longer in the store: the key that proved it was given up.
    Unproven(InstanceId),
    /// A record was read or written (`record`), or is gone (`None`).
    Stored {
        /// Which.
        key: Key,
        /// Ascends with every write of the key.
        revision: u64,
        /// What it says now.
        record: Option<Record>,
    },
    /// A record is there, and cannot be read: a newer controller wrote it, or it is damaged.
    Unreadable {
        /// Which.
        key: Key,
        /// As in [`Stored`](Self::Stored).
        revision: u64,
    },
    /// An attempt was sent.
    Sent {
        /// Which.
        attempt: AttemptKey,
        /// When.
        at: Timestamp,
    },
    /// An attempt was answered.
    Answered {
        /// Which.
        attempt: AttemptKey,
        /// How.
        answer: Answer,
        /// When.
        at: Timestamp,
    },
    /// This controller holds the lease until then.
    Lease {
        /// Ascends with every holder.
        epoch: u64,
        /// The end of the lease.
        until: Timestamp,
    },
    /// The cloud throttled a call that nobody decided on: a description does without what it would have told.
    Throttled {
        /// When.
        at: Timestamp,
    },
    /// What a listener of this controller shows by TLS was looked at.
    Certificate(OwnCertificate),
    /// Time passed.
    Tick,
}

/// A certificate of the controller's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCertificate {
    /// Whose: `agents` or `operators`.
    pub listener: String,
    /// Its file.
    pub path: String,
    /// The one that is shown is valid from then, in Unix seconds.
    pub from_s: i64,
    /// Until then.
    pub until_s: i64,
    /// Why what is in the files now cannot be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// When its file was last written since it is shown, with the same certificate: somebody renews, and nothing comes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten_at: Option<Timestamp>,
}

/// How an attempt was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Accepted,
    /// Too many calls: back off.
    Throttled,
    /// AWS: "No active Lifecycle Action found": done before, not active yet, or gone. Describe tells.
    NoActiveAction,
    /// Not done, and the same call will not be done (permission, no such group, lost compare-and-swap).
    Refused {
        /// The other side's words.
        because: String,
    },
    /// It may or may not have been done: timeout, broken connection, 5xx.
    Unknown {
        /// What went wrong.
        because: String,
    },
}

/// A group as the cloud described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Which group.
    pub group: GroupName,
    /// When it was asked for, by the controller's clock.
    pub asked_at: Timestamp,
    /// Whether all instances are listed: only then is absence a fact.
    pub complete: bool,
    /// What the cloud says; `None`: there is no such group.
    pub facts: Option<GroupFacts>,
}

/// What the cloud says of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupFacts {
    /// How many instances are wanted.
    pub desired: u32,
    /// Its launch hooks, ours and others'.
    pub launch_hooks: Vec<Hook>,
    /// Suspended processes, by AWS's names.
    pub suspended: Vec<String>,
    /// Its instances.
    pub instances: Vec<InstanceFacts>,
    /// Why the cloud's last attempts at launching failed, in its words, newest first; asked for only while too few serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activities: Vec<String>,
    /// What it launches from now, said as it is of its instances; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_template: Option<String>,
    /// How its instances are held.
    #[serde(default)]
    pub custody: Custody,
    /// What could not be seen of it, in words: one of its balancers does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// The instance refresh that is under way; asked for only while an instance is protected from scale-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// How the instances of a group are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Custody {
    /// Once, when they are launched, by a hook with timers. What is past it is past; what is given up ends, and another comes.
    #[default]
    AtLaunch,
    /// Where they are, by a balancer that sends them nothing. It lets them in and holds them again as often as it is told to,
    /// forgets what it was told when it restarts, and can end nothing.
    InPlace,
}

/// The cloud replaces all instances of a group, a few at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Its id.
    pub id: String,
    /// Whether it waits for instances that are protected from scale-in, and fails in the end.
    pub waits_for_protected: bool,
    /// What the cloud says of it.
    pub said: String,
}

impl GroupFacts {
    /// Whether fewer instances serve than are wanted.
    pub fn is_short(&self) -> bool {
        self.instances.iter().filter(|instance| instance.serves()).count() < self.desired as usize
    }
}

/// A launch hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// Without a heartbeat for this long, the default result is applied.
    pub heartbeat_timeout_s: u64,
    /// After this long it is applied whatever the heartbeats.
    pub global_timeout_s: u64,
    /// Whether the default result is ABANDON (or CONTINUE, which lets unproven instances through).
    pub abandons_by_default: bool,
}

/// What the cloud says of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceFacts {
    /// Its id.
    pub instance: InstanceId,
    /// Where it is in its life.
    pub state: LifecycleState,
    /// What it was launched from: opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_template: Option<String>,
    /// Whether it is protected from scale-in.
    pub protected: bool,
    /// Whether the load balancers of its group find it healthy; true where there are none. None when they could not be asked, and
    /// of one that is not `InService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
}

impl InstanceFacts {
    /// Whether it gets traffic, as far as is known: in service is not yet that.
    pub fn serves(&self) -> bool {
        self.state == LifecycleState::InService && self.healthy != Some(false)
    }
}
