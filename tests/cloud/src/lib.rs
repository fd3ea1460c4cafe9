//! A simulated AWS Auto Scaling that really holds instances at their lifecycle hooks.
//!
//! Emulators store lifecycle hooks; this one obeys them. A launch stays in `Pending:Wait` until it is completed, until
//! its heartbeat or global timer ends, or until somebody abandons it, and only then is it registered with its target
//! groups. The real `aws` command line and the real SDKs work against it.
//!
//! - [`Cloud`] is the model: a plain value, told the time with [`Cloud::advance`], with a method for each call.
//! - [`call`] is AWS's Query protocol on top of it, a form in and XML out, with the ordered [`Fault`]s.
//! - [`Server`] puts that on a listener, moves the time, and adds `/_cloud/…` for tests and drills.
//!
//! ```
//! use portcullis_cloud::{Cloud, CreateAutoScalingGroup, LaunchTemplate, Options, UpdateAutoScalingGroup};
//!
//! let mut cloud = Cloud::new(Options::default(), 0);
//! cloud.create_auto_scaling_group(&CreateAutoScalingGroup {
//!     name: "web".into(),
//!     settings: UpdateAutoScalingGroup {
//!         min: Some(1),
//!         max: Some(2),
//!         launch_template: Some(LaunchTemplate { name: Some("web".into()), ..Default::default() }),
//!         zones: vec!["eu-west-1a".into()],
//!         ..Default::default()
//!     },
//!     ..Default::default()
//! })?;
//! cloud.advance(1_000);
//! assert_eq!(cloud.instances(Some("web"))[0].state.as_str(), "InService");
//! # Ok::<(), portcullis_cloud::ApiError>(())
//! ```

mod api;
mod clock;
mod error;
mod event;
mod fault;
mod model;
mod options;
mod random;
mod server;
mod wire;

pub use api::{
    CreateAutoScalingGroup, CreateTargetGroup, DescribeAutoScalingGroups, DescribeAutoScalingInstances,
    DescribeScalingActivities, Filter, GroupDescription, LifecycleAction, Page, PageRequest, PutLifecycleHook,
    TargetHealth, TargetRef, UpdateAutoScalingGroup,
};
pub use clock::Clock;
pub use error::ApiError;
pub use event::{EVENTS_MAX, EVENTS_PAGE_MAX, Event, Events, What};
pub use fault::{FAULTS_MAX, Fault, Faults};
pub use model::{
    ActionResult, Activity, Cloud, ForProtected, Group, Hook, InstanceRefresh, InstanceView, LaunchTemplate,
    LifecycleState, Maintenance, Rests, Tag, Target, TargetGroup, TargetState, TargetView, Transition, Wait, WarmPool,
};
pub use options::{Behaviour, Delays, Options, Rate, TargetHealthSource};
pub use server::{Server, ServerOptions};
pub use wire::{Reply, call};
