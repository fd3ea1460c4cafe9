//! The incidents as drills: real programs, real files, a real web server, the simulated cloud, and a client that knows
//! nothing of the gate; each once without the gate and once with it.
//!
//! The parts are public, so that the tests of the whole (`tests/wire`) use the same ones.

pub mod balancer;
pub mod client;
pub mod clock;
pub mod fleet;
pub mod gate;
pub mod i1;
pub mod programs;
pub mod scene;
pub mod site;
pub mod timeline;
pub mod webserver;
