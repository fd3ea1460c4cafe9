//! The core of Portcullis: what a ready instance must look like, and what to do about one that is not.
//!
//! ```text
//!  agent (on the instance)                     controller
//!  Manifest ─▶ Plan ─▶ Outcomes ─▶ Report ──▶  Observation ─▶ Observed ─▶ decide() ─▶ Action ─▶ attempt
//!  (verified)  (pure)  (Runners)   (signed)      ▲             (fold)      (pure)     (enum)      │
//!                         │                      │                                                │
//!                         └▶ health              └── describe · notice · stored record · answer ◀─┘
//! ```
//!
//! | where | what |
//! |---|---|
//! | [`manifest`], [`spec`], [`signature`] | what a ready instance must look like: as written → validated → signed → verified |
//! | [`check`], [`outcome`], [`report`], [`challenge`] | one thing to verify, what came of it, and the proof that it is fresh |
//! | [`observation`], [`observed`], [`record`], [`attempt`] | what the controller knows, and how it came to know it |
//! | [`policy`], [`decide`], [`action`], [`reason`], [`verdict`] | what it makes of that |
//! | [`doctor`] | what is to be mended about a set-up, and how |
//! | [`api`] | what travels between the programs |
//! | [`reveal`] | what the configuration of a web server reveals, for hints and for the check of it |
//! | `tree` | walking and hashing real files: the only IO here, behind the feature `tree` |
//!
//! Everything but `tree` is `no_std`: a clock, a file or a thread in a decision does not compile.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "tree", test))]
extern crate std;

pub mod action;
pub mod alert;
pub mod api;
pub mod attempt;
pub mod challenge;
pub mod check;
pub mod decide;
pub mod diff;
pub mod digest;
pub mod doctor;
pub mod duration;
pub mod exposition;
pub mod facts;
pub mod glob;
pub mod instance;
pub mod json;
pub mod learn;
pub mod manifest;
pub mod observation;
pub mod observed;
pub mod outcome;
pub mod policy;
pub mod pressure;
pub mod reason;
pub mod record;
pub mod rehearse;
pub mod report;
pub mod reveal;
pub mod secrets;
pub mod signature;
pub mod spec;
pub mod text;
pub mod timestamp;
#[cfg(feature = "tree")]
pub mod tree;
pub mod verdict;
