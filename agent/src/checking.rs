//! Checking, in a process of its own: one a round.
//!
//! ```text
//!  agent ── stdin: the request, then open for as long as the agent lives ──▶ __check: opens the manifest on disk, verifies it,
//!        ◀── stdout: outcomes, and what the next round must know ─────────── runs the checks, and is gone
//! ```
//!
//! A manifest of 100,000 entries takes tens of megabytes to verify and to compare with; the process takes them along when it
//! ends, so that an idle agent is small whatever the release. It ends at once when the agent does, however that ends; what it
//! started itself ends by the same means ([`command`](crate::checks::command)).

mod child;
mod exchange;
mod process;

pub use child::check;
pub use exchange::What;

pub(crate) use exchange::{Answer, Job, Order, Request};
pub(crate) use process::Process;
