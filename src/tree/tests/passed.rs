//! What passed and looks the same is not read again; what only seems to look the same is.

use std::{
    os::unix::fs::chown,
    time::{Duration, SystemTime},
};

use super::{
    races::{IN_A_NAMESPACE, in_a_namespace},
    *,
};

/// Counts what is read.
#[derive(Default)]
struct Reads(AtomicU64);

impl Progress for Reads {
    fn hashed(&self, files: u64, _: u64) {
        self.0.fetch_add(files, Ordering::SeqCst);
    }
}

/// By the wall clock.
fn now_ms() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// As if all had been left alone for two minutes before it was read.
fn passed(fixture: &Fixture) -> Passed {
    passed_at(fixture, now_ms() + 2 * FRESH_MS)
}

fn passed_at(fixture: &Fixture, began_ms: u64) -> Passed {
    let (outcome, passed) = check_again(&fixture.tree, fixture.dir.path(), &NoProgress, None, began_ms);
    assert_eq!(outcome.status, Status::Pass, "{outcome:?}");
    passed.unwrap()
}

fn is_unchanged(fixture: &Fixture, passed: &Passed) -> (bool, u64) {
    looks_unchanged(fixture, passed, Care::Check)
}

fn looks_unchanged(fixture: &Fixture, passed: &Passed, care: Care) -> (bool, u64) {
    let (reads, outline) = (Reads::default(), Tree { entries: vec![], ..fixture.tree.clone() });
    (passed.is_unchanged(&outline, fixture.dir.path(), &reads, care), reads.0.into_inner())
}

/// The status of a check that reads as little as it may, and how many files it read.
fn again(fixture: &Fixture, passed: &Passed) -> (Status, u64) {
    looked_again(fixture, passed, Care::Check)
}

fn looked_again(fixture: &Fixture, passed: &Passed, care: Care) -> (Status, u64) {
    let reads = Reads::default();
    let at_ms = now_ms() + 2 * FRESH_MS;
    let (outcome, kept) = check_again(&fixture.tree, fixture.dir.path(), &reads, Some((passed, care)), at_ms);
    assert_eq!(kept.is_some(), outcome.status == Status::Pass);
    assert_eq!(outcome.status, fixture.check().status, "what is remembered must change no outcome");
    (outcome.status, reads.0.into_inner())
}

/// Times move on in steps.
fn a_moment() {
    std::thread::sleep(Duration::from_millis(20));
}

fn rewrite_with_old_times(path: &Path, content: &str) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// A defect in one thread ends the look; it does not leave the other threads waiting for it.
#[test]
fn a_panic_keeps_nobody_waiting() {
    struct Panics;
    impl Progress for Panics {
        fn walked(&self, _: u64) {
            panic!("oh");
        }
    }
    let fixture = fixture().built();
    let passed = passed(&fixture);
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let look = || passed.is_unchanged(&fixture.tree, fixture.dir.path(), &Panics, Care::Check);
        sender.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).is_err())
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(true));
}

#[test]
fn nothing_changed_nothing_read() {
    let fixture = fixture().built();
    let passed = passed(&fixture);
    assert_eq!(is_unchanged(&fixture, &passed), (true, 0));
    assert_eq!(again(&fixture, &passed), (Status::Pass, 0));
    let kept = Passed::from_bytes(&passed.to_bytes()).unwrap();
    assert_eq!(is_unchanged(&fixture, &kept), (true, 0));
}

