//! The real program: what it prints, how it ends, and what a kill leaves behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const TOKEN: &str = "an-operators-token-of-some-length";

fn set_up() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key = portcullis::signature::SigningKey::generate(&[7; 32]).public().to_pem();
    fs::write(dir.path().join("release.key.pub"), key).unwrap();
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    // Nobody listens on port 9: the cloud cannot be reached, and the controller serves all the same.
    let config = r#"
audience = "gate"
store = "store.redb"
[agents]
listen = "127.0.0.1:0"
[operators]
listen = "127.0.0.1:0"
tokens = [{ name = "ana", file = "token" }]
[aws]
region = "eu-central-1"
endpoint_url = "http://127.0.0.1:9"
[trust]
keys = ["release.key.pub"]
[groups.web]
mode = "enforce"
"#;
    fs::write(dir.path().join("controller.toml"), config).unwrap();
    dir
}

fn program(dir: &Path, command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis-controller"));
    program.arg(command).arg("--config").arg(dir.join("controller.toml"));
    program.env_clear().env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    program.env("AWS_EC2_METADATA_DISABLED", "true");
    program
}

fn ended(dir: &Path, command: &str) -> Output {
    program(dir, command).output().unwrap()
}

/// A running controller; killed when dropped, as only a kill is sure to end it.
struct Running {
    child: Child,
    operators: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(dir: &Path) -> Self {
        let mut child = program(dir, "run").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (agents, operators) = line.trim_end().split_once(", ").unwrap_or_else(|| panic!("{line:?}"));
        assert!(agents.starts_with("agents on http://127.0.0.1:"), "{line}");
        let operators = operators.strip_prefix("operators on http://").unwrap().to_string();
        Self { child, operators }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.operators).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let dir = set_up();
    let running = Running::start(dir.path());
    for _ in 0..5 {
        let answer = running.ask("POST", "/v1/join-tokens", r#"{"group":"web","expires_in_s":60,"uses":1}"#);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // SIGKILL, right after the last answer.
    drop(running);
    let running = Running::start(dir.path());
    let events = running.ask("GET", "/v1/events", "");
    assert_eq!(events.matches("join token created").count(), 5, "{events}");
}

#[test]
fn a_second_controller_on_the_same_store_is_refused() {
    let dir = set_up();
    let _running = Running::start(dir.path());
    let second = ended(dir.path(), "run");
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
}

#[test]
fn a_store_that_is_damaged_is_refused_and_left_as_it_is() {
    let dir = set_up();
    let path = dir.path().join("store.redb");
    fs::write(&path, "this was a store once").unwrap();
    let refused = ended(dir.path(), "run");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains(path.to_str().unwrap()) && said.contains("move it away"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "this was a store once");
}

#[test]
fn promtool_finds_nothing_wrong_with_its_metrics() {
    let dir = set_up();
    let running = Running::start(dir.path());
    assert!(running.ask("POST", "/v1/join-tokens", "nonsense").starts_with("HTTP/1.1 400"));
    let page = loop {
        let answer = running.ask("GET", "/metrics", "");
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        // The cloud does not answer, which is counted.
        if page.contains("portcullis_attempts_total{") {
            break page.to_string();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(page.contains("portcullis_refusals_total{kind=\"malformed\"} 1"), "{page}");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
}

#[test]
fn a_polite_end_is_a_success() {
    let dir = set_up();
    let mut running = Running::start(dir.path());
    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn check_config_answers_with_its_exit_code() {
    let dir = set_up();
    assert_eq!(ended(dir.path(), "check-config").status.code(), Some(0));
    let path = dir.path().join("controller.toml");
    let text = fs::read_to_string(&path).unwrap().replace("audience", "audeince");
    fs::write(&path, text).unwrap();
    let refused = ended(dir.path(), "check-config");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("audeince"), "{said}");
}

/// Both of what tells, and what pings: nothing listens there, and the controller serves all the same.
#[test]
fn with_webhooks_it_starts_and_a_url_that_is_none_is_no_valid_configuration() {
    let dir = set_up();
    let path = dir.path().join("controller.toml");
    let told = "[[alerts]]\nname = \"pager\"\nwebhook_file = \"pager.url\"\n[dead_man]\nurl_file = \"pager.url\"\n";
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("[trust]", &format!("{told}[trust]"))).unwrap();
    let url = dir.path().join("pager.url");
    fs::write(&url, "https://127.0.0.1:9/s3cr3t\n").unwrap();
    assert_eq!(ended(dir.path(), "check-config").status.code(), Some(0));
    let running = Running::start(dir.path());
    assert!(running.ask("GET", "/livez", "").starts_with("HTTP/1.1 200"));
    drop(running);
    for nonsense in ["", "hooks.example/s3cr3t", "ftp://hooks.example/s3cr3t"] {
        fs::write(&url, nonsense).unwrap();
        let refused = ended(dir.path(), "check-config");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{nonsense}: {said}");
        assert!(said.contains("alerts `pager`: ") && !said.contains("s3cr3t"), "{said}");
    }
}
