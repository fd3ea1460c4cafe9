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
    for command in [
        "key generate",
        "release build",
        "release sign",
        "release verify",
        "release show",
        "release diff",
        "release publish",
        "release list",
        "release promote",
        "release learn",
        "rehearse",
        "status",
        "explain",
        "events",
        "token create",
    ] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = bench.run(&arguments).succeeded();
        assert!(help.contains("Example"), "{command}: {help}");
        assert!(help.contains(&format!("  portcullis {command} ")), "{command}: {help}");
    }
    for arguments in [&["--help"][..], &["key", "--help"], &["release", "--help"], &["--version"]] {
        bench.run(arguments).succeeded();
    }
}

/// Whoever reads JSON is told there, whatever it is; people are told on stderr all the same.
#[test]
fn what_went_wrong_is_told_to_machines() {
    let bench = Bench::empty();
    for arguments in [
        &["release", "show", "none.json", "--json"][..],
        &["release", "verify", "none.json", "--trust", "none.pub", "--json"],
        &["release", "diff", "none.json", "none.json", "--json"],
        &["release", "build", "--spec", "none.toml", "--release", "1", "--out", "m.json", "--json"],
        &["release", "list", "--controller", "ftp://nowhere", "--json"],
        &["status", "--controller", "ftp://nowhere", "--json"],
        &["explain", "i-1", "--controller", "ftp://nowhere", "--json"],
        &["events", "--controller", "ftp://nowhere", "--json"],
        &["rehearse", "--spec", "none.toml", "--root", "none", "--json"],
        &["release", "show", "m.json", "--yaml", "--json"],
    ] {
        let run = bench.run(arguments);
        let told: serde_json::Value = serde_json::from_str(&run.stdout).expect("an object on stdout");
        let error = told["error"].as_str().expect("the error").lines().next().unwrap_or_default();
        assert_eq!(run.code, 2, "{arguments:?}: {run:?}");
        assert!(!error.is_empty() && run.stderr.starts_with(&format!("error: {error}")), "{arguments:?}: {run:?}");
    }
}