#[test]
fn every_trick_is_seen_and_only_what_changed_is_read() {
    type Trick = fn(&Fixture);
    let rows: &[(&str, Trick, Status, u64)] = &[
        ("rewritten", |f| fs::write(f.at("a/b.txt"), "HELLO").unwrap(), Status::Fail, 1),
        ("the same bytes again", |f| fs::write(f.at("a/b.txt"), "hello").unwrap(), Status::Pass, 1),
        ("times set back", |f| rewrite_with_old_times(&f.at("a/b.txt"), "HELLO"), Status::Fail, 1),
        (
            "replaced by rename",
            |f| {
                fs::write(f.at("a/new"), "HELLO").unwrap();
                let modified = fs::metadata(f.at("a/b.txt")).unwrap().modified().unwrap();
                fs::File::options().write(true).open(f.at("a/new")).unwrap().set_modified(modified).unwrap();
                fs::rename(f.at("a/new"), f.at("a/b.txt")).unwrap();
            },
            Status::Fail,
            1,
        ),
        (
            "moved away, and another of that size put there",
            |f| {
                fs::rename(f.at("a/c/deep"), f.at("a/x")).unwrap();
                fs::write(f.at("a/c/deep"), "DEEP").unwrap();
                fs::remove_file(f.at("a/x")).unwrap();
            },
            Status::Fail,
            1,
        ),
        ("another mode, not compared", |f| chmod(&f.at("a/b.txt"), 0o600), Status::Pass, 1),
        ("set-id", |f| chmod(&f.at("a/b.txt"), 0o4755), Status::Fail, 1),
        ("gone", |f| fs::remove_file(f.at("a/b.txt")).unwrap(), Status::Fail, 0),
        ("come", |f| fs::write(f.at("a/c/new"), "").unwrap(), Status::Fail, 0),
        (
            "another target",
            |f| {
                fs::remove_file(f.at("link")).unwrap();
                symlink("a.b", f.at("link")).unwrap();
            },
            Status::Fail,
            0,
        ),
        (
            "a directory moved away and a copy put there",
            |f| {
                fs::rename(f.at("a/c"), f.at("empty/c")).unwrap();
                fs::create_dir(f.at("a/c")).unwrap();
                fs::write(f.at("a/c/deep"), "DEEP").unwrap();
                fs::remove_dir_all(f.at("empty/c")).unwrap();
            },
            Status::Fail,
            1,
        ),
    ];
    for (name, trick, status, reads) in rows {
        let fixture = fixture().built();
        let passed = passed(&fixture);
        a_moment();
        trick(&fixture);
        assert!(!is_unchanged(&fixture, &passed).0, "{name}");
        assert_eq!(again(&fixture, &passed), (*status, *reads), "{name}");
    }
}

/// Only root can give files away.
#[test]
fn another_owner_is_seen() {
    let fixture = fixture().with(|tree| tree.attributes.owner = true).built();
    let passed = passed(&fixture);
    a_moment();
    if chown(fixture.at("a.b"), Some(12_345), None).is_ok() {
        assert!(!is_unchanged(&fixture, &passed).0);
        assert_eq!(again(&fixture, &passed).0, Status::Fail);
    }
}

/// A change within the step of the clock that the times already name leaves no trace but in the bytes. No test can make one
/// at will, so it is made of two trees: the looks of the changed one, the bytes of the other.
#[test]
fn what_has_just_been_written_is_read_each_time() {
    let fixture = fixture().built();
    let before = passed_at(&fixture, now_ms());
    assert_eq!(is_unchanged(&fixture, &before), (true, 5), "all five are fresh");
    assert_eq!(again(&fixture, &before), (Status::Pass, 5));

    fs::write(fixture.at("a/b.txt"), "HELLO").unwrap();
    let fixture = fixture.built();
    let after = passed_at(&fixture, now_ms());
    assert_eq!(is_unchanged(&fixture, &after), (true, 5));
    let unseen = with_digests_of(&after, &before);
    assert!(!is_unchanged(&fixture, &unseen).0, "the looks are those of now, the bytes are not");
}

/// Between two checks, only what the clock may hide is read: what was left alone for a moment, although no mapping's minute has
/// passed, is believed by its looks.
#[test]
fn a_look_between_checks_reads_what_was_written_just_before() {
    for (left_alone_ms, racy) in [(0, 5), (200, 5), (3_000, 0), (59_000, 0)] {
        for extras in [Extras::Refuse, Extras::Allow] {
            let fixture = fixture().built().with(|tree| tree.extras = extras);
            let passed = passed_at(&fixture, now_ms() + left_alone_ms);
            let passed = Passed::from_bytes(&passed.to_bytes()).unwrap();
            let by_walk = extras == Extras::Refuse || racy == 0;
            assert_eq!(looks_unchanged(&fixture, &passed, Care::Look), (by_walk, racy), "{left_alone_ms}");
            assert_eq!(looked_again(&fixture, &passed, Care::Look), (Status::Pass, racy), "{left_alone_ms}");
            assert_eq!(again(&fixture, &passed), (Status::Pass, 5), "{left_alone_ms}");
            for later_ms in [3_000, 2 * FRESH_MS] {
                let (last, at_ms) = (Some((&passed, Care::Look)), now_ms() + left_alone_ms + later_ms);
                let looked = check_again(&fixture.tree, fixture.dir.path(), &NoProgress, last, at_ms).1.unwrap();
                let looks = looks_unchanged(&fixture, &looked, Care::Look);
                assert_eq!(looks, (true, 0), "what was racy was read once more");
                let settled = if racy == 5 && later_ms == 2 * FRESH_MS { 0 } else { 5 };
                assert_eq!(
                    again(&fixture, &looked),
                    (Status::Pass, settled),
                    "a look proves nothing of what it did not read"
                );
            }
            a_moment();
            fs::write(fixture.at("a/b.txt"), "HELLO").unwrap();
            assert!(!looks_unchanged(&fixture, &passed, Care::Look).0);
            assert_eq!(looked_again(&fixture, &passed, Care::Look), (Status::Fail, racy.max(1)), "{left_alone_ms}");
        }
    }
}

