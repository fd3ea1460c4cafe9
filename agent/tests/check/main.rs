//! `portcullis-agent check`, the real program against real trees and commands.
//!
//! What needs root (mounts, other users) is skipped without it, and says so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod commands;
mod fixture;
mod survivors;
mod trees;
mod usage;
