//! Without a controller.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis::{
    check::window::Window,
    duration::Span,
    manifest::{Check, Manifest, Tree},
    tree::{self, NoProgress},
};

use super::fixture::{Machine, PAGE, eventually};

#[test]
fn ready_is_what_passed_last_where_that_is_wanted() {
    let machine = Machine::new();
    let unready = "[drift]\nwithout_controller = \"unready\"\n";
    let agent = machine.configured(&format!("[checks]\nmanifest = \"manifest.json\"\n{unready}")).start();
    agent.until_readyz_says("no_manifest\n`");
    fs::write(machine.path("manifest.json"), machine.release("one", &[]).envelope).unwrap();
    agent.until_ready();
    fs::write(machine.path("site/extra"), "").unwrap();
    agent.until_readyz_says("checks_failing\n");
    assert_eq!(agent.get("/readyz").0, 503);
    fs::remove_file(machine.path("site/extra")).unwrap();
    agent.until_ready();
    fs::write(machine.path("manifest.json"), PAGE).unwrap();
    agent.until_readyz_says("not a manifest to believe");
    assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()));
    assert!(!machine.path("state/agent.key").exists(), "it needs no key");
}

#[test]
fn ready_is_what_has_passed_and_drift_is_told() {
    let machine = Machine::new();
    fs::write(machine.path("site/extra"), "").unwrap();
    fs::write(machine.path("manifest.json"), machine.release("one", &[]).envelope).unwrap();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\n").start();
    agent.until_readyz_says("site: extra: extra");
    assert_eq!(agent.get("/readyz"), (503, "checks_failing\n".into()), "not before it has passed");
    fs::remove_file(machine.path("site/extra")).unwrap();
    agent.until_ready();
    fs::write(machine.path("site/extra"), "").unwrap();
    agent.until_readyz_says("drift since");
    assert_eq!(agent.get("/readyz"), (200, "ok\n".into()));
    for (page, told) in [("/readyz?verbose", "site: extra: extra"), ("/v1/report", "\"ready\":false")] {
        let (_, body) = agent.get(page);
        assert!(body.contains(told), "{body}");
    }
    fs::write(machine.path("manifest.json"), PAGE).unwrap();
    agent.until_readyz_says("not a manifest to believe");
    assert_eq!(agent.get("/readyz").0, 200);
    drop(agent);
    let agent = machine.start();
    agent.until_readyz_says("not a manifest to believe");
    assert_eq!(agent.get("/readyz").0, 503, "a new process has seen nothing pass");
}

/// A deploy in place: files first, then the manifest that says so. Nothing waits for a round.
#[test]
fn another_manifest_is_noticed_at_once() {
    let machine = Machine::new();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\n").hourly().start();
    agent.until_readyz_says("no_manifest\n`");
    fs::write(machine.path("draft"), machine.release("one", &[]).envelope).unwrap();
    fs::rename(machine.path("draft"), machine.path("manifest.json")).unwrap();
    agent.until_ready();
    fs::write(machine.path("manifest.json"), machine.release("two", &[]).envelope).unwrap();
    agent.until_readyz_says("release two");
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("content: index.html");
    fs::write(machine.path("manifest.json"), "half of it").unwrap();
    agent.until_readyz_says("not a manifest to believe");
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    fs::write(machine.path("manifest.json"), machine.release("three", &[]).envelope).unwrap();
    agent.until_readyz_says("release three");
    assert!(!agent.get("/readyz?verbose").1.contains("drift since"));
}

/// What one release's checks have shown says nothing of those of the same name in the next.
#[test]
fn another_manifest_begins_its_windows_anew() {
    let machine = Machine::new();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\n").start();
    let release = |name: &str, program: &str| {
        let tree = Tree::new("site", machine.path("site").to_str().unwrap());
        let entries = tree::read(&tree, &machine.path("site"), &NoProgress).unwrap();
        let window = Window { within: Some(Span::from_s(3_600)), hold: None };
        let checks = vec![Check { window, ..Check::command("steady", [program]) }];
        let trees = vec![Tree { entries, ..tree }];
        machine.signed(&Manifest { product: "shop".into(), release: name.into(), sequence: 1, trees, checks })
    };
    fs::write(machine.path("manifest.json"), release("one", "true").envelope).unwrap();
    agent.until_ready();
    fs::write(machine.path("manifest.json"), release("two", "false").envelope).unwrap();
    agent.until_readyz_says("steady: unknown: not yet, after ");
}

