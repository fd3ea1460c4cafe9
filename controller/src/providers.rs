//! Clouds and load balancers: describe what there is, perform one call. A provider decides nothing and retries nothing.

use std::{collections::BTreeMap, future::Future, pin::Pin};

use portcullis::{
    action::Held,
    instance::GroupName,
    observation::{Answer, GroupFacts},
};

pub mod aws;

/// What one `describe` brought, by group: facts (`None`: there is no such group), or how the call failed.
pub type Described = BTreeMap<GroupName, Result<Option<GroupFacts>, Answer>>;

/// A future of a provider.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What can be said to a hook that holds an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Let it into service.
    Admit,
    /// Hold it longer.
    KeepWaiting,
    /// End it.
    GiveUp,
}

/// A cloud, or a load balancer.
pub trait Provider: Send + Sync {
    /// Describes groups, each whole. Every name that was asked for is in the answer.
    fn describe<'a>(&'a self, groups: &'a [GroupName]) -> Pending<'a, Described>;

    /// Makes one call, once.
    fn perform<'a>(&'a self, call: Call, held: &'a Held) -> Pending<'a, Answer>;
}
