//! The commands, one file each.

pub(crate) mod check;
mod check_output;
pub(crate) mod run;
pub(crate) mod status;
