//! The agent: proves on the instance that it carries the signed release.
//!
//! | where | what |
//! |---|---|
//! | [`checks`] | what the manifest wants → what is there: one runner a kind, and the one list of them |
//! | [`run`] | the service: with a controller, or alone |
//! | [`config`] | what it is told |
//! | `identity`, `enrol`, `publish`, `controller` | as whom it speaks, and what it says to whom |
//! | `manifests` | what to check by: verified, wherever it came from |
//! | `standing`, `board`, `health`, `metrics` | how the instance stands; who writes it, and who may ask |
//! | `state`, `keys` | what outlives a restart |
//! | [`status`] | asking a running agent |
//! | [`clock`] | the only place that asks for the time |
#![forbid(unsafe_code)]

mod board;
pub mod checks;
pub mod clock;
pub mod config;
mod controller;
mod enrol;
mod health;
mod identity;
mod keys;
mod manifests;
mod metrics;
mod notify;
mod pace;
mod publish;
pub mod run;
mod standing;
mod state;
pub mod status;
mod transport;
