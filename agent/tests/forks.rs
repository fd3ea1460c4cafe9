//! A command that forks faster than one can look. In a program of its own: it takes all the processes that its user may have,
//! and would starve the other tests' commands.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[path = "check/fixture.rs"]
#[expect(dead_code, reason = "made for more than this")]
mod fixture;

use fixture::{fixture, is_root};

#[test]
fn leaves_nothing() {
    // Each starts two, and so on: as many as the limit allows.
    let script = "f() { sleep 4006.6 >/dev/null 2>&1 & f & f & }; f; sleep 4006.6";
    for without_cgroup in [false, true] {
        if without_cgroup && !is_root("mounts") {
            continue;
        }
        let fixture = fixture().with_command(&["bash", "-c", &format!("ulimit -u 300; {script}")], 1_000);
        let run = if without_cgroup { fixture.json_after_mounting("umount -l -a -t cgroup2") } else { fixture.json() };
        assert_ne!(run.exit, 0, "{run:?}");
        assert_eq!(alive(), 0, "without cgroup: {without_cgroup}");
    }
}

fn alive() -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains("4006.6")).count()
}
