//! Processes that run, and each way in which they only seem to.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::fixture::{Running, eventually, fails, is_root, passes, untold};

/// A program that only this test runs.
struct Program {
    directory: TempDir,
}

impl Program {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy("/bin/sleep", directory.path().join("worker")).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("worker")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path());
        command.arg("1000");
        command
    }

    fn start(&self) -> Running {
        self.started(&mut self.command())
    }

    /// Once it runs the program, and no longer what started it.
    fn started(&self, command: &mut Command) -> Running {
        let running = Running::of(command);
        let exe = format!("/proc/{}/exe", running.id());
        let is_it = |link: PathBuf| link == self.path();
        eventually("it runs", || fs::read_link(&exe).is_ok_and(is_it));
        running
    }

    fn check(&self, more: &str) -> String {
        format!("process = {{ executable = \"{}\"{more} }}", self.path().display())
    }

    /// Puts another file in its place, as package managers do.
    fn replace(&self) {
        put(&self.path(), "/bin/sleep");
    }
}

fn put(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::copy(content, &new).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn as_many_as_there_should_be() {
    let program = Program::new();
    fails(&program.check(""), "processes: expected at least 1, actual none");
    passes(&program.check(", count_min = 0, count_max = 0"));
    let _one = program.start();
    passes(&program.check(""));
    fails(&program.check(", count_min = 0, count_max = 0"), "processes: expected none, actual 1");
    let _other = program.start();
    passes(&program.check(", count_min = 2, count_max = 2"));
    fails(&program.check(", count_max = 1"), "processes: expected 1, actual 2");
    fails(&program.check(", count_min = 3"), "processes: expected at least 3, actual 2");
}

#[test]
fn since_when() {
    let program = Program::new();
    let _running = program.start();
    fails(&program.check(", up_for = \"1h\""), "processes: expected at least 1 for 1h on end, actual one was started");
    eventually("up for a second", || crate::fixture::check(&program.check(", up_for = \"1s\"")).0 == "pass");
}

/// Whenever one looks it runs; it never has for long.
#[test]
fn a_crash_loop() {
    let program = Program::new();
    let script = format!("while :; do {} 0.3; done", program.path().display());
    let _loop = Running::of(Command::new("sh").args(["-c", &script]).process_group(0));
    eventually("it runs", || crate::fixture::check(&program.check("")).0 == "pass");
    for _ in 0..5 {
        let (status, reason) = crate::fixture::check(&program.check(", up_for = \"1s\""));
        assert_eq!(status, "fail", "{reason}");
    }
}

#[test]
fn a_file_that_was_replaced() {
    let program = Program::new();
    let old = program.start();
    program.replace();
    let stale =
        format!("process {}: expected what is on disk, actual runs a file that was replaced; restart it", old.id());
    fails(&program.check(""), &stale);
    passes(&program.check(", fresh = false"));
    let _new = program.start();
    fails(&program.check(""), &stale);
    drop(old);
    passes(&program.check(""));
    fs::remove_file(program.path()).unwrap();
    fails(&program.check(""), "expected a file, actual nothing there");
}

/// A file of that name is another process's business, when it is in another place; and a symlink is followed.
#[test]
fn the_file_not_its_name() {
    let (program, other) = (Program::new(), Program::new());
    let running = other.start();
    fails(
        &program.check(""),
        &format!("actual none; process {} runs `{}`, another file", running.id(), other.path().display()),
    );
    let link = program.at("link");
    std::os::unix::fs::symlink(other.path(), &link).unwrap();
    passes(&format!("process = {{ executable = \"{}\" }}", link.display()));
}

#[test]
fn a_library_that_was_replaced() {
    let program = Program::new();
    let library = program.at("libm.so.6");
    let real = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6", "/lib64/libm.so.6"];
    let real = real.iter().find(|path| fs::exists(path).unwrap()).unwrap();
    fs::copy(real, &library).unwrap();
    let running = program.started(program.command().env("LD_PRELOAD", &library));
    let maps = format!("/proc/{}/maps", running.id());
    eventually("it is mapped", || fs::read_to_string(&maps).unwrap().contains(library.to_str().unwrap()));
    passes(&program.check(""));
    put(&library, real);
    fails(&program.check(""), &format!("actual uses `{}`, which was replaced; restart it", library.display()));
    passes(&program.check(", fresh = false"));
}

#[test]
fn older_than_what_it_read() {
    let program = Program::new();
    let script = program.at("worker.py");
    fs::write(&script, "old").unwrap();
    let newer = format!(", newer_than = [\"{}\"]", script.display());
    // So that the ticks of both clocks lie apart.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let running = program.start();
    passes(&program.check(&newer));
    std::thread::sleep(std::time::Duration::from_millis(100));
    put(&script, "/etc/passwd");
    fails(&program.check(&newer), &format!("was started before `{}` was changed; restart it", script.display()));
    fails(&program.check(&format!("{newer}, fresh = false")), "was started before");
    drop(running);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let _running = program.start();
    passes(&program.check(&newer));
    fails(&program.check(", newer_than = [\"/nowhere\"]"), "/nowhere: expected a file, actual nothing there");
}

/// Nothing that is in it is younger than the process, only where it is.
#[test]
fn older_than_where_it_read_from() {
    let program = Program::new();
    for (name, text) in [("old/lib/worker.py", "old"), ("new/lib/worker.py", "new")] {
        fs::create_dir_all(program.at(name).parent().unwrap()).unwrap();
        fs::write(program.at(name), text).unwrap();
    }
    std::os::unix::fs::symlink("old", program.at("current")).unwrap();
    let newer = |name: &str| program.check(&format!(", newer_than = [\"{}\"]", program.at(name).display()));
    std::thread::sleep(std::time::Duration::from_millis(50));
    let _running = program.start();
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::write(program.at("old/lib/worker.log"), "").unwrap();
    passes(&newer("old/lib/worker.py"));
    passes(&newer("current/lib/worker.py"));
    std::os::unix::fs::symlink("new", program.at("next")).unwrap();
    fs::rename(program.at("next"), program.at("current")).unwrap();
    let changed = |name: &str| format!("was started before `{}` was changed", program.at(name).display());
    fails(&newer("current/lib/worker.py"), &changed("current"));
    fs::rename(program.at("old"), program.at("gone")).unwrap();
    fs::rename(program.at("new"), program.at("old")).unwrap();
    fails(&newer("old/lib/worker.py"), &changed("old"));
}

#[test]
fn arguments_and_users() {
    let program = Program::new();
    let _running = program.start();
    passes(&program.check(", arguments_contain = \"worker 1000\""));
    fails(&program.check(", arguments_contain = \"worker 1001\""), "actual none; 1 with other arguments");
    untold(&program.check(", user = \"no-such-user\""), "there is no user `no-such-user`");
    let me = rustix::process::geteuid().as_raw();
    passes(&program.check(&format!(", user = \"{me}\"")));
    fails(&program.check(", user = \"4242\""), "actual none; 1 as another user");
    if is_root("another user") {
        let _other = program.started(program.command().uid(65_534).gid(65_534));
        passes(&program.check(", user = \"nobody\", count_max = 1"));
        passes(&program.check(", count_min = 2"));
    }
}

/// Nobody ever runs that very file.
#[test]
fn a_script_is_run_by_another() {
    let program = Program::new();
    fs::write(program.path(), "#!/bin/sh\nsleep 1000\n").unwrap();
    fails(&program.check(""), "; it is a script: ");
}

/// In a container the same path is another file: its processes are none of ours.
#[test]
fn the_same_path_in_a_container() {
    if !is_root("mounts") {
        return;
    }
    let program = Program::new();
    let root = program.at("root");
    let inside = root.join(program.path().strip_prefix("/").unwrap());
    let script = r#"set -e
        mkdir -p "$1" && mount -t tmpfs none "$1" && cd "$1"
        for part in usr lib lib64; do mkdir -p "$part"; [ ! -e "/$part" ] || mount --bind "/$part" "$part"; done
        mkdir -p "$(dirname "$2")" && cp /bin/sleep "$2"
        mkdir old && pivot_root . old && exec "$3" 1000"#;
    let mut container = Command::new("unshare");
    container.args(["--mount", "sh", "-c", script, "sh"]).arg(&root).arg(&inside).arg(program.path());
    let _inside = program.started(container.stdout(Stdio::null()));
    fails(&program.check(""), "actual none");
    let _ours = program.start();
    passes(&program.check(", count_max = 1"));
}

#[test]
fn without_the_right_to_look() {
    if !is_root("another user") {
        return;
    }
    let program = Program::new();
    let _running = program.start();
    let fixture = crate::fixture::fixture().with_check(&program.check(""));
    let agent = fixture.at("agent");
    crate::fixture::copy_of_agent(&agent);
    let mut command = Command::new(agent);
    let run = crate::fixture::Run::of(command.args(fixture.arguments()).arg("--json").uid(65_534).gid(65_534));
    let (status, reason) = run.outcome(1);
    assert_eq!(status, "unknown", "{reason}");
    assert!(reason.starts_with("none; ") && reason.contains("processes would not tell what they run"), "{reason}");
}
