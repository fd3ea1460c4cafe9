//! The controller: holds an instance out of the load balancer until its proof arrives.
//!
//! ```text
//!  http/agents ──▶ store ──▶ (watch) ─┐                       ┌─▶ snapshot ─▶ http/operators, answers to agents
//!  http/operators ─▶ store ──────────▶├─▶ reconcile: fold, decide
//!  providers: describe, answers ─────▶┘                       └─▶ act: one attempt each ─▶ providers, store
//! ```
//!
//! | where | what |
//! |---|---|
//! | [`config`] | the configuration file: as written → validated |
//! | [`reconcile`], [`act`] | the loop, and one attempt at one action |
//! | [`providers`] | clouds and load balancers: describe and perform |
//! | [`alerts`] | where alerts are told |
//! | [`stores`], [`records`], [`sweep`] | what is kept, how it is written, and when it is forgotten |
//! | [`http`] | what agents and operators may ask |
//! | [`audit`], [`metrics`], [`clock`] | what is told, what is counted, what time it is |
#![forbid(unsafe_code)]

pub mod act;
pub mod alerts;
pub mod audit;
pub mod clock;
pub mod config;
pub mod http;
pub mod metrics;
pub mod providers;
pub mod reconcile;
pub mod records;
pub mod run;
mod shown;
pub mod sources;
pub mod stores;
pub mod sweep;
