//! Under a real systemd, with the units as they are shipped: who waits to undo outlives the session's cgroup, and the machine.

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::fixture::{AGENT, Machine, Ran, eventually, kill};

/// A machine that systemd runs, and nginx in it; off when dropped, as by its power switch.
struct Booted<'a> {
    machine: &'a Machine,
    timeout: Child,
    first: i32,
}

impl Machine {
    /// With what is shipped, and nginx, enabled; nothing of it runs yet, or has run in this boot.
    fn with_units(self) -> Self {
        self.nginx(&["-s", "stop"]);
        eventually("nginx is gone", || (!self.path("run/nginx.pid").exists()).then_some(()));
        let mut config = self.text("agent.toml");
        for name in ["state", "boot_id", "release.key.pub", "manifest.json"] {
            config = config.replace(&format!("\"{name}\""), &format!("{:?}", self.path(name)));
        }
        fs::write(self.path("agent.toml"), config).unwrap();
        for directory in ["units", "run-inside", "state"] {
            fs::create_dir(self.path(directory)).unwrap();
        }
        for unit in SHIPPED {
            fs::copy(Path::new(DEPLOY).join(unit), self.path("units").join(unit)).unwrap();
        }
        self.unit("network.service", "Type=oneshot\nExecStart=ip link set lo up");
        let (pid, look, start) = (self.path("run/nginx.pid"), self.look("ExecStartPre", "seen"), self.nginx_argv(&[]));
        let nginx = format!("Type=forking\nPIDFile={}\n{look}\nExecStart={}", pid.display(), start.join(" "));
        self.unit("nginx.service", &nginx);
        self.wanted_by("sysinit.target", "portcullis-undo.service");
        for unit in ["network.service", "nginx.service"] {
            self.wanted_by("multi-user.target", unit);
        }
        self
    }

    fn unit(&self, name: &str, service: &str) {
        fs::write(self.path("units").join(name), format!("[Service]\n{service}\n")).unwrap();
    }

    /// What shows what a service finds when it starts.
    fn look(&self, when: &str, seen: &str) -> String {
        let (conf, seen) = (self.path("etc/nginx/conf.d/site.conf"), self.path(seen));
        format!("{when}=cp {} {}", conf.display(), seen.display())
    }

    fn wanted_by(&self, target: &str, unit: &str) {
        let wants = self.path(&format!("units/{target}.wants"));
        fs::create_dir_all(&wants).unwrap();
        symlink(format!("../{unit}"), wants.join(unit)).unwrap();
    }

    /// Until nginx, which is last, is up.
    fn boot(&self) -> Booted<'_> {
        let mut timeout = Command::new("timeout");
        timeout.args(["--signal=KILL", "120", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts"]);
        timeout.args(["--ipc", "--cgroup", "--net", "sh", BOOT]).arg(self.path("")).arg("multi-user.target");
        for (source, place) in [
            (Path::new(AGENT), Path::new("/usr/bin/portcullis-agent")),
            (Path::new(AGENT), Path::new("/usr/bin/portcullis-controller")),
            (&self.path(""), Path::new("/etc/portcullis")),
            (&self.path("state"), Path::new("/var/lib/portcullis")),
            // Numbers of processes mean something else inside.
            (&self.path("run-inside"), &self.path("run")),
        ] {
            timeout.arg(source).arg(place);
        }
        let timeout = timeout.stdin(Stdio::null()).process_group(0).spawn().unwrap();
        let mut booted = Booted { machine: self, first: 0, timeout };
        let child = |pid: u32| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            children.split_whitespace().next()?.parse::<u32>().ok()
        };
        let first = eventually("a first process", || child(child(booted.timeout.id())?));
        booted.first = i32::try_from(first).unwrap();
        booted.until_active("nginx.service");
        booted
    }
}

