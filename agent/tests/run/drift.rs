//! What happens to a serving instance's files is noticed and reported long before a round is due: rounds come by the agent's own
//! clock, which is set to one an hour, and the controller asks for one as seldom as it may.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    thread,
    time::Duration,
};

use portcullis::{
    check::{CheckKind, tcp::Tcp},
    manifest::{Check, EntryKind, Manifest, Tree},
    outcome::{Problem, Status},
    report::Report,
    tree::{self, NoProgress},
};

use super::{
    controller::{Controller, Lie},
    fixture::{Agent, Machine, PAGE, Release, eventually},
};

/// Admitted, and no round is due for a long time.
fn serving(machine: &Machine, controller: &Controller, command: &[&str]) -> Agent {
    controller.promotes(&machine.release("one", command));
    controller.says("admitted");
    controller.script().poll_after_s = SELDOM_S;
    let agent = machine.configured_for(controller.address).hourly().start();
    agent.until_ready();
    agent
}

/// The first report from now on that is as wanted; drops all before.
fn reported(controller: &Controller, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
    eventually(&format!("reported: {what}"), || {
        let script = controller.script();
        let found = script.reports.iter().position(&wanted)?;
        Some(script.reports[found].clone())
    })
}

fn status(report: &Report) -> Status {
    report.outcomes[0].status
}

fn names(report: &Report, problem: Problem, path: &str) -> bool {
    report.outcomes[0].differences.iter().any(|found| found.problem == problem && found.path == path)
}

/// The longest pause that a controller can ask for is four minutes; nothing here waits for so long.
const SELDOM_S: u64 = 3_600;

/// What it is told as, of which path; how it is made, and unmade.
type Change<'a> = (Problem, &'a str, &'a dyn Fn(), &'a dyn Fn());

#[test]
fn every_kind_of_change_is_reported_by_name_and_so_is_its_end() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving(&machine, &controller, &[]);
    agent.until_readyz_says("watching 1 directory");
    let at = |path: &str| machine.path("site").join(path);
    let mode = |mode| fs::set_permissions(at("index.html"), fs::Permissions::from_mode(mode)).unwrap();
    let page = || fs::write(at("index.html"), PAGE).unwrap();
    let changes: [Change<'_>; 8] = [
        (Problem::Content, "index.html", &|| fs::write(at("index.html"), "<h1>shop?</h1").unwrap(), &page),
        (Problem::Missing, "index.html", &|| fs::remove_file(at("index.html")).unwrap(), &page),
        (Problem::Extra, "added", &|| fs::write(at("added"), "").unwrap(), &|| fs::remove_file(at("added")).unwrap()),
        (Problem::Extra, "other.html", &|| fs::rename(at("index.html"), at("other.html")).unwrap(), &|| {
            fs::rename(at("other.html"), at("index.html")).unwrap();
        }),
        (Problem::Mode, "index.html", &|| mode(0o4755), &|| mode(0o644)),
        (
            Problem::Type,
            "index.html",
            &|| {
                fs::remove_file(at("index.html")).unwrap();
                symlink("/etc/passwd", at("index.html")).unwrap();
            },
            &|| {
                fs::remove_file(at("index.html")).unwrap();
                page();
            },
        ),
        (Problem::Extra, "new", &|| fs::create_dir_all(at("new/deep")).unwrap(), &|| {
            fs::remove_dir_all(at("new")).unwrap();
        }),
        (Problem::Missing, "", &|| fs::rename(at(""), machine.path("gone")).unwrap(), &|| {
            fs::rename(machine.path("gone"), at("")).unwrap();
        }),
    ];
    for (problem, path, change, back) in changes {
        controller.script().reports.clear();
        change();
        reported(&controller, path, |report| status(report) == Status::Fail && names(report, problem, path));
        assert_eq!(agent.get("/readyz").0, 200, "{path}: the controller decides");
        back();
        reported(&controller, "mended", |report| status(report) == Status::Pass);
        eventually("told", || (!agent.get("/readyz?verbose").1.contains("drift since")).then_some(()));
    }
    assert_eq!(agent.log().matches("no drift any more").count(), changes.len());
    assert!(agent.log().contains("WARN drift: site: content: index.html"), "{}", agent.log());
    let metrics = agent.get("/metrics").1;
    for told in
        ["drift 0\n", "watched_directories 1\n", "watch_overflows_total 0\n", "drift_noticed_timestamp_seconds "]
    {
        assert!(metrics.contains(&format!("portcullis_agent_{told}")), "{metrics}");
    }
    assert!(!metrics.contains("drift_noticed_total 0\n") && !metrics.contains("timestamp_seconds 0\n"), "{metrics}");
}

