//! Changes at the very moments that matter: between looking at a thing and opening it, and while it is read.

use std::{
    io::{Seek as _, Write as _},
    process::{Command, Stdio},
    time::SystemTime,
};

use super::*;

/// Does something once: at the first question whether to go on, which comes after the first thing was looked at (`lstat`) and
/// before any file is opened.
struct BeforeOpening<F: Fn() + Sync>(Mutex<Option<F>>);

impl<F: Fn() + Sync + Send> Progress for BeforeOpening<F> {
    fn cancelled(&self) -> bool {
        if let Some(act) = self.0.lock().unwrap().take() {
            act();
        }
        false
    }
}

/// Does something once: when some of a large file has been read.
struct WhileReading<F: Fn() + Sync>(Mutex<Option<F>>);

impl<F: Fn() + Sync + Send> Progress for WhileReading<F> {
    fn hashed(&self, _: u64, bytes: u64) {
        if bytes >= 1_000
            && let Some(act) = self.0.lock().unwrap().take()
        {
            // Before Linux 6.13 times move on in steps of up to 10 ms.
            std::thread::sleep(core::time::Duration::from_millis(20));
            act();
        }
    }
}

/// A root with one thing in it, which sorts first, and a file; beside the root, what it is swapped for.
fn one_thing(make: impl FnOnce(&Path)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("a"));
    fs::write(dir.path().join("z"), "z").unwrap();
    Fixture { dir, tree: Tree::new("app", "/nowhere") }.built()
}

type Swap = fn(&Path, &Path);

/// What was a file by `lstat` is another thing when it is opened: never read, never waited for, never told as what it was.
#[test]
fn a_file_is_swapped_before_it_is_opened() {
    let rows: &[(&str, Swap)] = &[
        ("gone", |_, _| {}),
        ("a link to the same content", |a, elsewhere| symlink(elsewhere.join("same"), a).unwrap()),
        ("a link that leads nowhere", |a, _| symlink("nowhere", a).unwrap()),
        ("a link to something of the kernel's", |a, _| symlink("/proc/self/fd/0", a).unwrap()),
        ("a fifo that nobody writes to", |a, _| {
            rustix::fs::mkfifoat(rustix::fs::CWD, a, 0o600.into()).unwrap();
        }),
        ("a socket", |a, _| drop(UnixListener::bind(a).unwrap())),
        ("a directory", |a, _| fs::create_dir(a).unwrap()),
        ("another file with the same content", |a, elsewhere| fs::rename(elsewhere.join("same"), a).unwrap()),
        ("a hard link to another file", |a, elsewhere| fs::hard_link(elsewhere.join("same"), a).unwrap()),
        ("a device that never ends", |a, _| {
            let device = rustix::fs::makedev(1, 5);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let made = rustix::fs::mknodat(rustix::fs::CWD, a, rustix::fs::FileType::CharacterDevice, mode, device);
            assert!(made.is_ok() || !rustix::process::geteuid().is_root());
        }),
    ];
    for (name, swap) in rows {
        let fixture = one_thing(|a| fs::write(a, "hello").unwrap());
        let elsewhere = tempfile::tempdir_in(fixture.dir.path().parent().unwrap()).unwrap();
        fs::write(elsewhere.path().join("same"), "hello").unwrap();
        let act = || {
            fs::remove_file(fixture.at("a")).unwrap();
            swap(&fixture.at("a"), elsewhere.path());
        };
        let outcome = check(&fixture.tree, fixture.dir.path(), &BeforeOpening(Mutex::new(Some(act))));
        assert_eq!((outcome.status, shown(&outcome)), (Status::Unknown, vec!["a unstable - -".into()]), "{name}");
    }
}

/// The same of a directory: the walk never follows it out of the tree, nor takes another's content for its own.
#[test]
fn a_directory_is_swapped_before_it_is_opened() {
    let rows: &[(&str, Swap)] = &[
        ("gone", |_, _| {}),
        ("a link to its twin", |a, elsewhere| symlink(elsewhere.join("twin"), a).unwrap()),
        ("its twin", |a, elsewhere| fs::rename(elsewhere.join("twin"), a).unwrap()),
        ("a file", |a, _| fs::write(a, "").unwrap()),
        ("a fifo", |a, _| rustix::fs::mkfifoat(rustix::fs::CWD, a, 0o600.into()).unwrap()),
    ];
    for (name, swap) in rows {
        let fixture = one_thing(|a| {
            fs::create_dir(a).unwrap();
            fs::write(a.join("x"), "x").unwrap();
        });
        let elsewhere = tempfile::tempdir_in(fixture.dir.path().parent().unwrap()).unwrap();
        fs::create_dir(elsewhere.path().join("twin")).unwrap();
        fs::write(elsewhere.path().join("twin/x"), "x").unwrap();
        let act = || {
            fs::rename(fixture.at("a"), elsewhere.path().join("former")).unwrap();
            swap(&fixture.at("a"), elsewhere.path());
        };
        let outcome = check(&fixture.tree, fixture.dir.path(), &BeforeOpening(Mutex::new(Some(act))));
        assert_eq!(outcome.status, Status::Unknown, "{name}: {outcome:?}");
        assert_eq!(shown(&outcome)[0], "a unstable - -", "{name}");
    }
}

