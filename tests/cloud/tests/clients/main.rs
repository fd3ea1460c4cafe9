//! The server as a program, driven by the clients that people use: the `aws` command line and boto3.
//!
//! They come from PyPI, into the virtual environment that `PORTCULLIS_VENV` names (`target/venv` unless set).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in helpers as well")]

mod aws_cli;
mod boto3;
mod break_glass;
mod control;
mod embedded;
mod program;