/// The site, with some directories more, as it is now.
fn of_all(machine: &Machine) -> Release {
    fs::create_dir_all(machine.path("site/lib/deep")).unwrap();
    for file in ["lib/a", "lib/deep/b"] {
        fs::write(machine.path("site").join(file), "as it was").unwrap();
    }
    let tree = Tree::new("site", machine.path("site").to_str().unwrap());
    let tree = Tree { entries: tree::read(&tree, &machine.path("site"), &NoProgress).unwrap(), ..tree };
    let (product, release) = ("shop".into(), "one".into());
    machine.signed(&Manifest { product, release, sequence: 1, trees: vec![tree], checks: Vec::new() })
}

fn serving_all(machine: &Machine, controller: &Controller) -> Agent {
    controller.promotes(&of_all(machine));
    controller.says("admitted");
    controller.script().poll_after_s = SELDOM_S;
    let agent = machine.configured_for(controller.address).hourly().start();
    agent.until_ready();
    agent.until_readyz_says("watching 3 directories");
    agent
}

fn counted(agent: &Agent, name: &str) -> u32 {
    let metrics = agent.get("/metrics").1;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("portcullis_agent_{name}_total ")));
    line.unwrap().parse().unwrap()
}

/// Since `before`, until there is nothing more to come of what has happened.
fn looked(agent: &Agent, before: u32) {
    eventually("looked", || (counted(agent, "looks") > before).then_some(()));
}

/// By a glance; and the look that follows tells the rest: what was written by a name outside, which no event told of.
#[test]
fn what_was_heard_of_is_told_first_and_what_was_not_is_found_all_the_same() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving_all(&machine, &controller);
    let outside = machine.path("outside");
    fs::hard_link(machine.path("site/lib/deep/b"), &outside).unwrap();
    controller.script().reports.clear();
    fs::write(&outside, "drift").unwrap();
    fs::write(machine.path("site/lib/a"), "drift").unwrap();
    let report = reported(&controller, "what was heard of", |report| status(report) == Status::Fail);
    assert!(names(&report, Problem::Content, "lib/a") && report.outcomes[0].differences.len() == 1, "{report:?}");
    let report = reported(&controller, "what was not", |report| names(report, Problem::Content, "lib/deep/b"));
    assert_eq!(report.outcomes[0].differences.len(), 2, "{report:?}");
    let log = agent.log();
    assert_eq!(log.matches("WARN drift: site: ").count(), 2, "{log}");
}

/// A look that adds nothing to what a glance has told says nothing; and while something is known to be wrong, all that is
/// wrong is told each time.
#[test]
fn a_look_says_nothing_that_was_told_before() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving_all(&machine, &controller);
    let fails = || controller.script().reports.iter().filter(|report| status(report) == Status::Fail).count();
    let looks = counted(&agent, "looks");
    fs::write(machine.path("site/lib/a"), "drift").unwrap();
    reported(&controller, "drift", |report| names(report, Problem::Content, "lib/a"));
    looked(&agent, looks);
    agent.until_readyz_says("drift since");
    assert_eq!((fails(), counted(&agent, "glances"), counted(&agent, "drift_noticed")), (1, 1, 1));
    fs::write(machine.path("site/added"), "").unwrap();
    let report = reported(&controller, "more", |report| names(report, Problem::Extra, "added"));
    assert!(names(&report, Problem::Content, "lib/a"), "{report:?}");
    assert_eq!((fails(), counted(&agent, "glances"), counted(&agent, "drift_noticed")), (2, 1, 2));
}

/// It is no evidence that all is well: the look is due all the same, and nobody hears of either.
#[test]
fn a_glance_that_finds_nothing_settles_nothing() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving_all(&machine, &controller);
    controller.script().reports.clear();
    fs::write(machine.path("site/lib/a"), "as it was").unwrap();
    looked(&agent, 0);
    assert_eq!(counted(&agent, "glances"), 1);
    // A directory that comes is for a look alone: nobody knows yet what happens in it.
    let looks = counted(&agent, "looks");
    fs::create_dir(machine.path("site/new")).unwrap();
    reported(&controller, "a new directory", |report| names(report, Problem::Extra, "new"));
    looked(&agent, looks);
    assert_eq!((counted(&agent, "glances"), controller.script().reports.len()), (1, 1));
}

