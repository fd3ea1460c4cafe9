//! The lifecycle states that the simulation passes through, in AWS's words.

use std::fmt;

use serde::{Serialize, Serializer};

/// An instance's lifecycle state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifecycleState {
    /// Launched, booting; or on its way back into service.
    Pending,
    /// Held by at least one launch hook; not registered with any target group.
    PendingWait,
    /// Every launch hook said CONTINUE; about to be registered.
    PendingProceed,
    /// Counted as capacity. Target health decides whether traffic comes.
    InService,
    /// Deregistered and draining.
    Terminating,
    /// Held by at least one terminating hook, after draining.
    TerminatingWait,
    /// The terminating hooks are done; about to be gone.
    TerminatingProceed,
    /// Gone.
    Terminated,
    /// Deregistered and draining, to leave the group alive.
    Detaching,
    /// Out of the group, alive.
    Detached,
    /// Deregistered and draining, to stand by.
    EnteringStandby,
    /// In the group, out of traffic, not counted as capacity.
    Standby,
    /// Deregistered and draining, to get a new root volume.
    ReplacingRootVolume,
    /// Held, with its old content, by at least one terminating hook.
    ReplacingRootVolumeWait,
    /// The terminating hooks are done; the volume is being replaced.
    ReplacingRootVolumeProceed,
    /// The same instance with new content, about to boot.
    RootVolumeReplaced,
    /// Launched for a warm pool, booting.
    WarmedPending,
    /// Held by a launch hook on the way into the pool.
    WarmedPendingWait,
    /// Every launch hook said CONTINUE; about to rest.
    WarmedPendingProceed,
    /// Rests in the pool, shut down.
    WarmedStopped,
    /// Rests in the pool, running.
    WarmedRunning,
    /// Rests in the pool, asleep.
    WarmedHibernated,
    /// On its way out of the pool for good.
    WarmedTerminating,
    /// Held by a terminating hook.
    WarmedTerminatingWait,
    /// About to be gone.
    WarmedTerminatingProceed,
    /// Gone.
    WarmedTerminated,
}

impl LifecycleState {
    /// AWS's word for the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::PendingWait => "Pending:Wait",
            Self::PendingProceed => "Pending:Proceed",
            Self::InService => "InService",
            Self::Terminating => "Terminating",
            Self::TerminatingWait => "Terminating:Wait",
            Self::TerminatingProceed => "Terminating:Proceed",
            Self::Terminated => "Terminated",
            Self::Detaching => "Detaching",
            Self::Detached => "Detached",
            Self::EnteringStandby => "EnteringStandby",
            Self::Standby => "Standby",
            Self::ReplacingRootVolume => "ReplacingRootVolume",
            Self::ReplacingRootVolumeWait => "ReplacingRootVolume:Wait",
            Self::ReplacingRootVolumeProceed => "ReplacingRootVolume:Proceed",
            Self::RootVolumeReplaced => "RootVolumeReplaced",
            Self::WarmedPending => "Warmed:Pending",
            Self::WarmedPendingWait => "Warmed:Pending:Wait",
            Self::WarmedPendingProceed => "Warmed:Pending:Proceed",
            Self::WarmedStopped => "Warmed:Stopped",
            Self::WarmedRunning => "Warmed:Running",
            Self::WarmedHibernated => "Warmed:Hibernated",
            Self::WarmedTerminating => "Warmed:Terminating",
            Self::WarmedTerminatingWait => "Warmed:Terminating:Wait",
            Self::WarmedTerminatingProceed => "Warmed:Terminating:Proceed",
            Self::WarmedTerminated => "Warmed:Terminated",
        }
    }

    /// Does it count against the desired capacity? Waiting instances do.
    pub const fn counts(self) -> bool {
        match self {
            Self::Pending | Self::PendingWait | Self::PendingProceed | Self::InService => true,
            // It keeps its place: nothing is launched for it meanwhile.
            Self::ReplacingRootVolume
            | Self::ReplacingRootVolumeWait
            | Self::ReplacingRootVolumeProceed
            | Self::RootVolumeReplaced => true,
            Self::Terminating
            | Self::TerminatingWait
            | Self::TerminatingProceed
            | Self::Terminated
            | Self::Detaching
            | Self::Detached
            | Self::EnteringStandby
            | Self::Standby => false,
            // A pool is beside the capacity.
            Self::WarmedPending
            | Self::WarmedPendingWait
            | Self::WarmedPendingProceed
            | Self::WarmedStopped
            | Self::WarmedRunning
            | Self::WarmedHibernated
            | Self::WarmedTerminating
            | Self::WarmedTerminatingWait
            | Self::WarmedTerminatingProceed
            | Self::WarmedTerminated => false,
        }
    }

    /// Is it of a warm pool?
    pub const fn is_warm(self) -> bool {
        matches!(
            self,
            Self::WarmedPending
                | Self::WarmedPendingWait
                | Self::WarmedPendingProceed
                | Self::WarmedStopped
                | Self::WarmedRunning
                | Self::WarmedHibernated
                | Self::WarmedTerminating
                | Self::WarmedTerminatingWait
                | Self::WarmedTerminatingProceed
                | Self::WarmedTerminated
        )
    }

    /// Does it rest in a warm pool, prepared?
    pub const fn rests(self) -> bool {
        matches!(self, Self::WarmedStopped | Self::WarmedRunning | Self::WarmedHibernated)
    }

    /// Is it held by hooks?
    pub const fn waits(self) -> bool {
        matches!(
            self,
            Self::PendingWait
                | Self::TerminatingWait
                | Self::ReplacingRootVolumeWait
                | Self::WarmedPendingWait
                | Self::WarmedTerminatingWait
        )
    }

    /// Is it on its way into service?
    pub const fn is_launching(self) -> bool {
        matches!(self, Self::Pending | Self::PendingWait | Self::PendingProceed)
    }

    /// Is it on its way out of the group, or out already?
    pub const fn is_leaving(self) -> bool {
        matches!(
            self,
            Self::Terminating
                | Self::TerminatingWait
                | Self::TerminatingProceed
                | Self::Terminated
                | Self::Detaching
                | Self::Detached
                | Self::WarmedTerminating
                | Self::WarmedTerminatingWait
                | Self::WarmedTerminatingProceed
                | Self::WarmedTerminated
        )
    }
}

impl fmt::Display for LifecycleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LifecycleState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
