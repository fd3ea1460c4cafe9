//! The controller must still be reached, over the network as the change left it.

use std::process::{Command, Stdio};

use crate::fixture::{Machine, Ran, eventually, free_address, kill};

/// A real web server in the place of the controller: all that is asked of it here is an answer.
struct Controller {
    dir: tempfile::TempDir,
    address: std::net::SocketAddr,
}

impl Controller {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (address, at) = (free_address(), dir.path().display().to_string());
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/{name};"))
            .concat();
        let text = format!(
            "user root; worker_processes 1; pid {at}/pid; error_log {at}/log; events {{}}\n\
             http {{ access_log off; {temp} server {{ listen {address}; location = /livez {{ return 200 ok; }} }} }}"
        );
        std::fs::write(dir.path().join("conf"), text).unwrap();
        Self { dir, address }
    }

    fn argv(&self) -> Vec<String> {
        let at = self.dir.path().display();
        ["nginx", "-q", "-c", &format!("{at}/conf"), "-p", &format!("{at}")].map(Into::into).to_vec()
    }

    fn start(self) -> Self {
        let argv = self.argv();
        assert!(Command::new(&argv[0]).args(&argv[1..]).stderr(Stdio::null()).status().unwrap().success());
        eventually("it listens", || std::net::TcpStream::connect(self.address).ok());
        self
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).ok().and_then(|pid| pid.trim().parse().ok());
        kill("-TERM", &pid.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_reached_controller_confirms() {
    let controller = Controller::new().start();
    let machine = Machine::new().controlled_by(controller.address);
    machine.apply(&[], &machine.say("two")).is(0, "confirmed by the controller, which was reached");
    machine.until_page("two");
    let ran = machine.apply(&["--require-confirm", "--confirm-within", "2s"], "true");
    ran.is(1, "a person has to confirm it");
}

#[test]
fn one_that_is_lost_does_not() {
    let controller = Controller::new().start();
    let machine = Machine::new().controlled_by(controller.address);
    let before = machine.picture();
    let pid = controller.dir.path().join("pid");
    let script = format!("{} kill $(cat {})", machine.say("two"), pid.display());
    let ran = machine.apply(&["--confirm-within", "4s"], &script);
    ran.is(1, "not yet: the controller cannot be reached: ");
    assert_eq!(machine.picture(), before);
    machine.until_page("one");
}

/// In a network of its own, whose only link the command takes down; the undo commands bring it up again.
#[test]
fn the_network_path_is_lost() {
    let controller = Controller::new();
    let machine = Machine::new().controlled_by(controller.address);
    let text = machine.text("agent.toml").replace("undo = [", "undo = [[\"ip\",\"link\",\"set\",\"lo\",\"up\"],");
    std::fs::write(machine.path("agent.toml"), text).unwrap();
    let before = machine.picture();
    let guard = machine.path("etc/nginx/firewall");
    // The web server and the controller are in that network too.
    let start = [
        machine.nginx_argv(&["-s", "stop"]).join(" "),
        "sleep 0.5".into(),
        machine.nginx_argv(&[]).join(" "),
        controller.argv().join(" "),
    ]
    .join(" && ");
    let script = format!("ip link set lo up && {start} && \"$@\"; code=$?; ip link show lo; exit $code");
    let change = format!("echo drop-all >{}; ip link set lo down", guard.display());
    let apply = machine.agent("apply", &["--confirm-within", "9s", "--", "sh", "-c", &change]);
    let mut unshare = Command::new("unshare");
    unshare.args(["-n", "sh", "-c", &script, "sh"]).arg(apply.get_program()).args(apply.get_args());
    let ran = Ran::of(unshare.stdin(Stdio::null()));
    ran.is(1, "it was not confirmed within 9s: guard");
    ran.is(1, "`ip link set lo up`: done");
    ran.is(1, "guard `web answers`: pass");
    ran.is(1, "<LOOPBACK,UP,LOWER_UP>");
    assert_eq!(machine.picture(), before);
}

/// The same without guards: only the controller tells.
#[test]
fn the_network_path_is_lost_and_nothing_else_tells() {
    let controller = Controller::new();
    let mut machine = Machine::new();
    machine.manifest.checks.clear();
    machine.sign_as_it_is();
    let machine = machine.controlled_by(controller.address);
    let text = machine.text("agent.toml").replace("undo = [", "undo = [[\"ip\",\"link\",\"set\",\"lo\",\"up\"],");
    std::fs::write(machine.path("agent.toml"), text).unwrap();
    for (change, exit, said) in
        [("true", 0, "which was reached"), ("ip link set lo down", 1, "the controller cannot be reached")]
    {
        let script = format!(
            "ip link set lo up && {} && \"$@\"; code=$?; kill $(cat {}/pid); exit $code",
            controller.argv().join(" "),
            controller.dir.path().display()
        );
        let apply = machine.agent("apply", &["--confirm-within", "9s", "--", "sh", "-c", change]);
        let mut unshare = Command::new("unshare");
        unshare.args(["-n", "sh", "-c", &script, "sh"]).arg(apply.get_program()).args(apply.get_args());
        Ran::of(unshare.stdin(Stdio::null())).is(exit, said);
    }
}
