//! Tables for the rules of PROTOCOL.md §1.
