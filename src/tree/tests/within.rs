//! What is compared of a tree when it is known where something happened, and what is not.

use super::*;

/// What a check of `directories` and those above them tells.
fn within(fixture: &Fixture, directories: &[&[u8]], progress: &dyn Progress) -> Outcome {
    check_within(&fixture.tree, fixture.dir.path(), &directories.iter().collect(), progress, None)
}

fn told(fixture: &Fixture, directories: &[&[u8]]) -> Vec<String> {
    shown(&within(fixture, directories, &NoProgress))
}

fn write(path: PathBuf, content: &str) {
    fs::write(path, content).unwrap();
}

/// A change, where it happened, and what it is called: there, and by a check of all.
type Row = (&'static str, fn(&Fixture), &'static [u8], &'static [&'static str]);

#[test]
fn every_kind_of_change_in_a_touched_directory_is_told_as_by_a_check_of_all() {
    let rows: &[Row] = &[
        ("size", |f| write(f.at("a/b.txt"), "hello?"), b"a", &["a/b.txt content size 5 size 6"]),
        ("gone", |f| fs::remove_file(f.at("a/c/deep")).unwrap(), b"a/c", &["a/c/deep missing file -"]),
        ("extra", |f| write(f.at("a/b"), ""), b"a", &["a/b extra - file"]),
        ("extra beside the root's", |f| write(f.at("b"), ""), b"", &["b extra - file"]),
        (
            "extra directory, counted once",
            |f| {
                fs::create_dir_all(f.at("a/c/new/sub")).unwrap();
                write(f.at("a/c/new/sub/x"), "");
            },
            b"a/c",
            &["a/c/new extra - dir"],
        ),
        (
            "type",
            |f| {
                fs::remove_file(f.at("a.b")).unwrap();
                fs::create_dir(f.at("a.b")).unwrap();
            },
            b"",
            &["a.b type file dir"],
        ),
        (
            "link",
            |f| {
                fs::remove_file(f.at("link")).unwrap();
                symlink("a.b", f.at("link")).unwrap();
            },
            b"",
            &["link link a/b.txt a.b"],
        ),
        ("set-id", |f| chmod(&f.at("a/b.txt"), 0o4644), b"a", &["a/b.txt mode 0644 4644"]),
        (
            "a name that is no text",
            |f| fs::remove_file(f.root().join(OsStr::from_bytes(b"\xff\\n"))).unwrap(),
            b"",
            &["\\xff\\\\n missing file -"],
        ),
        (
            "the touched directory itself, and all that was in it",
            |f| fs::remove_dir_all(f.at("a")).unwrap(),
            b"a",
            &["a missing dir -", "a/b.txt missing file -", "a/c missing dir -", "a/c/deep missing file -"],
        ),
        (
            "a directory above it",
            |f| fs::remove_dir_all(f.at("a")).unwrap(),
            b"a/c",
            &["a missing dir -", "a/b.txt missing file -", "a/c missing dir -", "a/c/deep missing file -"],
        ),
        (
            "something else in its place",
            |f| {
                fs::remove_dir_all(f.at("a/c")).unwrap();
                symlink("..", f.at("a/c")).unwrap();
            },
            b"a/c",
            &["a/c type dir link"],
        ),
        ("a change in one above it", |f| fs::remove_file(f.at("a.b")).unwrap(), b"a/c", &["a.b missing file -"]),
    ];
    for (name, change, directory, expected) in rows {
        let fixture = fixture().built();
        assert_eq!(told(&fixture, &[*directory]), Vec::<String>::new(), "{name}: before");
        change(&fixture);
        assert_eq!(told(&fixture, &[*directory]), *expected, "{name}");
        assert_eq!(fixture.differences(), *expected, "{name}: by a check of all");
        assert_eq!(within(&fixture, &[*directory], &NoProgress).reason, fixture.check().reason, "{name}");
    }
}

