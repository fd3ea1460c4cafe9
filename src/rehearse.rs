//! Rehearsing: the ways in which a release can be broken, and which of them its checks would miss.
//!
//! ```text
//!  Manifest ─▶ plan ─▶ Breakages ─▶ waves ─▶ (a scratch copy is broken, checked, put back) ─▶ judge ─▶ noticed, or why not
//! ```
//!
//! All here is decided without touching a file: `src/cli/rehearse/` breaks the copy and runs the agent.

pub use breakage::{Breakage, How};
pub use judge::{Judged, Why, judge};
pub use plan::{BREAKAGES_MAX, Sampling, TooMany, plan};
pub use waves::waves;

mod breakage;
mod judge;
mod plan;
mod waves;
