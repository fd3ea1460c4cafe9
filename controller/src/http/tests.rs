//! The real controller on port 0, spoken to over TCP: every refusal of PROTOCOL.md §3 changes nothing.

mod agents;
mod detach;
mod enrolment;
mod operators;
mod world;
