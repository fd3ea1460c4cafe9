//! The commands, one file each.

pub(crate) mod apply;
pub(crate) mod check;
mod check_output;
pub(crate) mod confirm;
mod junit;
pub(crate) mod problem;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod undo;
