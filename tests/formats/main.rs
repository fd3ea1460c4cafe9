//! The real program: every command, what it says, its exit code, and what it does with bad input.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod build;
mod diff;
mod git;
mod key;
mod offers;
mod schema;
mod show;
mod sign;
mod texts;
mod usage;
mod verify;
