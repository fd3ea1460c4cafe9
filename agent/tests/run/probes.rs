//! The health port.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    controller::Controller,
    fixture::{Machine, eventually, program},
};

#[test]
fn pages() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let agent = machine.configured_for(controller.address).start();
    agent.until_ready();

    let (status, head, body) = agent.ask("HEAD", "/readyz");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 3"), "{head}");
    for path in ["/livez", "/readyz", "/metrics", "/v1/report"] {
        let (status, head, body) = agent.ask("POST", path);
        assert_eq!(status, 405, "{path}");
        assert!(head.contains("allow: get, head") && head.contains("application/problem+json"), "{head}");
        assert!(body.contains("urn:portcullis:problem:method-not-allowed"), "{body}");
    }
    assert_eq!(agent.get("/other").0, 404);

    let report: Value = serde_json::from_str(&agent.get("/v1/report").1).unwrap();
    assert_eq!(
        (&report["ready"], &report["release"], &report["verdict"]),
        (&true.into(), &"one".into(), &"admitted".into())
    );
    assert_eq!(report["outcomes"][0]["check"], "site");
    let metrics = agent.get("/metrics").1;
    for line in ["portcullis_agent_ready 1", "portcullis_agent_check_passed{check=\"site\",kind=\"tree\"} 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    promtool_finds_nothing_wrong(&metrics);
}

#[track_caller]
fn promtool_finds_nothing_wrong(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}

#[test]
fn a_probe_waits_for_no_check() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &["sleep", "20"]));
    let agent = machine.configured_for(controller.address).start();
    eventually("the check runs", || agent.log().contains("verified release").then_some(()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(agent.is_alive());
                    assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()));
                }
            });
        }
    });
    assert!(controller.script().reports.is_empty(), "it still runs");
    let (code, took) = agent.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Clients that connect and say nothing: the port is free again once they have had their time.
#[test]
fn idle_connections_are_closed() {
    let machine = Machine::new();
    let agent = machine.configured("[checks]\nmanifest = \"none\"\n").start();
    let mut idle: Vec<_> = (0..100).map(|_| TcpStream::connect(agent.address).unwrap()).collect();
    idle.iter_mut().for_each(|stream| drop(stream.write_all(b"GET /livez HTTP/1.1\r\n")));
    eventually("answered again", || {
        let mut stream = TcpStream::connect(agent.address).ok()?;
        write!(stream, "GET /livez HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
        answer.contains(" 200 ").then_some(())
    });
}

#[test]
fn status_tells() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    let agent = machine.configured_for(controller.address).start();
    let address = agent.address.to_string();
    let status = |more: &[&str]| {
        let output = program().args(["status", "--listen", &address]).args(more).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    agent.until_readyz_says("held: because");
    let (code, text) = status(&[]);
    assert_eq!(code, 1);
    assert!(text.starts_with("not ready: held\n  held: because\n  release one"), "{text}");
    controller.says("admitted");
    agent.until_ready();
    assert_eq!(status(&[]).0, 0);
    let report: Value = serde_json::from_str(&status(&["--json"]).1).unwrap();
    assert_eq!(report["ready"], true);
    drop(agent);
    assert_eq!(status(&[]), (2, String::new()));
    let told: Value = serde_json::from_str(&status(&["--json"]).1).unwrap();
    assert!(told["error"].as_str().unwrap().contains(&format!("no agent answers on {address}")), "{told}");
}

#[test]
fn status_asks_where_the_configuration_says() {
    let machine = Machine::new();
    let agent = machine.configured("[checks]\nmanifest = \"none\"\n").start();
    let config = machine.path("agent.toml");
    let written = fs::read_to_string(&config).unwrap();
    fs::write(&config, written.replace("127.0.0.1:0", &agent.address.to_string())).unwrap();
    let status = |more: &[&str]| {
        let output = program().arg("status").arg("--config").arg(&config).args(more).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, told) = status(&[]);
    assert!(code == 1 && told.starts_with("not ready: no_manifest"), "{told}");
    let (code, told) = status(&["--listen", "127.0.0.1:1"]);
    assert!(code == 2 && told.contains("on 127.0.0.1:1:") && told.contains("\nhint: "), "what is said counts: {told}");
    fs::write(&config, "surprise = 1\n").unwrap();
    let (_, told) = status(&["--listen", &agent.address.to_string()]);
    assert!(told.contains("warning: not as the configuration says") && told.contains("\n1 | surprise = 1\n"), "{told}");
}

/// One connection, many requests; and it is closed when it asks nothing more.
#[test]
fn a_connection_may_ask_again() {
    let machine = Machine::new();
    let agent = machine.configured("[checks]\nmanifest = \"none\"\n").start();
    let mut stream = TcpStream::connect(agent.address).unwrap();
    for _ in 0..3 {
        write!(stream, "GET /livez HTTP/1.1\r\nHost: agent\r\n\r\n").unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\nok\n") {
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0, "closed");
}
