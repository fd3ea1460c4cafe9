//! Every problem, with real files.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::TempDir;

use super::*;
use crate::{
    manifest::{Attributes, EntryKind, Extras},
    outcome::{DIFFERENCES_MAX, Problem, Status},
};

mod attacks;
mod passed;
mod races;
mod random;
mod texts;
mod within;

/// A directory to be built from, changed and checked.
struct Fixture {
    dir: TempDir,
    tree: Tree,
}

/// `a/`, `a/b.txt`, `a/c/`, `a.b`, `a-b/`, `a-b/x`, `link → a/b.txt`, `empty/`, and a name that is not UTF-8.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture { dir, tree: Tree::new("app", "/nowhere") };
    for name in ["a", "a/c", "a-b", "empty"] {
        fs::create_dir(fixture.at(name)).unwrap();
    }
    for (name, content) in [("a/b.txt", "hello"), ("a.b", "x"), ("a-b/x", ""), ("a/c/deep", "deep")] {
        fs::write(fixture.at(name), content).unwrap();
    }
    fs::write(fixture.root().join(OsStr::from_bytes(b"\xff\\n")), "odd").unwrap();
    symlink("a/b.txt", fixture.at("link")).unwrap();
    fixture
}

impl Fixture {
    fn root(&self) -> PathBuf {
        self.dir.path().join(".")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with(mut self, change: impl FnOnce(&mut Tree)) -> Self {
        change(&mut self.tree);
        self
    }

    /// Lists what is there now.
    fn built(mut self) -> Self {
        self.tree.entries = read(&self.tree, self.dir.path(), &NoProgress).unwrap();
        self
    }

    fn check(&self) -> Outcome {
        check(&self.tree, self.dir.path(), &NoProgress)
    }

    /// `path problem expected actual`, a line each.
    fn differences(&self) -> Vec<String> {
        shown(&self.check())
    }
}

fn shown(outcome: &Outcome) -> Vec<String> {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let line = |d: &crate::outcome::Difference| {
        format!("{} {} {} {}", d.path, d.problem, or_dash(&d.expected), or_dash(&d.actual))
    };
    outcome.differences.iter().map(line).collect()
}

#[test]
fn entries_come_in_the_order_of_whole_paths() {
    let fixture = fixture().built();
    let paths: Vec<_> = fixture.tree.entries.iter().map(|entry| text::path(&entry.path)).collect();
    let expected = ["a", "a-b", "a-b/x", "a.b", "a/b.txt", "a/c", "a/c/deep", "empty", "link", "\\xff\\\\n"];
    assert_eq!(paths, expected);
    assert!(fixture.tree.entries.is_sorted_by(|a, b| a.path < b.path));
    let EntryKind::Link { target } = &fixture.tree.entries[8].kind else { panic!() };
    assert_eq!(target, b"a/b.txt");
}

#[test]
fn the_tree_it_was_built_from_passes() {
    let outcome = fixture().built().check();
    assert_eq!((outcome.status, outcome.reason, outcome.differences_total), (Status::Pass, None, None));
}

/// A change, and what it is called.
type Row = (&'static str, fn(&Fixture), &'static [&'static str]);

#[test]
fn each_change_is_told_exactly() {
    let rows: &[Row] = &[
        ("file gone", |f| fs::remove_file(f.at("a.b")).unwrap(), &["a.b missing file -"]),
        ("empty directory gone", |f| fs::remove_dir(f.at("empty")).unwrap(), &["empty missing dir -"]),
        (
            "directory gone",
            |f| fs::remove_dir_all(f.at("a")).unwrap(),
            &["a missing dir -", "a/b.txt missing file -", "a/c missing dir -", "a/c/deep missing file -"],
        ),
        ("extra file", |f| fs::write(f.at("a/b"), "").unwrap(), &["a/b extra - file"]),
        (
            "extra directory, counted once",
            |f| {
                fs::create_dir_all(f.at("new/sub")).unwrap();
                fs::write(f.at("new/sub/x"), "").unwrap();
            },
            &["new extra - dir"],
        ),
        ("extra link", |f| symlink("/", f.at("z")).unwrap(), &["z extra - link"]),
        (
            "content of the same size",
            |f| fs::write(f.at("a/b.txt"), "hellO").unwrap(),
            &["a/b.txt content sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 \
               sha256:cd8e3b24ba91a3edf39b47f1ed79bc6886bb1c3a77c46b4c93d1a9f6c31e5c5e"],
        ),
        (
            "content of another size",
            |f| fs::write(f.at("a/b.txt"), "hello!").unwrap(),
            &["a/b.txt content size 5 size 6"],
        ),
        (
            "directory for a file",
            |f| {
                fs::remove_file(f.at("a.b")).unwrap();
                fs::create_dir(f.at("a.b")).unwrap();
                fs::write(f.at("a.b/x"), "").unwrap();
            },
            &["a.b type file dir"],
        ),
        (
            "file for a directory: what is below is not counted",
            |f| {
                fs::remove_dir_all(f.at("a")).unwrap();
                fs::write(f.at("a"), "").unwrap();
            },
            &["a type dir file"],
        ),
        (
            "link to the same content",
            |f| {
                fs::rename(f.at("a"), f.at("a-b/real")).unwrap();
                symlink("a-b/real", f.at("a")).unwrap();
            },
            &["a type dir link", "a-b/real extra - dir"],
        ),
        (
            "another target",
            |f| {
                fs::remove_file(f.at("link")).unwrap();
                symlink("./a/b.txt", f.at("link")).unwrap();
            },
            &["link link a/b.txt ./a/b.txt"],
        ),
        ("set-user-id", |f| chmod(&f.at("a.b"), 0o4755), &["a.b mode 0755 4755"]),
        ("set-group-id on a directory", |f| chmod(&f.at("a"), 0o2755), &["a mode 0755 2755"]),
        ("a mode that is not compared", |f| chmod(&f.at("a.b"), 0o600), &[]),
        ("a time that is not compared", |f| filetime(&f.at("a.b")), &[]),
    ];
    for (name, change, expected) in rows {
        let fixture = fixture().built();
        change(&fixture);
        let found = fixture.differences();
        if *name == "content of the same size" {
            assert!(found.len() == 1 && found[0].starts_with(&expected[0][..80]), "{name}: {found:?}");
        } else {
            assert_eq!(found, *expected, "{name}");
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn filetime(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
}

#[test]
fn modes_and_owners_where_they_are_asked_for() {
    let fixture = fixture().with(|tree| tree.attributes = Attributes { mode: true, owner: true }).built();
    assert_eq!(fixture.check().status, Status::Pass);
    chmod(&fixture.at("a.b"), 0o600);
    assert_eq!(fixture.differences(), ["a.b mode 0644 0600"]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(fixture.at("link"), Some(33), Some(34)).unwrap();
        assert_eq!(fixture.differences(), ["a.b mode 0644 0600", "link owner 0:0 33:34"]);
    }
    let link = fixture.tree.entries.iter().find(|entry| entry.path == b"link").unwrap();
    assert_eq!((link.mode, link.owner.is_some()), (None, true));
}

#[test]
fn two_differences_of_one_entry_are_one_entry_in_the_reason() {
    let fixture = fixture().with(|tree| tree.attributes.mode = true).built();
    chmod(&fixture.at("a.b"), 0o600);
    fs::write(fixture.at("a.b"), "y").unwrap();
    let outcome = fixture.check();
    assert_eq!(outcome.differences_total, Some(2));
    assert_eq!(outcome.reason.as_deref(), Some("1 of 10 entries differ"));
    assert_eq!(outcome.differences.iter().map(|d| d.problem).collect::<Vec<_>>(), [Problem::Content, Problem::Mode]);
}

#[test]
fn ignored_things_are_neither_listed_nor_extra_nor_missing() {
    let fixture = fixture().with(|tree| tree.ignore = vec!["a/c/**".into(), "*.pid".into()]).built();
    assert!(fixture.tree.entries.iter().all(|entry| entry.path != b"a/c/deep"));
    fs::write(fixture.at("a/c/log"), "x").unwrap();
    fs::write(fixture.at("a-b/x.pid"), "1").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.at("q.pid"), 0o600.into()).unwrap();
    assert_eq!(fixture.check().status, Status::Pass);
    // A manifest that lists what it ignores: nobody looks.
    let mut fixture = fixture;
    fixture.tree.ignore = vec!["a".into()];
    fs::remove_dir_all(fixture.at("a")).unwrap();
    assert_eq!(fixture.differences(), ["a-b/x.pid extra - file", "q.pid extra - fifo"]);
}

#[test]
fn extras_may_be_allowed() {
    let fixture = fixture().with(|tree| tree.extras = Extras::Allow).built();
    fs::create_dir(fixture.at("cache")).unwrap();
    fs::write(fixture.at("cache/x"), "").unwrap();
    fs::write(fixture.at("a/z"), "").unwrap();
    assert_eq!(fixture.check().status, Status::Pass);
    fs::remove_file(fixture.at("a.b")).unwrap();
    assert_eq!(fixture.differences(), ["a.b missing file -"]);
}

#[test]
fn of_many_differences_the_first_are_listed() {
    let fixture = fixture().built();
    for n in 0..1_500 {
        fs::write(fixture.at(&format!("x{n:04}")), "").unwrap();
    }
    let outcome = fixture.check();
    assert_eq!((outcome.differences.len(), outcome.differences_total), (DIFFERENCES_MAX, Some(1_500)));
    assert_eq!(outcome.differences_by_problem.into_iter().collect::<Vec<_>>(), [(Problem::Extra, 1_500)]);
    assert_eq!(outcome.reason.as_deref(), Some("1500 of 1510 entries differ"));
    assert_eq!(outcome.differences[999].path, "x0999");
}

#[test]
fn fifos_sockets_and_devices_are_told_and_never_opened() {
    let fixture = fixture().built();
    fs::remove_file(fixture.at("a.b")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.at("a.b"), 0o600.into()).unwrap();
    let _socket = UnixListener::bind(fixture.at("s")).unwrap();
    assert_eq!(fixture.differences(), ["a.b type file fifo", "s extra - socket"]);
    let error = read(&fixture.tree, fixture.dir.path(), &NoProgress).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.hint), ("`a.b` is a fifo", Some("ignore it")));
}

#[test]
fn a_root_that_is_not_there_or_no_directory() {
    let fixture = fixture().built();
    let missing = check(&fixture.tree, &fixture.at("nowhere"), &NoProgress);
    assert_eq!((missing.status, missing.differences_total), (Status::Fail, Some(11)));
    assert_eq!(shown(&missing)[0], " missing dir -");
    let file = check(&fixture.tree, &fixture.at("a.b"), &NoProgress);
    assert_eq!(shown(&file), [" type dir file"]);
}

#[test]
fn a_root_that_is_a_link_only_where_it_may_be() {
    let mut fixture = fixture().built();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("current");
    symlink(fixture.dir.path(), &link).unwrap();
    assert_eq!(shown(&check(&fixture.tree, &link, &NoProgress)), [" type dir link"]);
    assert!(read(&fixture.tree, &link, &NoProgress).is_err());
    fixture.tree.root_link = true;
    assert_eq!(check(&fixture.tree, &link, &NoProgress).status, Status::Pass);
}

/// `/srv/app` in the image is a link to `/data`: to the image's, not to this machine's.
#[test]
fn links_in_an_image_mean_places_in_it() {
    let image = tempfile::tempdir().unwrap();
    let mut fixture = fixture().with(|tree| tree.root = "/srv/current/app".into()).built();
    fs::create_dir_all(image.path().join("data")).unwrap();
    fs::create_dir(image.path().join("srv")).unwrap();
    symlink("/data", image.path().join("srv/current")).unwrap();
    assert_eq!(check_image(&fixture.tree, image.path(), &NoProgress).differences_total, Some(11));
    fs::rename(fixture.dir.path(), image.path().join("data/app")).unwrap();
    assert_eq!(check_image(&fixture.tree, image.path(), &NoProgress).status, Status::Pass);
    fixture.tree.root = "/../../srv/../srv/current/link".into();
    symlink("/data/app", image.path().join("data/link")).unwrap();
    assert_eq!(shown(&check_image(&fixture.tree, image.path(), &NoProgress)), [" type dir link"]);
    fixture.tree.root_link = true;
    assert_eq!(check_image(&fixture.tree, image.path(), &NoProgress).status, Status::Pass);
    symlink("/usr", image.path().join("out")).unwrap();
    fixture.tree.root = "/out".into();
    let outcome = check_image(&fixture.tree, image.path(), &NoProgress);
    assert_eq!(
        (outcome.status, outcome.differences_total),
        (Status::Fail, Some(11)),
        "out of the image there is nothing"
    );
}

/// A directory that hands its group down is ordinary: it passes as it was signed, though modes are not compared.
#[test]
fn set_id_bits_are_recorded() {
    let fixture = fixture();
    chmod(&fixture.at("a"), 0o2775);
    let fixture = fixture.built();
    assert_eq!(fixture.check().status, Status::Pass);
    chmod(&fixture.at("a"), 0o2755);
    assert_eq!(fixture.check().status, Status::Pass, "other bits are not compared");
    chmod(&fixture.at("a"), 0o6755);
    assert_eq!(fixture.differences(), ["a mode 2755 6755"]);
}

#[test]
fn the_same_without_openat2() {
    let fixture = fixture().built();
    fs::write(fixture.at("a/b.txt"), "hellO").unwrap();
    let (_, root) = Opener::root(Place::Here(fixture.dir.path()), false).unwrap();
    let opener = Opener::by_mount_id(std::os::fd::AsFd::as_fd(&root)).unwrap();
    let stat = rustix::fs::fstat(&root).unwrap();
    let ignore = Ignore::new(&[]).unwrap();
    let comparison = compare::Comparison {
        tree: &fixture.tree,
        ignore: &ignore,
        opener: &opener,
        root: &root,
        progress: &NoProgress,
        last: None,
        unsettled: Unsettled::NONE,
        within: None,
    };
    assert_eq!(comparison.outcome(&stat).0.differences.len(), 1);
}
