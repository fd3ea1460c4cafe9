//! `command`: a program that must exit with 0, run without a shell (PROTOCOL.md §2).

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use super::Wanted;

/// A program that must exit with 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; no shell.
    pub argv: Vec<String>,
}

impl Wanted for Command {
    const NAME: &'static str = "command";

    fn validate(&self) -> Result<(), String> {
        validate(&self.argv).map_err(Into::into)
    }

    fn summary(&self) -> String {
        quoted(&self.argv)
    }

    fn runs(&self) -> Option<Vec<String>> {
        Some(self.argv.clone())
    }
}

/// More arguments than this are refused.
pub const ARGUMENTS_MAX: usize = 1_000;

/// All arguments together: what Linux takes for one, so that the kernel never refuses what the format allows.
pub const ARGUMENTS_BYTES_MAX: usize = 128 << 10;

/// A command in one line, quoted, so that one sees where an argument ends.
pub fn quoted(argv: &[String]) -> String {
    crate::text::visible(&serde_json::Value::from(argv).to_string())
}

/// Whether `argv` can be run and means the same everywhere: the program is a bare name, looked for in a fixed path, or
/// an absolute path; never relative to wherever the agent happens to be.
pub fn validate(argv: &[String]) -> Result<(), &'static str> {
    let program = argv.first().ok_or("is empty")?;
    if argv.len() > ARGUMENTS_MAX {
        return Err("has more than 1,000 arguments");
    }
    if argv.iter().map(|argument| argument.len() + 1).sum::<usize>() > ARGUMENTS_BYTES_MAX {
        return Err("has more than 128 KiB");
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err("has a NUL character");
    }
    let mut components = program.strip_prefix('/').unwrap_or(program).split('/');
    if components.any(|component| matches!(component, "" | "." | "..")) {
        return Err("begins with a program that has an empty, `.` or `..` component");
    }
    if program.contains('/') && !program.starts_with('/') {
        return Err("begins with a program that is neither a bare name nor an absolute path");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (argv, usable) in [
            (&["nginx", "-t"][..], true),
            (&["/usr/sbin/nginx"], true),
            (&["psql", "-c", ""], true),
            (&[], false),
            (&[""], false),
            (&["/"], false),
            (&["."], false),
            (&["bin/nginx"], false),
            (&["./nginx"], false),
            (&["../nginx"], false),
            (&["/usr/../nginx"], false),
            (&["/usr//nginx"], false),
            (&["/usr/bin/"], false),
            (&["nginx", "a\0b"], false),
        ] {
            let argv: Vec<String> = argv.iter().map(|&argument| argument.into()).collect();
            assert_eq!(validate(&argv).is_ok(), usable, "{argv:?}");
        }
        for (more, usable) in [(0, true), (1, false)] {
            assert_eq!(validate(&alloc::vec![String::from("a"); ARGUMENTS_MAX + more]).is_ok(), usable);
            // Each takes a byte more: its end.
            assert_eq!(validate(&["a".into(), "b".repeat(ARGUMENTS_BYTES_MAX - 3 + more)]).is_ok(), usable);
        }
        let command = Command { argv: ["a b", "\n"].map(String::from).into() };
        assert_eq!((Wanted::summary(&command), command.runs()), (r#"["a b","\n"]"#.into(), Some(command.argv.clone())));
    }
}
