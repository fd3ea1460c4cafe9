//! What the real program must survive: kernels of old, file systems that hang, things that are no files.
//!
//! What changes while it is read is beside the code (`src/tree/tests/races.rs`), where one can step in at the right moment.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use portcullis::{
    facts::Facts,
    manifest::{Entry, EntryKind, Manifest, Tree},
    outcome::{Outcome, Status},
};
use portcullis_agent::{
    checks::{Checks, Options},
    clock,
};

use crate::fixture::{AGENT, Fixture, Run, fixture, is_root};

/// A program beside these tests, for Python.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check").join(name)
}

/// On a kernel that answers `error` to these system calls; before that, `mount` finds the tree at `$APP`.
fn without(error: &str, calls: &str, fixture: &Fixture, mount: &str, more: &[&str]) -> Run {
    let mut command = Command::new("unshare");
    let shell = format!("set -e; {mount}; exec \"$@\"");
    command.args(["-m", "sh", "-c", &shell, "sh", "python3"]).arg(script("without.py"));
    command.args([error, calls, AGENT]).args(fixture.arguments()).arg("--json").args(more);
    Run::of(command.env("APP", fixture.at("app")))
}

/// Containers of some age answer EPERM to what they have not heard of.
#[test]
fn a_kernel_without_openat2() {
    assert!(is_root("mounts"));
    for error in ["ENOSYS", "EPERM"] {
        let fixture = fixture();
        let check = |mount: &str| without(error, "openat2", &fixture, mount, &[]);
        let run = check("true");
        assert_eq!(run.exit, 0, "{run:?}");
        for (mount, expected) in [
            ("mount -t tmpfs none $APP/a", "a type dir mount"),
            ("mount --bind $APP/a $APP/a", "a type dir mount"),
            ("mount --bind $APP/b $APP/b", "b type file mount"),
        ] {
            let run = check(mount);
            assert_eq!((run.exit, run.differences()), (1, vec![expected.to_string()]), "{error} {mount}: {run:?}");
        }
        assert_eq!(check("mount --bind $APP $APP").exit, 0, "the root itself may be a mount");
        fs::remove_file(fixture.app("b")).unwrap();
        std::os::unix::fs::symlink("a/i.php", fixture.app("b")).unwrap();
        assert_eq!(check("true").differences(), ["b type file link"]);
    }
}

/// With neither openat2 nor mount ids nobody can keep a walk inside its mount.
#[test]
fn a_kernel_without_mount_ids_either() {
    assert!(is_root("a namespace"));
    let fixture = fixture();
    let run = without("ENOSYS", "openat2,statx", &fixture, "true", &[]);
    let reason = "this kernel cannot keep a walk inside its mount: Linux 5.8 is needed";
    assert_eq!((run.exit, run.outcome(0)), (2, ("unknown".into(), reason.into())));
    // In an image every path is resolved by openat2: there is no other way to stay in it.
    let run = without("ENOSYS", "openat2", &fixture, "true", &["--root", "/"]);
    assert_eq!((run.exit, run.outcome(0)), (2, ("unknown".into(), reason.into())));
}

#[test]
fn a_socket_is_no_file() {
    let fixture = fixture();
    fs::remove_file(fixture.app("b")).unwrap();
    let _socket = UnixListener::bind(fixture.app("b")).unwrap();
    assert_eq!(fixture.json().differences(), ["b type file socket"]);
}

/// A file system that hangs, until it is dropped.
struct Hanging {
    server: Child,
    at: PathBuf,
}

impl Hanging {
    fn mounted(at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let mut server = Command::new("python3");
        let mut server = server.arg(script("hanging.py")).arg(&at).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n");
        Self { server, at }
    }

    /// All that hangs in it comes back with an error.
    fn die(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.die();
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn trees(manifest: &Arc<Manifest>, checks: &Checks) -> Vec<(String, Status, String)> {
    let told = |outcome: Outcome| (outcome.check, outcome.status, outcome.reason.unwrap_or_default());
    checks.run_all(manifest, &Facts::default()).into_iter().map(told).collect()
}

/// The worker is given up, the outcome is unknown, no second one is started, and nothing else waits.
#[test]
fn a_read_that_hangs() {
    assert!(is_root("a file system of one's own"));
    let mut fixture = fixture();
    let mut hanging = Hanging::mounted(fixture.at("hanging"));
    let kind = EntryKind::File { size: 5, sha256: portcullis::digest::Digest::of(b"hello"), text: None };
    let entry = Entry { path: b"b".to_vec(), kind, mode: None, owner: None };
    let tree = Tree { entries: vec![entry], ..Tree::new("hanging", hanging.at.to_str().unwrap()) };
    fixture.manifest.trees.insert(0, tree);
    let manifest = Arc::new(fixture.manifest.clone());
    let checks = Checks::new(Options { tree_timeout: Duration::from_secs(1), ..Options::default() });
    let app = ("app".to_string(), Status::Pass, String::new());
    let unknown = |reason: &str| ("hanging".to_string(), Status::Unknown, reason.to_string());
    let began = clock::monotonic();
    assert_eq!(trees(&manifest, &checks), [unknown("given up after 1 s"), app.clone()]);
    assert_eq!(trees(&manifest, &checks), [unknown("not run: an earlier one still hangs"), app.clone()]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Once it comes back, it is looked at again.
    hanging.die();
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while trees(&manifest, &checks)[0].2.contains("still hangs") {
        assert!(clock::monotonic() < deadline, "it never came back");
        thread::sleep(Duration::from_millis(20));
    }
}
