//! `portcullis-agent apply`, the real program, on a real nginx: changes that stay, and changes that are undone whatever
//! happens to whom.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod changes;
mod fixture;
mod killed;
mod left;
mod limits;
mod network;
mod once;
#[path = "../ports/mod.rs"]
mod ports;
mod restore;
mod systemd;
mod trees;
