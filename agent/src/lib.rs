//! The agent: proves on the instance that it carries the signed release.
//!
//! | where | what |
//! |---|---|
//! | [`checks`] | what the manifest wants → what is there: one runner a kind, and the one list of them |
//! | [`checking`] | the process that runs them, one a round |
//! | [`apply`], [`restore`] | changes that stay only when the instance proves itself again |
//! | [`run`] | the service: with a controller, or alone |
//! | [`config`] | what it is told |
//! | `facts` | what it knows of this instance, for templates |
//! | `identity`, `enrol`, `publish`, `controller` | as whom it speaks, and what it says to whom |
//! | [`manifests`] | what to check by: verified, wherever it came from |
//! | `standing`, `board`, `health`, `metrics` | how the instance stands; who writes it, and who may ask |
//! | `watch` | what happens in the trees between rounds: a reason to look |
//! | `state`, `keys` | what outlives a restart |
//! | [`status`] | asking a running agent |
//! | `calm` | the lowest priority; the only `unsafe` of the project |
//! | [`clock`] | the only place that asks for the time |
#![deny(unsafe_code)]

pub mod apply;
mod board;
mod calm;
pub mod checking;
pub mod checks;
pub mod clock;
pub mod config;
mod controller;
mod enrol;
mod facts;
mod health;
mod identity;
mod keys;
pub mod manifests;
mod metrics;
mod notify;
mod pace;
mod publish;
pub mod restore;
pub mod run;
mod standing;
mod state;
pub mod status;
mod transport;
mod watch;