impl Booted<'_> {
    /// A program, inside; as somebody who came in by ssh, but in no unit.
    fn run(&self, argv: &[&str]) -> Ran {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--target={}", self.first)).args(["--all", "--root", "--wd=/", "env", "-i"]);
        nsenter.arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin").args(argv);
        Ran::of(nsenter.stdin(Stdio::null()))
    }

    fn show(&self, unit: &str, property: &str) -> String {
        let ran = self.run(&["systemctl", "show", "--value", &format!("--property={property}"), unit]);
        ran.said.trim().into()
    }

    fn until_active(&self, unit: &str) {
        eventually(unit, || (self.show(unit, "ActiveState") == "active").then_some(()));
    }

    fn until_page(&self, word: &str) {
        let url = format!("http://{}/", self.machine.web);
        eventually(word, || (self.run(&["curl", "--silent", &url]).said == word).then_some(()));
    }

    /// `apply` in a unit of its own, as a session is, whose processes end with it. Until its command is done.
    fn session(&self, options: &[&str], script: &str) {
        let unit = ["systemd-run", "--quiet", "--unit=session", "--collect", "portcullis-agent", "apply"];
        self.run(&[&unit, options, &["--", "sh", "-c", script]].concat()).is(0, "");
        self.machine.until_exited();
        self.until_page("two");
    }

    /// The unit of the one who waits.
    fn waiting(&self) -> String {
        format!("portcullis-apply-{}.service", self.machine.journal().unwrap()["id"].as_str().unwrap())
    }
}

impl Drop for Booted<'_> {
    fn drop(&mut self) {
        kill("-KILL", &[-i32::try_from(self.timeout.id()).unwrap()]);
        let _ = self.timeout.wait();
        // The first process goes with who started it, and all others with the first.
        eventually("the machine is off", || (!Path::new(&format!("/proc/{}", self.first)).exists()).then_some(()));
    }
}

/// As by a logout that leaves nobody, by the out-of-memory killer, by `systemctl stop`.
#[test]
fn the_cgroup_of_the_session_is_killed() {
    let machine = Machine::new().with_units();
    let before = machine.picture();
    let booted = machine.boot();
    for (end, because) in [
        (&["kill", "--signal=KILL", "session.service"][..], "it was not confirmed within 3s"),
        (&["kill", "--signal=HUP", "session.service"], "it was not confirmed within 3s"),
        (&["stop", "session.service"], "it was interrupted"),
    ] {
        booted.session(&["--confirm-within", "3s"], &machine.say("two"));
        let waiting = booted.waiting();
        assert_eq!(booted.show(&waiting, "ActiveState"), "active", "a unit of its own: {end:?}");
        // It may complain that processes are gone before it comes to them.
        booted.run(&[&["systemctl"], end].concat());
        eventually("it is gone", || (booted.show("session", "ActiveState") != "active").then_some(()));
        machine.until_at("undone");
        assert_eq!(machine.picture(), before, "{end:?}");
        let journal = machine.journal().unwrap();
        let told = journal["stage"]["undone"]["because"].as_str().unwrap();
        assert!(told.starts_with(because), "{end:?}: {told}");
        booted.until_page("one");
        eventually("its unit is gone", || (booted.show(&waiting, "LoadState") == "not-found").then_some(()));
        eventually("the session's too", || (booted.show("session", "LoadState") == "not-found").then_some(()));
    }
}

/// With the session, by somebody who means it: systemd starts it again.
#[test]
fn whoever_waits_is_killed_under_systemd() {
    let machine = Machine::new().with_units();
    let before = machine.picture();
    let booted = machine.boot();
    booted.session(&["--confirm-within", "8s"], &machine.say("two"));
    let waiting = booted.waiting();
    for unit in ["session", &waiting] {
        booted.run(&["systemctl", "kill", "--signal=KILL", unit]);
    }
    eventually("it is started again", || (booted.show(&waiting, "NRestarts") == "1").then_some(()));
    machine.until_at("undone");
    assert_eq!(machine.picture(), before);
    booted.until_page("one");
}

