//! `portcullis-agent check`, the real program against real trees and commands.
//!
//! What needs root (mounts, other users) is skipped without it, and says so.

mod commands;
mod fixture;
mod survivors;
mod trees;
mod usage;
