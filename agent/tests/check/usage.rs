//! Arguments, exit status, what is printed.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use crate::fixture::{Run, fixture};

#[test]
fn one_object_for_machines() {
    let fixture = fixture();
    fs::remove_file(fixture.app("b")).unwrap();
    fs::write(fixture.app("a/i.php"), "hellO").unwrap();
    let run = fixture.json();
    assert_eq!((run.exit, run.stderr.as_str()), (1, ""));
    let mut value = run.value();
    for pointer in ["/took_ms", "/outcomes/0/took_ms"] {
        assert!(value.pointer(pointer).unwrap().is_u64(), "{pointer}");
        *value.pointer_mut(pointer).unwrap() = Value::Null;
    }
    let digest = |text: &str| portcullis::digest::Digest::of(text.as_bytes()).to_string();
    let manifest = portcullis::digest::Digest::of(&fixture.manifest.to_payload()).to_string();
    let expected = json!({
        "ready": false, "release": "2026.11.20-1", "manifest": manifest, "took_ms": null,
        "outcomes": [{
            "check": "app", "kind": "tree", "status": "fail", "reason": "2 of 4 entries differ",
            "differences": [
                {"path": "a/i.php", "problem": "content", "expected": digest("hello"), "actual": digest("hellO")},
                {"path": "b", "problem": "missing", "expected": "file"}],
            "differences_total": 2, "differences_by_problem": {"content": 1, "missing": 1}, "took_ms": null}]});
    assert_eq!(value, expected);
    assert!(run.stdout.ends_with("}\n") && run.stdout.lines().count() == 1);
}

#[test]
fn exit_status() {
    let fixture = fixture();
    assert_eq!(fixture.run(&[]).exit, 0);
    fs::write(fixture.app("extra"), "").unwrap();
    assert_eq!(fixture.run(&[]).exit, 1);
    for more in [&["--nonsense"][..], &["--threshold", "0"], &["--threshold", "2"], &["--trust", "/nowhere"]] {
        let run = fixture.run(more);
        assert_eq!((run.exit, run.stdout.as_str()), (2, ""), "{more:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
    }
}

#[test]
fn whom_not_to_believe() {
    let fixture = fixture();
    let other = super::fixture::fixture().with_key(9);
    let foreign = other.at("key1.pub");
    let manifest = fixture.at("manifest.json");
    let check = |manifest: &std::path::Path, key: &std::path::Path| {
        let mut command = std::process::Command::new(super::fixture::AGENT);
        Run::of(command.args(["check", "--json", "--manifest"]).arg(manifest).arg("--trust").arg(key))
    };
    assert_eq!(check(&manifest, &fixture.at("key0.pub")).exit, 0);
    let unsigned_for_us = check(&manifest, &foreign);
    assert_eq!((unsigned_for_us.exit, &unsigned_for_us.value()["ready"]), (2, &json!(false)));
    assert!(unsigned_for_us.stderr.starts_with("error: failed to accept manifest"), "{}", unsigned_for_us.stderr);
    assert_eq!(check(&manifest, &manifest).exit, 2, "a key that is none");
    assert_eq!(check(&fixture.at("none.json"), &fixture.at("key0.pub")).exit, 2, "a manifest that is not there");
    assert_eq!(check(&fixture.at("app"), &fixture.at("key0.pub")).exit, 2, "a manifest that is a directory");
    let mut bytes = fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    assert_eq!(check(&manifest, &fixture.at("key0.pub")).exit, 2, "a manifest with a flipped bit");
}

#[test]
fn two_signers() {
    let fixture = fixture().with_key(9);
    let second = fixture.at("key1.pub");
    let second = second.to_str().unwrap();
    assert_eq!(fixture.run(&["--trust", second, "--threshold", "2"]).exit, 0);
    let same = fixture.at("key0.pub");
    assert_eq!(
        fixture.run(&["--trust", same.to_str().unwrap(), "--threshold", "2"]).exit,
        2,
        "one key twice is one key"
    );
}

#[test]
fn under_another_root() {
    let fixture = fixture();
    let image = fixture.at("image");
    let below = image.join(fixture.manifest.trees[0].root.trim_start_matches('/'));
    fs::create_dir_all(below.parent().unwrap()).unwrap();
    fs::rename(fixture.at("app"), &below).unwrap();
    let image = image.to_str().unwrap();
    assert_eq!(fixture.run(&[]).exit, 1);
    let run = fixture.run(&["--root", image, "--json"]);
    assert_eq!((run.exit, run.value().get("scope")), (0, None));
    let run = fixture.run(&["--root", "/nowhere"]);
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""), "an image that is not there was not looked at");
    let fixture = fixture.with_script("exit 1", 1_000);
    let run = fixture.run(&["--root", image]);
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("hint: with `--trees-only`"), "{}", run.stderr);
    let run = fixture.run(&["--root", image, "--trees-only", "--json"]);
    assert_eq!((run.exit, run.value()["scope"].as_str()), (0, Some("trees")));
    assert_eq!(run.value()["outcomes"].as_array().unwrap().len(), 1);
}

