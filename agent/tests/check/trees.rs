//! Trees, where the program or its user matters; the table of all problems is beside the code (`src/tree/tests.rs`).

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::fixture::{Run, copy_of_agent, fixture, is_root};

#[test]
fn names_of_any_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    let fixture = fixture();
    let name = std::ffi::OsStr::from_bytes(b"\xff\\\n");
    fs::write(fixture.app("a").join(name), "").unwrap();
    let run = fixture.json();
    assert_eq!((run.exit, run.differences()), (1, vec!["a/\\xff\\\\\n extra - file".into()]));
}

#[test]
fn nothing_waits_for_a_fifo_or_opens_a_device() {
    let fixture = fixture();
    fs::remove_file(fixture.app("b")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.app("b"), 0o600.into()).unwrap();
    assert_eq!(fixture.json().differences(), ["b type file fifo"]);
    if is_root("devices") {
        let device = rustix::fs::makedev(1, 5);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, fixture.app("zero"), rustix::fs::FileType::CharacterDevice, mode, device)
            .unwrap();
        assert_eq!(fixture.json().differences(), ["b type file fifo", "zero extra - device"]);
    }
}

#[test]
fn a_mount_inside_the_tree_fails() {
    if !is_root("mounts") {
        return;
    }
    let fixture = fixture();
    let cases = [
        ("mount -t tmpfs none $APP/a", "a type dir mount"),
        ("mount --bind $APP/a $APP/a", "a type dir mount"),
        ("mount --bind $APP/b $APP/b", "b type file mount"),
        ("mount --bind $APP/b $APP/a/i.php", "a/i.php content size 5 size 1"),
    ];
    for (script, expected) in cases {
        let run = fixture.json_after_mounting(script);
        assert_eq!((run.exit, run.differences()), (1, vec![expected.to_string()]), "{script}: {}", run.stderr);
    }
    let run = fixture.json_after_mounting("mount --bind $APP $APP");
    assert_eq!(run.exit, 0, "the root itself may be a mount: {}", run.stdout);
}

#[test]
fn a_mount_that_is_a_tree_of_its_own_is_declared() {
    if !is_root("mounts") {
        return;
    }
    let mut fixture = fixture();
    let mut inner = fixture.manifest.trees[0].clone();
    inner.name = "inner".into();
    inner.root.push_str("/a");
    inner.entries.retain(|entry| entry.path.starts_with(b"a/"));
    for entry in &mut inner.entries {
        entry.path.drain(..2);
    }
    let outer = &mut fixture.manifest.trees[0];
    outer.ignore = vec!["/a".into()];
    outer.entries.retain(|entry| !entry.path.starts_with(b"a"));
    fixture.manifest.trees.push(inner);
    let fixture = fixture.signed();
    let run = fixture.json_after_mounting("mount --bind $APP/a $APP/a");
    assert_eq!(run.exit, 0, "{run:?}");
}

#[test]
fn what_the_user_cannot_read_is_unknown() {
    if !is_root("another user") {
        return;
    }
    let fixture = fixture();
    fs::set_permissions(fixture.app("b"), fs::Permissions::from_mode(0o600)).unwrap();
    copy_of_agent(&fixture.at("agent"));
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(fixture.at("agent"));
        Run::of(command.args(fixture.arguments()).arg("--json"))
    };
    let run = as_nobody();
    assert_eq!((run.exit, run.differences()), (2, vec!["b unreadable - permission denied".into()]));
    assert_eq!(run.outcome(0), ("unknown".into(), "1 of 4 entries could not be told".into()));
    fs::set_permissions(fixture.app("a"), fs::Permissions::from_mode(0o700)).unwrap();
    let run = as_nobody();
    // What is below a directory that cannot be read is neither missing nor there.
    let expected = ["a unreadable - permission denied", "b unreadable - permission denied"];
    assert_eq!((run.exit, run.differences()), (2, expected.map(Into::into).to_vec()));
    fs::write(fixture.app("extra"), "").unwrap();
    assert_eq!(as_nobody().exit, 1, "what is certain wins");
}

#[test]
fn fifteen_hundred_differences() {
    let fixture = fixture();
    for n in 0..1_500 {
        fs::write(fixture.app(&format!("x{n:04}")), "").unwrap();
    }
    let run = fixture.json();
    assert_eq!(run.differences().len(), 1_000);
    assert_eq!(run.value()["outcomes"][0]["differences_total"], 1_500);
}

#[test]
fn ignored_and_allowed() {
    let fixture = fixture().with_tree(|tree| tree.ignore = vec!["logs/**".into(), "logs".into()]);
    fs::create_dir(fixture.app("logs")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.app("logs/pipe"), 0o600.into()).unwrap();
    assert_eq!(fixture.json().exit, 0);
    fs::write(fixture.app("more"), "").unwrap();
    assert_eq!(fixture.json().exit, 1);
    let fixture = fixture.with_tree(|tree| tree.extras = portcullis::manifest::Extras::Allow);
    assert_eq!(fixture.json().exit, 0);
}

/// The listing of a directory, and all else that the program keeps open, stays far below what a process may have.
#[test]
fn few_descriptors_are_enough() {
    let mut fixture = fixture();
    for n in 0..600 {
        let directory = fixture.app(&format!("d{n}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("f"), "x").unwrap();
    }
    let root = fixture.app("");
    let tree = &mut fixture.manifest.trees[0];
    tree.entries = portcullis::tree::read(tree, &root, &portcullis::tree::NoProgress).unwrap();
    let fixture = fixture.signed();
    let mut command = Command::new("prlimit");
    command.arg("--nofile=160").arg(crate::fixture::AGENT).args(fixture.arguments());
    let run = Run::of(&mut command);
    assert_eq!(run.exit, 0, "{run:?}");
}
