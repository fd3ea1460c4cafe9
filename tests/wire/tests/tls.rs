//! The real controller behind TLS, on both listeners, spoken with by the real agent and the real operator's command; and a
//! certificate that is renewed while it runs.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use portcullis_drill::clock::Stopwatch;
use portcullis_wire::{Ran, programs, run};

const TOKEN: &str = "an-operators-token-of-some-length";
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with an authority, a certificate of it, and a controller that uses it.
struct Site {
    folder: tempfile::TempDir,
    controller: Child,
    agents: String,
    operators: String,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        openssl(folder.path(), "ca", "CA:TRUE", &[]);
        renew(folder.path());
        run(&programs().cli, [Path::new("key"), Path::new("generate"), Path::new("--out"), &at("release.key")])
            .exits(0);
        fs::write(at("operator"), TOKEN).unwrap();
        let tls = "tls = { cert = \"server.pem\", key = \"server.key\" }";
        let config = format!(
            "audience = \"tls\"\nstore = \"store.redb\"\n[agents]\nlisten = \"127.0.0.1:0\"\n{tls}\n\
             [operators]\nlisten = \"127.0.0.1:0\"\n{tls}\ntokens = [{{ name = \"ana\", file = \"operator\" }}]\n\
             [aws]\nregion = \"eu-west-1\"\nendpoint_url = \"http://127.0.0.1:9\"\n[trust]\nkeys = [\"release.key.pub\"]\n\
             [groups.web]\nmode = \"enforce\"\n"
        );
        fs::write(at("controller.toml"), config).unwrap();
        let mut controller = Command::new(&programs().controller)
            .args(["run", "--config"])
            .arg(at("controller.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(controller.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let urls: Vec<_> = line.split([' ', ',', '\n']).filter(|word| word.starts_with("https://")).collect();
        let [agents, operators] = urls[..] else { panic!("{line}") };
        let (agents, operators) = (agents.to_owned(), operators.to_owned());
        Self { folder, controller, agents, operators }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the operator's command with a configuration that says whom to believe.
    fn cli(&self, config: &str, words: &[&str]) -> Ran {
        let home = self.at("home/portcullis");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("config.toml"), config).unwrap();
        let output = Command::new(&programs().cli)
            .args(words)
            .env("XDG_CONFIG_HOME", self.at("home"))
            .env("PORTCULLIS_CONTROLLER", &self.operators)
            .env("PORTCULLIS_TOKEN", TOKEN)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn believing(&self) -> String {
        format!("ca = {:?}\n", self.at("ca.pem"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.controller.kill().and_then(|()| self.controller.wait());
    }
}

fn openssl(folder: &Path, name: &str, constraints: &str, more: &[&str]) {
    fs::write(folder.join("openssl.cnf"), "[req]\ndistinguished_name=name\n[name]\n").unwrap();
    let (subject, constraints) = (format!("/CN={name}"), format!("basicConstraints=critical,{constraints}"));
    let output = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-config",
            "openssl.cnf",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-days", "2", "-subj", &subject, "-addext", &constraints])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A new certificate, with a new key, from the same authority.
fn renew(folder: &Path) {
    let names = "subjectAltName=IP:127.0.0.1";
    openssl(folder, "server", "CA:FALSE", &["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", names]);
}

#[test]
fn operators_and_agents_speak_tls_and_believe_one_authority() {
    let site = Site::start();
    site.cli(&site.believing(), &["status"]).exits(0);
    let stranger = site.cli("", &["status"]);
    assert_eq!(stranger.code, Some(2), "{stranger:?}");
    let token = site.at("join-token");
    site.cli(&site.believing(), &["token", "create", "--group", "web", "--out", token.to_str().unwrap()]).exits(0);

    let config = format!(
        "audience = \"tls\"\nstate_dir = \"state\"\nlisten = \"127.0.0.1:0\"\ntrust = [\"release.key.pub\"]\n\
         [controller]\nurl = \"{}\"\nca = \"ca.pem\"\njoin_token_file = \"join-token\"\n\
         [identity]\nsource = \"static\"\ninstance = \"i-1\"\n",
        site.agents
    );
    fs::write(site.at("agent.toml"), config).unwrap();
    let mut agent = Command::new(&programs().agent)
        .args(["run", "--config"])
        .arg(site.at("agent.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let enrolled = until(|| site.cli(&site.believing(), &["events"]).stdout.contains("enrolled by join token"));
    let _ = agent.kill().and_then(|()| agent.wait());
    assert!(enrolled, "{}", site.cli(&site.believing(), &["events"]).stdout);
}

#[test]
fn a_renewed_certificate_needs_no_restart() {
    let site = Site::start();
    let shown = || {
        let address = site.operators.trim_start_matches("https://");
        let words = ["s_client", "-connect", address, "-showcerts"];
        let output = Command::new("openssl").args(words).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let pem = || fs::read_to_string(site.at("server.pem")).unwrap();
    let before = pem();
    assert!(shown().contains(before.trim()));
    renew(site.folder.path());
    assert_ne!(pem(), before);
    assert!(until(|| shown().contains(pem().trim())), "the old one is still shown");
    site.cli(&site.believing(), &["status"]).exits(0);
}

/// Asks until it is so, or patience is at its end.
fn until(mut so: impl FnMut() -> bool) -> bool {
    let began = Stopwatch::start();
    while began.elapsed() < PATIENCE {
        if so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}
