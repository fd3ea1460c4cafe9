//! Usage, help, and what is asked for wrongly.

use crate::bench::Bench;

#[test]
fn usage_errors_are_2() {
    let bench = Bench::empty();
    for arguments in [
        &[][..],
        &["no-such-command"],
        &["key"],
        &["key", "generate"],
        &["release"],
        &["release", "build"],
        &["release", "sign", "m.json"],
        &["release", "verify", "m.json", "--trust", "k", "--threshold", "many"],
        &["release", "verify", "m.json", "--trust", "k", "--threshold", "-1"],
        &["release", "diff", "one.json"],
        &["release", "show", "m.json", "--yaml"],
    ] {
        let run = bench.run(arguments);
        assert_eq!((run.code, &*run.stdout), (2, ""), "{arguments:?}: {run:?}");
        assert!(!run.stderr.is_empty());
    }
}

#[test]
fn every_help_is_enough_to_use_the_command() {
    let bench = Bench::empty();
    for command in ["key generate", "release build", "release sign", "release verify", "release show", "release diff"] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = bench.run(&arguments).succeeded();
        assert!(help.contains("Example:"), "{command}: {help}");
        assert!(help.contains(&format!("  portcullis {command} ")), "{command}: {help}");
    }
    for arguments in [&["--help"][..], &["key", "--help"], &["release", "--help"], &["--version"]] {
        bench.run(arguments).succeeded();
    }
}