/// The power fails while a change is open. At the next boot all is back before nginx looks, or any service.
#[test]
fn the_power_fails() {
    let machine = Machine::new().with_units();
    let before = machine.picture();
    let booted = machine.boot();
    assert_eq!(booted.show("portcullis-undo.service", "ConditionResult"), "no", "there is nothing to undo");
    booted.session(&["--confirm-within", "1h"], &machine.say("two"));
    drop(booted);
    assert!(machine.is_at("open") && machine.picture() != before);
    fs::write(machine.path("boot_id"), "boot-2\n").unwrap();
    // One that nobody named, as soon as such may start; and an undoing that leaves it all the time to.
    machine.unit("other.service", &format!("Type=oneshot\n{}", machine.look("ExecStart", "seen-by-other")));
    machine.wanted_by("basic.target", "other.service");
    fs::create_dir(machine.path("units/portcullis-undo.service.d")).unwrap();
    machine.unit("portcullis-undo.service.d/slow.conf", "ExecStartPre=sleep 1");
    let booted = machine.boot();
    assert_eq!(machine.text("seen"), machine.site("one"), "nginx started with what it had before");
    assert_eq!(machine.text("seen-by-other"), machine.site("one"));
    assert!(machine.is_at("undone"));
    assert_eq!(machine.picture(), before);
    assert_eq!(machine.journal().unwrap()["stage"]["undone"]["commands"].as_array().unwrap().len(), 0);
    assert_eq!(booted.show("portcullis-undo.service", "Result"), "success");
    booted.until_page("one");
}

/// As they are, and with the rights they leave: systemd finds nothing to say, and the agent is up when it says so.
#[test]
fn the_units_are_as_they_should_be() {
    let machine = Machine::new().with_units();
    let booted = machine.boot();
    for unit in SHIPPED {
        let verified = booted.run(&["systemd-analyze", "verify", "--man=no", &format!("/etc/systemd/system/{unit}")]);
        assert!(verified.exit == Some(0) && verified.said.is_empty(), "{unit}: {verified:?}");
    }
    booted.run(&["systemctl", "start", "portcullis-agent.service"]).is(0, "");
    assert_eq!(booted.show("portcullis-agent.service", "SubState"), "running");
    let status = || booted.show("portcullis-agent.service", "StatusText");
    eventually("its first verification", || status().starts_with("ready").then_some(()));
    fs::write(machine.path("www/added"), "").unwrap();
    eventually("it sees what is changed", || status().contains("site").then_some(()));
    booted.run(&["systemctl", "stop", "portcullis-agent.service"]).is(0, "");
    assert_eq!(booted.show("portcullis-agent.service", "Result"), "success");
}

/// Whose service has few rights: what puts an edit back is a unit of its own.
#[test]
fn an_edit_is_undone_by_the_agent_as_it_is_shipped() {
    let mut machine = Machine::new();
    machine.manifest.trees[0].restore = true;
    machine.sign_as_it_is();
    let machine = machine.with_units();
    let before = machine.text("etc/nginx/conf.d/site.conf");
    let booted = machine.boot();
    booted.run(&["systemctl", "start", "portcullis-agent.service"]).is(0, "");
    eventually("ready", || booted.show("portcullis-agent.service", "StatusText").starts_with("ready").then_some(()));
    fs::write(machine.path("etc/nginx/conf.d/site.conf"), "no such directive;").unwrap();
    let log = || fs::read_to_string(machine.path("state/restored/log")).unwrap_or_default();
    eventually("put back", || log().contains("guard `nginx parses`: pass").then_some(()));
    assert_eq!(machine.text("etc/nginx/conf.d/site.conf"), before, "{}", log());
    booted.until_page("one");
}

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd.sh");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const SHIPPED: [&str; 3] = ["portcullis-agent.service", "portcullis-controller.service", "portcullis-undo.service"];