/// Trees as they are, and all else as it was in the last round: that is enough to be not ready, and never enough to be ready.
#[test]
fn a_look_runs_no_command_and_its_report_has_them_all() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let ran = machine.path("ran");
    fs::write(&ran, "").unwrap();
    fs::set_permissions(&ran, fs::Permissions::from_mode(0o666)).unwrap();
    let open = Command::new("chmod").args(["o+x"]).arg(machine.path("")).status().unwrap();
    assert!(open.success());
    let command = format!("echo >>{}", ran.display());
    let agent = serving(&machine, &controller, &["sh", "-c", &command]);
    let times = || fs::read_to_string(&ran).unwrap().len();
    let before = times();
    assert!(before > 0);
    controller.script().reports.clear();
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    let report = reported(&controller, "drift", |report| status(report) == Status::Fail);
    assert_eq!(report.outcomes.iter().map(|outcome| outcome.status).collect::<Vec<_>>(), [Status::Fail, Status::Pass]);
    assert_eq!(times(), before);
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    reported(&controller, "mended", |report| report.outcomes.iter().all(|outcome| outcome.status == Status::Pass));
    assert!(times() > before, "a pass is of one round");
    drop(agent);
}

/// A round that hangs in a slow command holds up nothing: drift is reported, and the round that follows is told as well.
#[test]
fn drift_during_a_slow_round_is_reported_at_once() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let slow = machine.path("slow");
    let command = format!("test ! -e {} || sleep 1000", slow.display());
    let open = Command::new("chmod").args(["o+x"]).arg(machine.path("")).status().unwrap();
    assert!(open.success());
    controller.promotes(&machine.release("one", &["sh", "-c", &command]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start();
    agent.until_ready();
    fs::write(&slow, "").unwrap();
    eventually("a round hangs", || {
        let asked = controller.script().asked.len();
        thread::sleep(Duration::from_secs(3));
        (controller.script().asked.len() == asked).then_some(())
    });
    controller.script().reports.clear();
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    let report = reported(&controller, "drift", |report| names(report, Problem::Content, "index.html"));
    assert_eq!(report.outcomes[1].status, Status::Pass, "as it was when it was known last");
    fs::write(machine.path("site/added"), "").unwrap();
    reported(&controller, "more of it", |report| names(report, Problem::Extra, "added"));
    assert_eq!(agent.get("/readyz").0, 200);
}

/// Events are dropped when there are too many of them; that is noticed, and so is what they were about.
#[test]
fn a_storm_is_survived_and_what_it_hid_is_found() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving(&machine, &controller, &[]);
    for n in 0..60_000 {
        let name = machine.path(if n % 2 == 0 { "site/even" } else { "site/odd" });
        fs::write(&name, "").unwrap();
        fs::remove_file(&name).unwrap();
    }
    fs::create_dir(machine.path("site/new")).unwrap();
    reported(&controller, "after the storm", |report| names(report, Problem::Extra, "new"));
    fs::remove_dir(machine.path("site/new")).unwrap();
    eventually("mended", || (!agent.get("/readyz?verbose").1.contains("drift since")).then_some(()));
    let metrics = agent.get("/metrics").1;
    let looks = metrics.lines().find_map(|line| line.strip_prefix("portcullis_agent_looks_total ")).unwrap();
    assert!(looks.parse::<u32>().unwrap() < 100, "{looks} looks: each takes its share of the time only");
}

/// With the controller gone a serving instance serves; its drift is known here at once, and there when it comes back.
#[test]
fn drift_is_remembered_for_a_controller_that_is_gone() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving(&machine, &controller, &[]);
    controller.script().lies.insert("/", Lie::Silence(Duration::from_secs(1)));
    controller.script().reports.clear();
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("content: index.html");
    assert_eq!(agent.get("/readyz").0, 200);
    fs::write(machine.path("site/added"), "").unwrap();
    agent.until_readyz_says("extra: added");
    controller.script().lies.clear();
    reported(&controller, "drift", |report| names(report, Problem::Content, "index.html"));
    controller.script().lies.insert("/", Lie::Status(503));
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    fs::remove_file(machine.path("site/added")).unwrap();
    eventually("known here", || agent.log().contains("no drift any more").then_some(()));
    assert_eq!(agent.get("/readyz").0, 200);
}

