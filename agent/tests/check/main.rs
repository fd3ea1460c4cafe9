//! `portcullis-agent check`, the real program against real trees and commands.
//!
//! What needs root (mounts, other users) is skipped without it, and says so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod certificate;
mod certificate_corpus;
mod certificate_maker;
mod certificate_servers;
mod commands;
mod container;
mod fixture;
mod http;
mod junit;
mod listen;
#[path = "../ports/mod.rs"]
mod ports;
mod process;
mod races;
mod schema;
mod survivors;
mod texts;
mod trees;
mod unit;
mod usage;
mod web_server;
mod windows;
