//! One controller under the load of a large fleet: what it takes, and what an abusive client changes for the others.
//!
//! ```text
//!  portcullis-cloud (in this process)   portcullis-controller (a process)        Fleet: N agents (in this process)
//!  groups, hooks, instances    ◀──────▶  real store on disk, real limits  ◀──────  each: key, address, connection
//!                                               ▲    /proc, /metrics, log
//!                                               └───────────────────────────────  Abuse: one address, all it can
//! ```
//!
//! The controller is the real program with its defaults; agents speak PROTOCOL.md §3 with the core's own signing code, each from a
//! loopback address of its own (127.1.0.1, …), so that limits for each client mean what they mean elsewhere. What a figure is worth:
//! all of it shares one machine, so that latencies are upper bounds; the controller's CPU and memory are its own.

pub mod abuse;
pub mod agents;
pub mod client;
pub mod clock;
pub mod controller;
pub mod figures;
pub mod scene;
pub mod trial;
