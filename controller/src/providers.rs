//! Clouds and load balancers: describe what there is, perform one call. A provider decides nothing and retries nothing.

use std::{future::Future, pin::Pin, sync::Arc};

use portcullis::{
    action::{Departure, Held, Protection},
    doctor,
    instance::GroupName,
    observation::{Answer, GroupFacts},
};
use tokio::sync::mpsc;

use crate::{clock::Clock, sources::lifecycle_queue::Queue};

pub mod aws;
pub mod haproxy;

/// What is known of a group: facts (`None`: there is no such group), or how the call failed.
pub type Facts = Result<Option<GroupFacts>, Answer>;

/// What a description brings, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are groups")]
pub enum Found {
    /// A group.
    Group(GroupName, Facts),
    /// A call was throttled that the description does without.
    Throttled,
}

/// Where a description puts what it finds, as soon as it does.
pub type Finder = mpsc::Sender<Found>;

/// A future of a provider.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One call, with all that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Let a waiting instance into service.
    Admit(Held),
    /// Hold it longer.
    KeepWaiting(Held),
    /// End it.
    GiveUp(Held),
    /// Take a serving instance out of traffic.
    Withdraw(Departure),
    /// Bring back one that stands by.
    Return(Departure),
    /// Protect instances from scale-in, or no longer.
    Protect(Protection),
}

/// A cloud, or a load balancer.
pub trait Provider: Send + Sync {
    /// Describes groups, each whole and as soon as it is known: nobody waits for another. What is missing in the end is not known.
    fn describe<'a>(&'a self, groups: &'a [GroupName], finder: Finder) -> Pending<'a, ()>;

    /// Makes one call, once.
    fn perform(&self, call: Call) -> Pending<'_, Answer>;

    /// Where notices come from, if they do. Nothing depends on them.
    fn queue(&self) -> Option<Arc<dyn Queue>> {
        None
    }

    /// Gathers what an operator should know before it matters, of groups and the hooks they should have. `None` where there is
    /// no cloud to ask.
    fn examine<'a>(
        &'a self,
        groups: &'a [(GroupName, String)],
        clock: &'a Clock,
    ) -> Pending<'a, Option<doctor::Cloud>> {
        let _ = (groups, clock);
        Box::pin(async { None })
    }
}