/// A deploy that finishes is admitted at once, not at the next round.
#[test]
fn a_waiting_instance_is_proven_when_its_deploy_ends() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    controller.script().poll_after_s = SELDOM_S;
    fs::remove_dir_all(machine.path("site")).unwrap();
    let agent = machine.configured_for(controller.address).hourly().start();
    agent.until_readyz_says("site: missing");
    fs::create_dir(machine.path("site")).unwrap();
    fs::write(machine.path("site/index.htm"), PAGE).unwrap();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(agent.get("/readyz"), (503, "checks_failing\n".into()));
    fs::rename(machine.path("site/index.htm"), machine.path("site/index.html")).unwrap();
    agent.until_ready();
    let script = controller.script();
    assert!(
        script.reports.iter().filter(|report| status(report) == Status::Fail).count() <= 1,
        "half of it is no news"
    );
}

/// An agent that starts anew in the boot in which it was admitted: still ready, and what happened meanwhile is told.
#[test]
fn a_restart_stays_ready_and_tells_what_happened_meanwhile_and_a_reboot_proves_again() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let agent = serving(&machine, &controller, &[]);
    eventually("kept", || machine.path("state/admission.json").exists().then_some(()));
    drop(agent);
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    controller.script().reports.clear();
    let agent = machine.start();
    assert_eq!(agent.get("/readyz").0, 200);
    reported(&controller, "drift", |report| names(report, Problem::Content, "index.html"));
    agent.until_readyz_says("drift since");
    assert_eq!(agent.get("/readyz").0, 200);
    drop(agent);

    machine.boots("boot-2");
    let agent = machine.start();
    agent.until_readyz_says("content: index.html");
    assert_eq!(agent.get("/readyz"), (503, "checks_failing\n".into()), "proven in another boot");
    assert!(!agent.get("/readyz?verbose").1.contains("drift since"), "it does not serve");
    fs::write(machine.path("site/index.html"), PAGE).unwrap();
    agent.until_ready();
}

/// With `restore = true`, by the manifest that the controller handed out; while it waits to be admitted nothing is undone.
#[test]
fn an_edit_that_breaks_a_guard_is_undone_under_a_controller() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = service.local_addr().unwrap().to_string();
    let tree = Tree { restore: true, ..Tree::new("site", machine.path("site").to_str().unwrap()) };
    let mut tree = Tree { entries: tree::read(&tree, &machine.path("site"), &NoProgress).unwrap(), ..tree };
    let EntryKind::File { text, .. } = &mut tree.entries[0].kind else { panic!("the page") };
    *text = Some(PAGE.into());
    let guard = CheckKind::Tcp(Tcp { connect: connect.clone(), send: None, expect: None });
    let checks = vec![Check { guard: true, ..Check::new("service", guard) }];
    let manifest = Manifest { product: "shop".into(), release: "one".into(), sequence: 1, trees: vec![tree], checks };
    controller.promotes(&machine.signed(&manifest));
    controller.script().poll_after_s = SELDOM_S;
    let agent = machine.configured_for(controller.address).start();
    let page = || fs::read_to_string(machine.path("site/index.html")).unwrap();
    agent.until_readyz_says("held: because");
    drop(service);
    fs::write(machine.path("site/index.html"), "half a deploy").unwrap();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(page(), "half a deploy", "it does not serve yet");
    drop(agent);
    fs::write(machine.path("site/index.html"), PAGE).unwrap();

    let service = TcpListener::bind(&connect).unwrap();
    controller.says("admitted");
    let agent = machine.hourly().start();
    agent.until_ready();
    drop(service);
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    eventually("put back", || (page() == PAGE).then_some(()));
    reported(&controller, "drift", |report| names(report, Problem::Content, "index.html"));
}

#[test]
fn not_watching_is_told_and_rounds_go_on() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    machine.configured_for(controller.address);
    let config = fs::read_to_string(machine.path("agent.toml")).unwrap() + "[drift]\nwatch = false\n";
    fs::write(machine.path("agent.toml"), config).unwrap();
    let agent = machine.start();
    agent.until_ready();
    agent.until_readyz_says("warning: not watching: it is switched off");
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("drift since");
    assert!(agent.get("/metrics").1.contains("portcullis_agent_watched_directories 0\n"));
    assert!(agent.get("/metrics").1.contains("portcullis_agent_looks_total 0\n"));
}

/// The kernel's limit, met for real: in a user namespace, which has one of its own.
#[test]
fn without_watches_to_be_had_it_is_told_why() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start_with_watches(3);
    agent.until_ready();
    agent.until_readyz_says("not watching: there are more directories than `fs.inotify.max_user_watches` has left");
    fs::write(machine.path("site/index.html"), "drift").unwrap();
    agent.until_readyz_says("drift since");
}