/// What is mounted while the walk goes on is not what was looked at: of another file system or of the same, over a directory
/// or over a file.
#[test]
fn a_mount_appears_during_the_walk() {
    if std::env::var_os(IN_A_NAMESPACE).is_none() {
        return in_a_namespace("races::a_mount_appears_during_the_walk");
    }
    fn mount(arguments: &[&str], on: &Path) {
        let status = Command::new("mount").args(arguments).arg(on).status().unwrap();
        assert!(status.success(), "mount {arguments:?}");
    }
    let rows: &[(&str, Swap, &str)] = &[
        ("another file system", |a, _| mount(&["-t", "tmpfs", "none"], a), "a type dir mount"),
        ("itself", |a, _| mount(&["--bind", a.to_str().unwrap()], a), "a type dir mount"),
        ("its twin", |a, twin| mount(&["--bind", twin.to_str().unwrap()], a), "a type dir mount"),
        ("over a file", |a, _| mount(&["--bind", a.join("x").to_str().unwrap()], &a.join("x")), "a/x type file mount"),
    ];
    for (name, act, expected) in rows {
        let fixture = one_thing(|a| {
            fs::create_dir(a).unwrap();
            fs::write(a.join("x"), "x").unwrap();
        });
        let twin = tempfile::tempdir().unwrap();
        fs::write(twin.path().join("x"), "x").unwrap();
        let act = || act(&fixture.at("a"), twin.path());
        let outcome = check(&fixture.tree, fixture.dir.path(), &BeforeOpening(Mutex::new(Some(act))));
        assert_eq!(outcome.status, Status::Fail, "{name}: {outcome:?}");
        assert!(shown(&outcome).contains(&(*expected).into()), "{name}: {outcome:?}");
        for mounted in [fixture.at("a/x"), fixture.at("a")] {
            let _ = Command::new("umount").arg(mounted).stderr(Stdio::null()).status();
        }
    }
}

/// Runs that test by itself where its mounts are nobody else's: as root only.
pub(super) fn in_a_namespace(test: &str) {
    if !rustix::process::geteuid().is_root() {
        return std::eprintln!("{test}: needs root, for mounts");
    }
    let mut alone = Command::new("unshare");
    alone.arg("--mount").arg(std::env::current_exe().unwrap()).args(["--exact", &format!("tree::tests::{test}")]);
    let output = alone.env(IN_A_NAMESPACE, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

pub(super) const IN_A_NAMESPACE: &str = "PORTCULLIS_TEST_NAMESPACE";

type Change = fn(&Path);

/// Size, times and place of what is read are looked at before and after. A change time cannot be put back.
#[test]
fn a_file_changes_while_it_is_read() {
    let rows: &[(&str, Change)] = &[
        ("grown", |big| fs::File::options().append(true).open(big).unwrap().write_all(b"x").unwrap()),
        ("truncated", |big| fs::File::options().write(true).open(big).unwrap().set_len(1 << 20).unwrap()),
        ("rewritten in place", |big| rewrite(big, None)),
        ("rewritten, and its time put back", |big| {
            let modified = fs::metadata(big).unwrap().modified().unwrap();
            rewrite(big, Some(modified));
        }),
        ("replaced by its twin", |big| {
            let twin = big.with_file_name(".twin");
            fs::copy(big, &twin).unwrap();
            fs::rename(twin, big).unwrap();
        }),
        ("removed", |big| fs::remove_file(big).unwrap()),
        ("another mode", |big| chmod(big, 0o600)),
        ("one more name elsewhere", |big| fs::hard_link(big, big.parent().unwrap().with_extension("link")).unwrap()),
        ("another owner", |big| {
            let owned = std::os::unix::fs::chown(big, Some(33), None);
            assert!(owned.is_ok() || !rustix::process::geteuid().is_root());
        }),
    ];
    for (name, change) in rows {
        let fixture = one_thing(|big| fs::write(big, vec![7; 3 << 20]).unwrap());
        let act = || change(&fixture.at("a"));
        let outcome = check(&fixture.tree, fixture.dir.path(), &WhileReading(Mutex::new(Some(act))));
        let _ = fs::remove_file(fixture.dir.path().with_extension("link"));
        if *name == "another owner" && !rustix::process::geteuid().is_root() {
            continue;
        }
        assert_eq!(outcome.status, Status::Unknown, "{name}: {outcome:?}");
        assert!(shown(&outcome).contains(&"a unstable - -".into()), "{name}: {outcome:?}");
    }
}

/// The first byte, which has been read already.
fn rewrite(path: &Path, modified: Option<SystemTime>) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.rewind().unwrap();
    file.write_all(&[8]).unwrap();
    if let Some(modified) = modified {
        file.set_modified(modified).unwrap();
    }
}

/// It is opened once: whatever stands at its path later, nothing of that is taken for it.
#[test]
fn the_root_is_replaced_while_it_is_checked() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let make = |root: &Path, content: &[u8]| {
        fs::create_dir_all(root.join("d")).unwrap();
        fs::write(root.join("a"), vec![7; 3 << 20]).unwrap();
        fs::write(root.join("d/x"), content).unwrap();
    };
    make(&root, b"good");
    let mut tree = Tree::new("app", "/nowhere");
    tree.entries = read(&tree, &root, &NoProgress).unwrap();
    // What is there is wrong; what comes to its place would pass, and was never what this check looked at.
    fs::write(root.join("d/x"), "evil").unwrap();
    make(&parent.path().join("twin"), b"good");
    let act = || {
        fs::rename(&root, parent.path().join("former")).unwrap();
        fs::rename(parent.path().join("twin"), &root).unwrap();
    };
    let outcome = check(&tree, &root, &BeforeOpening(Mutex::new(Some(act))));
    assert_eq!(outcome.status, Status::Fail, "{outcome:?}");
    assert!(shown(&outcome)[0].starts_with("d/x content sha256:"), "{outcome:?}");
    assert_eq!(check(&tree, &root, &NoProgress).status, Status::Pass);
}
