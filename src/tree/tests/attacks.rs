//! Trees that change while they are read, and trees made to mislead.

use super::*;

/// Does something once, when so many files have been hashed.
struct After<F: Fn() + Sync> {
    files: u64,
    hashed: AtomicU64,
    act: Mutex<Option<F>>,
}

impl<F: Fn() + Sync + Send> Progress for After<F> {
    fn hashed(&self, files: u64, _: u64) {
        if self.hashed.fetch_add(files, Ordering::SeqCst) + files >= self.files
            && files > 0
            && let Some(act) = self.act.lock().unwrap().take()
        {
            // Before Linux 6.13 times move on in steps of up to 10 ms.
            std::thread::sleep(core::time::Duration::from_millis(20));
            act();
        }
    }
}

fn after<F: Fn() + Sync + Send>(files: u64, act: F) -> After<F> {
    After { files, hashed: AtomicU64::new(0), act: Mutex::new(Some(act)) }
}

/// The fixture has 5 files: after the last has been read, the second walk is all that can notice.
#[test]
fn a_change_after_hashing_is_unstable() {
    type Change = fn(&Path);
    let rows: &[(&str, Change, &[&str])] = &[
        ("rewritten", |root| fs::write(root.join("a/b.txt"), "hello").unwrap(), &["a/b.txt unstable - -"]),
        (
            "gone",
            |root| fs::remove_file(root.join("a/c/deep")).unwrap(),
            &["a/c unstable - -", "a/c/deep unstable - -"],
        ),
        ("come", |root| fs::write(root.join("a/c/new"), "").unwrap(), &["a/c unstable - -"]),
        ("come at the root", |root| fs::write(root.join("new"), "").unwrap(), &[" unstable - -"]),
        ("another mode", |root| chmod(&root.join("empty"), 0o700), &["empty unstable - -"]),
        (
            "moved away and back",
            |root| {
                fs::rename(root.join("a.b"), root.join("a.c")).unwrap();
                fs::rename(root.join("a.c"), root.join("a.b")).unwrap();
            },
            &["a.b unstable - -"],
        ),
    ];
    for (name, change, expected) in rows {
        let fixture = fixture().built();
        let outcome = check(&fixture.tree, fixture.dir.path(), &after(5, || change(fixture.dir.path())));
        let found: Vec<_> = shown(&outcome).into_iter().filter(|line| expected.contains(&line.as_str())).collect();
        assert_eq!(found, *expected, "{name}: {outcome:?}");
        assert_eq!(outcome.status, Status::Unknown, "{name}");
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_unstable() {
    let fixture = fixture();
    fs::write(fixture.at("big"), vec![7; 3 << 20]).unwrap();
    let fixture = fixture.built();
    let path = fixture.at("big");
    let grow = |_: u64| fs::File::options().append(true).open(&path).unwrap().set_len((3 << 20) + 1).unwrap();
    struct OnRead<F>(F);
    impl<F: Fn(u64) + Sync> Progress for OnRead<F> {
        fn hashed(&self, _: u64, bytes: u64) {
            if bytes > 1_000 {
                self.0(bytes);
            }
        }
    }
    let outcome = check(&fixture.tree, fixture.dir.path(), &OnRead(grow));
    assert_eq!((outcome.status, shown(&outcome)), (Status::Unknown, vec!["big unstable - -".into()]));
    assert_eq!(outcome.reason.as_deref(), Some("1 of 11 entries could not be told"));
}

/// What is certain wins over what could not be told.
#[test]
fn fail_beats_unknown() {
    let fixture = fixture().built();
    fs::write(fixture.at("extra"), "").unwrap();
    let change = || fs::write(fixture.at("a/b.txt"), "hello").unwrap();
    let outcome = check(&fixture.tree, fixture.dir.path(), &after(5, change));
    assert_eq!(outcome.status, Status::Fail);
    assert_eq!(outcome.reason.as_deref(), Some("1 of 11 entries differ; 1 of 11 entries could not be told"));
}

#[test]
fn what_is_nobodys_business_may_come_and_go() {
    let fixture = fixture().with(|tree| tree.extras = Extras::Allow).built();
    let change = || fs::write(fixture.at("a/new"), "").unwrap();
    assert_eq!(check(&fixture.tree, fixture.dir.path(), &after(5, change)).status, Status::Pass);
    let fixture = super::fixture().with(|tree| tree.ignore = vec!["*.pid".into()]).built();
    let change = || fs::write(fixture.at("a/new.pid"), "").unwrap();
    assert_eq!(check(&fixture.tree, fixture.dir.path(), &after(5, change)).status, Status::Pass);
    let change = || fs::write(fixture.at("a/new"), "").unwrap();
    assert_eq!(check(&fixture.tree, fixture.dir.path(), &after(5, change)).status, Status::Unknown);
}

#[test]
fn no_manifest_is_built_from_a_tree_that_moves() {
    let fixture = fixture();
    let change = || fs::write(fixture.at("a/b.txt"), "hello").unwrap();
    let error = read(&fixture.tree, fixture.dir.path(), &after(5, change)).unwrap_err();
    assert_eq!(error.to_string(), "`a/b.txt` changed while it was read");
}

#[test]
fn given_up_when_asked_to() {
    struct Cancelled;
    impl Progress for Cancelled {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let fixture = fixture().built();
    let outcome = check(&fixture.tree, fixture.dir.path(), &Cancelled);
    assert_eq!(outcome.status, Status::Unknown);
    assert_eq!(outcome.reason.as_deref(), Some("not all was looked at: given up at the deadline"));
}

#[test]
fn a_directory_too_deep_is_unknown_and_a_manifest_of_it_refused() {
    let fixture = fixture().built();
    let mut dir = fixture.dir.path().to_path_buf();
    let mut entries = Vec::new();
    for _ in 0..DEPTH_MAX + 5 {
        dir.push("d");
        fs::create_dir(&dir).unwrap();
        let path = dir.strip_prefix(fixture.dir.path()).unwrap().as_os_str().as_bytes().to_vec();
        entries.push(Entry { path, kind: EntryKind::Directory, mode: None, owner: None });
    }
    let error = read(&fixture.tree, fixture.dir.path(), &NoProgress).unwrap_err();
    assert!(error.to_string().ends_with("is more than 256 directories deep"), "{error}");
    let mut fixture = fixture;
    fixture.tree.entries.extend(entries);
    fixture.tree.entries.sort_by(|a, b| a.path.cmp(&b.path));
    let outcome = fixture.check();
    assert_eq!((outcome.status, outcome.differences_total), (Status::Unknown, Some(1)));
}

#[test]
fn a_listed_size_that_is_huge_costs_nothing() {
    let mut fixture = fixture().built();
    let entry = fixture.tree.entries.iter_mut().find(|entry| entry.path == b"a.b").unwrap();
    let EntryKind::File { size, .. } = &mut entry.kind else { panic!() };
    *size = u64::MAX;
    assert_eq!(fixture.differences(), ["a.b content size 18446744073709551615 size 1"]);
}

#[test]
fn hard_links_and_holes_are_files_like_any_other() {
    let fixture = fixture();
    fs::hard_link(fixture.at("a.b"), fixture.at("hard")).unwrap();
    fs::File::create(fixture.at("sparse")).unwrap().set_len(5_000_000).unwrap();
    let fixture = fixture.built();
    assert_eq!(fixture.check().status, Status::Pass);
    fs::write(fixture.at("hard"), "y").unwrap();
    assert_eq!(fixture.check().differences_total, Some(2));
}
