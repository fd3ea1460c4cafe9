//! `portcullis-agent run`, the real program, against a controller that is told what to do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod alone;
mod controller;
mod drift;
mod facts;
mod fixture;
mod imds;
mod lies;
#[path = "../ports/mod.rs"]
mod ports;
mod probes;
mod process;
mod rounds;
mod setup;
mod tls;