fn with_digests_of(looks: &Passed, bytes: &Passed) -> Passed {
    let (looks, bytes) = (looks.to_bytes(), bytes.to_bytes());
    // The fresh come after the stamps, and are as many and as long in both.
    let fresh_at = 24 + 6 * 8 + 10 * 8;
    Passed::from_bytes(&[&looks[..fresh_at], &bytes[fresh_at..]].concat()).unwrap()
}

/// Names that nobody is asked about may come and go; what is listed may not.
#[test]
fn what_is_nobodys_business_changes_nothing() {
    for ignore in [true, false] {
        let fixture = fixture().built().with(|tree| match ignore {
            true => tree.ignore = vec!["*.log".into()],
            false => tree.extras = Extras::Allow,
        });
        let passed = passed(&fixture);
        a_moment();
        fs::write(fixture.at("a/x.log"), "").unwrap();
        assert_eq!(is_unchanged(&fixture, &passed), (true, 0), "ignore: {ignore}");
        fs::write(fixture.at("a/x.other"), "").unwrap();
        assert_eq!(is_unchanged(&fixture, &passed).0, !ignore, "ignore: {ignore}");
        fs::remove_file(fixture.at("a/x.other")).unwrap();
        fs::remove_file(fixture.at("a/b.txt")).unwrap();
        assert!(!is_unchanged(&fixture, &passed).0, "ignore: {ignore}");
    }
}

#[test]
fn of_another_tree_nothing_is_believed() {
    let (one, other) = (fixture().built(), fixture().built());
    let passed = passed(&one);
    assert!(!is_unchanged(&other, &passed).0);
    fs::remove_dir_all(one.at("a")).unwrap();
    assert!(!is_unchanged(&one, &passed).0);
}

/// The files of an image have the times that its builder gave them: another image may have the same, and another content. Here
/// only the mount is another.
#[test]
fn of_another_mount_nothing_is_believed() {
    if std::env::var_os(IN_A_NAMESPACE).is_none() {
        return in_a_namespace("passed::of_another_mount_nothing_is_believed");
    }
    let fixture = fixture().built();
    let passed = passed(&fixture);
    let kept = Passed::from_bytes(&passed.to_bytes()).unwrap();
    let mount = |arguments: &[&str]| {
        let root = fixture.dir.path();
        assert!(std::process::Command::new("mount").args(arguments).args([root, root]).status().unwrap().success());
    };
    mount(&["--bind"]);
    for remembered in [&passed, &kept] {
        assert!(!is_unchanged(&fixture, remembered).0);
        assert_eq!(again(&fixture, remembered), (Status::Pass, 5), "all is read");
    }
    let is_writable = || super::super::passed::is_writable(&fs::File::open(fixture.dir.path()).unwrap().into());
    assert!(is_writable());
    mount(&["-o", "remount,bind,ro"]);
    assert!(!is_writable(), "what an image is told by where mounts have no numbers of their own");
    let unmounted = std::process::Command::new("umount").arg(fixture.dir.path()).status().unwrap();
    assert!(unmounted.success() && is_unchanged(&fixture, &passed).0);
}

/// What a failed check saw is not remembered.
#[test]
fn what_does_not_pass_is_not_remembered() {
    let fixture = fixture().built();
    fs::write(fixture.at("extra"), "").unwrap();
    let (outcome, passed) = check_again(&fixture.tree, fixture.dir.path(), &NoProgress, None, now_ms());
    assert_eq!((outcome.status, passed), (Status::Fail, None));
}

#[test]
fn file_systems() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!times_are_kept(Path::new("/proc")), "not one of those");
    assert!(!times_are_kept(Path::new("/dev/shm")), "tmpfs");
    assert!(!times_are_kept(&dir.path().join("none")));
}
