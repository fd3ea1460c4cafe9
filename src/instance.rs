//! Groups and instances, in the words of AWS Auto Scaling.

use alloc::string::{String, ToString};
use core::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text, as it came: escape it (`text::escape`) before it meets a person.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crate::text::escape(self.0.as_bytes()))
            }
        }
    };
}

name!(
    /// An Auto Scaling group, or a load balancer's backend where there is no cloud.
    GroupName
);
name!(
    /// A machine in a group: `i-…` on AWS.
    InstanceId
);
name!(
    /// Tells one boot of an instance from the next: `/proc/sys/kernel/random/boot_id`.
    BootId
);

impl GroupName {
    /// Where alerts are told that are of no group, but of the controller itself. AWS allows no colon in a group's name.
    pub fn controller() -> Self {
        Self::from("portcullis:controller")
    }
}

/// Which wait of an instance: the controller's own count, from 1. An instance can wait at its launch hook more than once
/// (warm pools, a replaced root volume), and evidence of one wait proves nothing for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WaitId(pub u64);

impl fmt::Display for WaitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where AWS says an instance is in its life. Closed but for [`Other`](Self::Other): AWS adds states, and an unknown one
/// must parse (and is treated as neither waiting nor serving).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum LifecycleState {
    /// `Pending`: launching, not yet at its hook.
    Pending,
    /// `Pending:Wait`: held at a launch hook, not registered with any load balancer.
    PendingWait,
    /// `Warmed:Pending:Wait`: held at the same hook, on its way into the warm pool; on its way out of it, it will wait once more.
    WarmedPendingWait,
    /// `Pending:Proceed`: past its hooks, being registered.
    PendingProceed,
    /// `InService`: registered; traffic follows target health.
    InService,
    /// `EnteringStandby`: being deregistered and drained.
    EnteringStandby,
    /// `Standby`: out of traffic by someone's wish.
    Standby,
    /// Any `Terminating…` or `Terminated`.
    Terminating,
    /// Any other, by AWS's name (`Warmed:…`, `Detached`, `ReplacingRootVolume:Wait`, and what is yet to come).
    Other(String),
}

impl LifecycleState {
    /// Whether the instance is held at its launch hook.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::PendingWait | Self::WarmedPendingWait)
    }

    /// AWS's name; of the states folded into one, the commonest.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "Pending",
            Self::PendingWait => "Pending:Wait",
            Self::WarmedPendingWait => "Warmed:Pending:Wait",
            Self::PendingProceed => "Pending:Proceed",
            Self::InService => "InService",
            Self::EnteringStandby => "EnteringStandby",
            Self::Standby => "Standby",
            Self::Terminating => "Terminating",
            Self::Other(name) => name,
        }
    }
}

impl FromStr for LifecycleState {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(match name {
            "Pending" => Self::Pending,
            "Pending:Wait" => Self::PendingWait,
            "Warmed:Pending:Wait" => Self::WarmedPendingWait,
            "Pending:Proceed" => Self::PendingProceed,
            "InService" => Self::InService,
            "EnteringStandby" => Self::EnteringStandby,
            "Standby" => Self::Standby,
            _ if name.starts_with("Terminat") => Self::Terminating,
            _ => Self::Other(name.to_string()),
        })
    }
}

impl From<String> for LifecycleState {
    fn from(name: String) -> Self {
        match name.parse() {
            Ok(state) => state,
            Err(never) => match never {},
        }
    }
}

impl From<LifecycleState> for String {
    fn from(state: LifecycleState) -> Self {
        state.as_str().to_string()
    }
}

impl fmt::Display for LifecycleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::escape(self.as_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_launch_hook_holds_waits() {
        for (name, waits) in [
            ("Pending:Wait", true),
            ("Pending", false),
            ("Warmed:Pending:Wait", true),
            ("Warmed:Pending:Proceed", false),
            ("Warmed:Terminating:Wait", false),
            ("Terminating:Wait", false),
            ("ReplacingRootVolume:Wait", false),
            ("Something:New", false),
        ] {
            assert_eq!(LifecycleState::from(name.to_string()).is_waiting(), waits, "{name}");
        }
    }

    #[test]
    fn an_unknown_state_keeps_its_name() {
        assert_eq!(LifecycleState::from("Warmed:Running".to_string()).as_str(), "Warmed:Running");
    }
}