#[test]
fn text_for_people() {
    let fixture = fixture();
    fs::write(fixture.app("\u{1b}[2J\u{202e}"), "").unwrap();
    for n in 0..30 {
        fs::write(fixture.app(&format!("z{n:02}")), "").unwrap();
    }
    let run = fixture.run(&[]);
    assert!(run.stdout.starts_with("fail     app (tree, "), "{}", run.stdout);
    assert!(run.stdout.contains("31 of 35 entries differ"), "{}", run.stdout);
    assert!(run.stdout.contains("- \\u{1b}[2J\\u{202e}  extra: file\n"), "{}", run.stdout);
    assert!(run.stdout.contains("- and 11 more of 31; `--all` shows 31\n"), "{}", run.stdout);
    assert!(run.stdout.lines().last().unwrap().starts_with("not ready: release 2026.11.20-1, sha256:"));
    assert!(!run.stdout.contains('\u{1b}'));
    assert!(fixture.run(&["--all"]).stdout.contains("- z29  extra: file\n"));
}

/// Whoever reads JSON reads why there is no answer; and never an empty list of outcomes, which would look like none that failed.
#[test]
fn machines_are_told_why_it_could_not_be_told() {
    let fixture = fixture().with_script("exit 0", 1_000);
    let run = fixture.run(&["--json", "--root", fixture.at("image").to_str().unwrap()]);
    let (value, hint) = (run.value(), "with `--trees-only` the trees alone are checked");
    assert_eq!((run.exit, &value["ready"], &value["hint"]), (2, &json!(false), &json!(hint)));
    assert_eq!(run.stderr, format!("error: {}\nhint: {hint}\n", value["error"].as_str().unwrap()));
    assert_eq!((value.get("outcomes"), run.stdout.lines().count()), (None, 1));
    let usage = fixture.run(&["--json", "--nonsense"]);
    assert!(usage.exit == 2 && usage.value()["error"].as_str().unwrap().contains("--nonsense"), "{usage:?}");
}

#[test]
fn a_broken_configuration_is_shown_on_lines() {
    let fixture = fixture();
    let config = fixture.at("agent.toml");
    fs::write(&config, "audience = \"a\"\nsurprise\u{1b} = 1\n").unwrap();
    let run = fixture.run(&["--config", config.to_str().unwrap()]);
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines[0].ends_with("agent.toml`: TOML parse error at line 2, column 9"), "{run:?}");
    assert!(lines.contains(&"2 | surprise\\u{1b} = 1"), "{run:?}");
    assert!(lines.last().unwrap().starts_with("hint: correct it there"), "{run:?}");
    assert!(!run.stderr.contains("\\u{a}") && !run.stderr.contains('\u{1b}'), "{run:?}");
}

/// A list is cut; what it leaves out is counted, for people, JSON and JUnit alike.
#[test]
fn what_is_not_listed_is_counted() {
    let fixture = fixture();
    fs::remove_file(fixture.app("b")).unwrap();
    for n in 0..1_089 {
        fs::write(fixture.app(&format!("0{n:04}")), "").unwrap();
    }
    let limit = "of 1090 (at most 1000 are listed)";
    let told = |more: &[&str]| fixture.run(more).stdout;
    assert!(told(&[]).contains(&format!("- and 1070 more {limit}; `--all` shows 1000\n")), "{}", told(&[]));
    assert!(told(&["--all"]).contains(&format!("- and 90 more {limit}\n")));
    assert!(told(&["--junit"]).contains(&format!("\nand 90 more {limit}</failure>")));
    let run = fixture.json();
    let outcome = &run.value()["outcomes"][0];
    let listed = outcome["differences"].as_array().unwrap();
    assert!(listed.len() == 1_000 && listed.iter().all(|one| one["problem"] == "extra"));
    assert_eq!(outcome["differences_total"], 1_090);
    assert_eq!(outcome["differences_by_problem"], json!({"missing": 1, "extra": 1_089}), "`missing` is not listed");
}

#[test]
fn a_broken_pipe_is_no_error() {
    let fixture = fixture();
    fs::write(fixture.app("extra"), "").unwrap();
    for more in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = fixture.command(more).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(1), vec![]));
    }
}

#[test]
fn every_help_is_enough_to_use_the_command() {
    for command in ["check", "run", "status", "apply", "confirm", "undo"] {
        let run = Run::of(std::process::Command::new(super::fixture::AGENT).args([command, "--help"]));
        let (_, examples) = run.stdout.split_once("\nExample").expect(command);
        assert!(examples.contains(&format!("portcullis-agent {command}")), "{command}: {}", run.stdout);
    }
}
