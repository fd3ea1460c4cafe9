//! Tables for the rules.
