//! Learning: from what good instances look like, a release spec for people to read, correct and keep.
//!
//! ```text
//!  Observation (an instance, or an image) ─┐
//!  Observation (another)                   ├─▶ differences ─▶ ignores · templates · questions ─▶ portcullis.toml
//!  …                                       ┘   what listens and runs ─▶ checks ────────────────┘
//! ```
//!
//! What differs between two good instances is nobody's release: it is ignored where that is harmless, rendered from a
//! template where an instance's facts explain it, and otherwise asked about. Only what is known to be data is ever ignored
//! by a guess. All here is decided without touching a file; `src/cli/release/learn/` looks at the instance.

pub use names::{is_code, is_configuration, is_secret, is_secret_text};
pub use observation::{Kind, Listening, Observation, Running, Seen, SeenCertificate, SeenTree};
pub use propose::{Proposal, TemplateFile, propose};

mod checks;
mod compare;
mod generalise;
mod ignores;
mod names;
pub mod observation;
mod propose;
mod templates;
#[cfg(test)]
mod tests;
mod write;
