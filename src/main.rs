//! The operator's command: builds, signs and compares releases, and asks the controller what is held, and why.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