/// What serves is watched by the last manifest that was believed, and nothing is due for an hour.
#[test]
fn a_manifest_that_is_not_believed_ends_no_watching() {
    let machine = Machine::new();
    fs::write(machine.path("manifest.json"), machine.release("one", &["true"]).envelope).unwrap();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\n").hourly().start();
    agent.until_ready();
    let stranger = portcullis::signature::SigningKey::generate(&[8; 32]);
    fs::write(machine.path("manifest.json"), machine.release_by("evil", &[], &stranger).envelope).unwrap();
    agent.until_readyz_says("not a manifest to believe");
    for _ in 0..2 {
        fs::write(machine.path("site/index.html"), "drift").unwrap();
        agent.until_readyz_says("drift since");
        let (status, said) = agent.get("/readyz?verbose");
        assert!(status == 200 && said.contains("content: index.html"), "{said}");
        assert!(said.contains("not a manifest to believe") && said.contains("release one"), "{said}");
        fs::write(machine.path("site/index.html"), PAGE).unwrap();
        eventually("mended", || (!agent.get("/readyz?verbose").1.contains("drift since")).then_some(()));
        assert!(agent.get("/readyz?verbose").1.contains("not a manifest to believe"));
    }
    fs::remove_file(machine.path("manifest.json")).unwrap();
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("drift since");
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    fs::write(machine.path("manifest.json"), machine.release("two", &[]).envelope).unwrap();
    agent.until_readyz_says("release two");
    eventually("believed", || (!agent.get("/readyz?verbose").1.contains("manifest.json")).then_some(()));
}

/// Long before a round is due.
#[test]
fn drift_makes_unready_at_once_and_its_end_ready() {
    let machine = Machine::new();
    fs::write(machine.path("manifest.json"), machine.release("one", &["true"]).envelope).unwrap();
    let config = "[checks]\nmanifest = \"manifest.json\"\n[drift]\nwithout_controller = \"unready\"\n";
    fs::write(machine.path("site/index.html"), "half a deploy").unwrap();
    let agent = machine.configured(config).hourly().start();
    agent.until_readyz_says("content: index.html");
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    agent.until_ready();
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("checks_failing\nrelease one");
    assert!(agent.get("/v1/report").1.contains("\"command\",\"status\":\"pass\""), "{:?}", agent.get("/v1/report"));
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    agent.until_ready();
}

/// The threads that read a serving instance's files run only when no other wants to, and read when no other reads: the kernel takes the
/// class of a thread's reads from `SCHED_IDLE`. Before it serves, nothing on it matters more than being proven.
#[test]
fn a_serving_instance_is_read_at_idle_priority() {
    let machine = Machine::new();
    let content = vec![b'x'; 48 << 20];
    fs::write(machine.path("site/index.html"), &content).unwrap();
    let tree = Tree::new("site", machine.path("site").to_str().unwrap());
    let tree = Tree { entries: tree::read(&tree, &machine.path("site"), &NoProgress).unwrap(), ..tree };
    let manifest =
        Manifest { product: "shop".into(), release: "one".into(), sequence: 1, trees: vec![tree], checks: vec![] };
    fs::write(machine.path("manifest.json"), machine.signed(&manifest).envelope).unwrap();
    fs::write(machine.path("site/extra"), "").unwrap();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\ncache = false\n").start();
    let idle = ("5".to_string(), "19".to_string());
    let usual = priority(Path::new("/proc/self")).unwrap();
    let mut seen = Vec::new();
    eventually("read", || {
        seen.extend(checking(agent.pid()));
        (!seen.is_empty() && agent.get("/readyz?verbose").1.contains("site: extra")).then_some(())
    });
    assert!(seen.contains(&usual) && !seen.contains(&idle), "{seen:?}");
    fs::remove_file(machine.path("site/extra")).unwrap();
    agent.until_ready();
    eventually("read at idle priority", || checking(agent.pid()).contains(&idle).then_some(()));
}

/// Policy and niceness of each thread of the processes that check.
fn checking(agent: u32) -> Vec<(String, String)> {
    let items = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|item| item.path());
    let children = items("/proc".into()).filter(|path| stat(path).get(1) == Some(&agent.to_string()));
    let threads = children.flat_map(|child| items(child.join("task")));
    threads.filter_map(|thread| priority(&thread)).collect()
}

fn priority(thread: &Path) -> Option<(String, String)> {
    let fields = stat(thread);
    Some((fields.get(38)?.clone(), fields.get(16)?.clone()))
}

/// What the kernel says of a process or thread, after its name: proc_pid_stat(5).
fn stat(of: &Path) -> Vec<String> {
    let stat = fs::read_to_string(of.join("stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    fields.split_ascii_whitespace().map(String::from).collect()
}