#[test]
fn content_of_the_same_size_is_read() {
    let fixture = fixture().built();
    write(fixture.at("a/b.txt"), "HELLO");
    let outcome = within(&fixture, &[b"a"], &NoProgress);
    assert_eq!((outcome.status, outcome.differences), (Status::Fail, fixture.check().differences));
}

#[test]
fn what_changed_elsewhere_is_not_told() {
    let fixture = fixture().built();
    write(fixture.at("a/c/deep"), "DEEP");
    write(fixture.at("a/c/new"), "");
    fs::remove_file(fixture.at("a-b/x")).unwrap();
    write(fixture.at("empty/new"), "");
    for directories in [&[][..], &[&b""[..]], &[b"a"]] {
        let outcome = within(&fixture, directories, &NoProgress);
        assert_eq!((outcome.status, outcome.differences_total), (Status::Pass, None), "{directories:?}");
    }
    assert_eq!(told(&fixture, &[b"a-b", b"empty"]), ["a-b/x missing file -", "empty/new extra - file"]);
    assert_eq!(told(&fixture, &[b"a/c"]).len(), 2);
}

/// It is not there, or not in the list: there is nothing to look into.
#[test]
fn a_directory_that_nobody_listed() {
    let fixture = fixture().with(|tree| tree.extras = Extras::Allow).built();
    fs::create_dir(fixture.at("new")).unwrap();
    write(fixture.at("new/x"), "");
    assert_eq!(told(&fixture, &[b"new", b"nowhere/at/all"]), Vec::<String>::new());
    let fixture = fixture.with(|tree| tree.extras = Extras::Refuse);
    assert_eq!(told(&fixture, &[b"new"]), ["new extra - dir"]);
}

#[test]
fn what_is_ignored_stays_so() {
    let fixture = fixture().with(|tree| tree.ignore = vec!["/a/c/".into(), "*.pid".into()]).built();
    write(fixture.at("a/c/deep"), "DEEP");
    write(fixture.at("a/server.pid"), "7");
    assert_eq!(told(&fixture, &[b"a", b"a/c"]), Vec::<String>::new());
    write(fixture.at("a/server.pidx"), "7");
    assert_eq!(told(&fixture, &[b"a"]), ["a/server.pidx extra - file"]);
}

/// Nothing that is closed is read, listed or waited for: not even to see whether it stands still.
#[test]
fn what_is_closed_costs_nothing() {
    #[derive(Default)]
    struct Counts(AtomicU64, AtomicU64);
    impl Progress for Counts {
        fn walked(&self, entries: u64) {
            self.0.fetch_add(entries, Ordering::SeqCst);
        }
        fn hashed(&self, files: u64, _: u64) {
            self.1.fetch_add(files, Ordering::SeqCst);
        }
    }
    let fixture = fixture().built();
    let counts = Counts::default();
    assert_eq!(within(&fixture, &[b"a-b"], &counts).status, Status::Pass);
    // Twice: six names in the root, and one in `a-b`. Read are the three files among them.
    assert_eq!((counts.0.into_inner(), counts.1.into_inner()), (14, 3));
}

/// Something happens to a directory that nobody looks into.
#[test]
fn what_moves_elsewhere_makes_nothing_unstable() {
    struct Meddles(PathBuf, AtomicU64);
    impl Progress for Meddles {
        fn hashed(&self, _: u64, _: u64) {
            let mode = 0o700 | self.1.fetch_add(1, Ordering::SeqCst) & 0o77;
            chmod(&self.0.join("a/c"), u32::try_from(mode).unwrap());
        }
    }
    let fixture = fixture().built();
    let meddles = Meddles(fixture.dir.path().into(), AtomicU64::default());
    assert_eq!(within(&fixture, &[b"a"], &meddles).status, Status::Pass);
    assert_eq!(within(&fixture, &[b"a/c"], &meddles).status, Status::Unknown, "looked into, it is told");
}
