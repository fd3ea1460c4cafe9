//! The model on virtual time: no listener, no clock, no waiting.

mod capacity;
mod faults;
mod fixture;
mod health;
mod hooks;
mod limits;
mod properties;
