//! The real controller on port 0, spoken to over TCP: every refusal of PROTOCOL.md §3 changes nothing.

mod agents;
mod enrolment;
mod operators;
mod promotion;
mod world;
