//! The real program: every command, what it says, its exit code, and what it does with bad input.

mod bench;
mod build;
mod diff;
mod git;
mod key;
mod schema;
mod show;
mod sign;
mod usage;
mod verify;
