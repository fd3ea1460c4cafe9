//! Containers of a real Podman and a real Docker, each in another state; and engines that are not there, or make no sense.

use std::{fs, io::Write as _, os::unix::net::UnixListener, path::Path, process::Command, thread};

use crate::fixture::{Running, eventually, fails, is_root, passes, untold};

fn check(socket: &Path, name: &str, more: &str) -> String {
    format!("container = {{ name = \"{name}\", socket = \"{}\"{more} }}", socket.display())
}

#[test]
fn of_a_real_podman() {
    of_a_real("podman.sh", &["--mount", "--pid", "--fork", "--kill-child", "--cgroup"]);
}

#[test]
fn of_a_real_docker() {
    of_a_real("docker.sh", &["--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--net"]);
}

fn of_a_real(script: &str, namespaces: &[&str]) {
    if !is_root("namespaces") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let bench = directory.path();
    let mut program = Command::new("unshare");
    program
        .args(namespaces)
        .arg("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check/containers").to_string() + "/" + script);
    let mut engine = Running::of(program.arg(bench));
    eventually("all containers are there", || {
        assert!(engine.0.try_wait().unwrap().is_none(), "the script has ended");
        bench.join("ready").exists()
    });
    let socket = bench.join("socket");
    let container = |name: &str, more: &str| check(&socket, name, more);
    let digests = fs::read_to_string(bench.join("digests")).unwrap();
    let (id, digest) = digests.trim().split_once(' ').unwrap();

    passes(&container("orders", ""));
    fails(&container("order", ""), "container: expected `order`, actual there is none of that name");
    fails(&container("ended", ""), "state: expected running, actual exited with 3");
    fails(&container("created", ""), "state: expected running, actual created");
    // Started again and again: whenever one looks, it is up or about to be.
    for more in ["", ", up_for = \"5s\"", ", restarts_max = 1"] {
        fails(&container("loop", more), "");
    }
    passes(&container("orders", ", restarts_max = 0, image = \"localhost/orders:1\""));
    fails(
        &container("orders", ", image = \"localhost/orders:2\""),
        "image: expected localhost/orders:2, actual localhost/orders:1",
    );
    fails(&container("orders", ", up_for = \"1h\""), "running for: expected 1h on end, actual ");
    eventually("up for a second", || crate::fixture::check(&container("orders", ", up_for = \"1s\"")).0 == "pass");

    passes(&container("orders", &format!(", image_digest = \"{digest}\"")));
    passes(&container("orders", &format!(", image_digest = \"sha256:{}\"", id.trim_start_matches("sha256:"))));
    let other = format!("sha256:{}", "0".repeat(64));
    fails(
        &container("orders", &format!(", image_digest = \"{other}\"")),
        &format!("image: expected {other}, actual {digest}, "),
    );

    passes(&container("well", ", healthy = true"));
    fails(&container("ill", ""), "health: expected healthy, actual unhealthy");
    passes(&container("ill", ", healthy = false"));
    fails(&container("starting", ""), "health: expected healthy, actual starting");
    fails(&container("orders", ", healthy = true"), "actual it has no health check");

    // Podman cannot, without a control group of its own for each.
    if script == "docker.sh" {
        fails(&container("paused", ""), "state: expected running, actual paused");
    }

    drop(engine);
    // Its processes end one after another: until the last has, the socket takes connections and resets them.
    let gone = "Connection refused (os error 111); is the engine running?";
    eventually("the engine is gone", || crate::fixture::check(&container("orders", "")).1.ends_with(gone));
    untold(&container("orders", ""), gone);
}

/// What is hard to bring about in time: as Docker's API describes it.
#[test]
fn of_an_engine_that_says() {
    let running = r#"{"Image":"sha256:aa","RestartCount":0,"Config":{"Image":"a"},"State":{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00.1Z"STATE}}"#;
    for (state, status, words) in [
        ("", "pass", ""),
        (r#","Health":{"Status":"none","FailingStreak":0,"Log":null}"#, "pass", ""),
        (r#","Restarting":true,"ExitCode":1"#, "fail", "actual restarting, after exit 1"),
        (r#","Paused":true"#, "fail", "actual paused"),
    ] {
        let (_directory, socket) = engine("200 OK", running.replace("STATE", state));
        let (actual, reason) = crate::fixture::check(&check(&socket, "orders", ""));
        assert!(actual == status && reason.contains(words), "{state}: {actual}: {reason}");
    }
}

#[test]
fn of_an_engine_that_makes_no_sense() {
    for (status, body, words) in [
        ("200 OK", "<html>".to_string(), "expected value at line 1"),
        ("200 OK", "{}".into(), "missing field"),
        ("200 OK", format!("\"{}\"", "a".repeat(2 << 20)), "at most 1048576 bytes, actual more"),
        (
            "500 Oh",
            "{\"message\":\"oh \u{1b}[31m\"}".into(),
            "the engine answers 500: {\"message\":\"oh \\u{1b}[31m\"}",
        ),
        ("302 Found\r\nLocation: http://engine/elsewhere", String::new(), "the engine answers 302"),
    ] {
        let (_directory, socket) = engine(status, body);
        untold(&check(&socket, "orders", ""), words);
    }
    let directory = tempfile::tempdir().unwrap();
    untold(&check(&directory.path().join("socket"), "orders", ""), "is the engine running?");
    let silent = directory.path().join("silent");
    let _listener = UnixListener::bind(&silent).unwrap();
    untold(&format!("{}\ntimeout = \"1s\"", check(&silent, "orders", "")), "no whole answer within 1000 ms");
}

/// Answers whatever it is asked with that.
fn engine(status: &'static str, body: String) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if std::io::Read::read(&mut stream, &mut [0; 4_096]).is_ok_and(|length| length > 0) {
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
            }
        }
    });
    (directory, socket)
}
