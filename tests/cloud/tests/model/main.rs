//! The model on virtual time: no listener, no clock, no waiting.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in helpers as well")]

mod capacity;
mod faults;
mod fixture;
mod health;
mod hooks;
mod limits;
mod properties;
mod refresh;
mod root_volume;
mod warm_pool;
