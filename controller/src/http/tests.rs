//! The real controller on port 0, spoken to over TCP: every refusal of PROTOCOL.md §3 changes nothing.

mod abuse;
mod agents;
mod detach;
mod enrolment;
mod leases;
mod operators;
mod promotion;
mod unreadable;
mod watched;
mod world;
