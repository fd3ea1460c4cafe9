//! An instance: a site, a release of it, and the real agent.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use portcullis::{
    digest::Digest,
    manifest::{Check, Entry, EntryKind, Manifest, PAYLOAD_TYPE, Tree},
    signature::{Envelope, SigningKey},
};
use tempfile::TempDir;

use super::controller::Controller;

pub(crate) const TOKEN: &str = "a-join-token-that-nobody-must-see";
pub(crate) const PAGE: &str = "<h1>shop</h1>\n";
/// Anything that takes longer did not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine with a site on it.
pub(crate) struct Machine {
    dir: TempDir,
    key: SigningKey,
}

/// A signed manifest.
pub(crate) struct Release {
    pub(crate) digest: Digest,
    pub(crate) envelope: Vec<u8>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap(), key: SigningKey::generate(&[7; 32]) };
        fs::create_dir(machine.path("site")).unwrap();
        fs::write(machine.path("site/index.html"), PAGE).unwrap();
        fs::write(machine.path("release.key.pub"), machine.key.public().to_pem()).unwrap();
        fs::write(machine.path("token"), format!("{TOKEN}\n")).unwrap();
        machine.boots("boot-1");
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn boots(&self, id: &str) {
        fs::write(self.path("boot_id"), id).unwrap();
    }

    /// The site as it should be, and a command if there is one.
    pub(crate) fn release(&self, name: &str, command: &[&str]) -> Release {
        self.release_by(name, command, &self.key)
    }

    pub(crate) fn release_by(&self, name: &str, command: &[&str], key: &SigningKey) -> Release {
        let index = Entry {
            path: b"index.html".to_vec(),
            kind: EntryKind::File { size: PAGE.len() as u64, sha256: Digest::of(PAGE.as_bytes()), text: None },
            mode: None,
            owner: None,
        };
        let tree = Tree { entries: vec![index], ..Tree::new("site", self.path("site").to_str().unwrap()) };
        let check = Check { timeout_ms: 30_000, ..Check::command("command", command.iter().copied()) };
        let checks = if command.is_empty() { Vec::new() } else { vec![check] };
        let manifest =
            Manifest { product: "shop".into(), release: name.into(), sequence: 1, trees: vec![tree], checks };
        signed(&manifest, key)
    }

    /// Any manifest, signed by the key that the agent trusts.
    pub(crate) fn signed(&self, manifest: &Manifest) -> Release {
        signed(manifest, &self.key)
    }

    pub(crate) fn configured_for(&self, controller: SocketAddr) -> &Self {
        self.configured_with(controller, "")
    }

    /// With more tables.
    pub(crate) fn configured_with(&self, controller: SocketAddr, more: &str) -> &Self {
        self.configured(&format!(
            "[controller]\nurl = \"http://{controller}\"\njoin_token_file = \"token\"\n\
             [identity]\nsource = \"static\"\ninstance = \"i-1\"\n{more}"
        ))
    }

    pub(crate) fn configured(&self, more: &str) -> &Self {
        let common = "state_dir = \"state\"\nboot_id_file = \"boot_id\"\nrelease_file = \"release\"\n\
                      listen = \"127.0.0.1:0\"\ntrust = [\"release.key.pub\"]\n";
        let intervals = "[intervals]\nwaiting_s = 1\nserving_s = 1\n";
        fs::write(self.path("agent.toml"), format!("{common}{more}\n{intervals}")).unwrap();
        self
    }

    /// After `configured`: rounds by the agent's own clock come once an hour, so that what is noticed sooner was noticed by
    /// watching.
    pub(crate) fn hourly(&self) -> &Self {
        let config = fs::read_to_string(self.path("agent.toml")).unwrap();
        let config = config.replace("waiting_s = 1", "waiting_s = 3600").replace("serving_s = 1", "serving_s = 3600");
        fs::write(self.path("agent.toml"), config).unwrap();
        self
    }

    /// Starts the agent and waits until it answers probes.
    pub(crate) fn start(&self) -> Agent {
        self.start_by(program())
    }

    /// The same, where no more than so many directories can be watched.
    pub(crate) fn start_with_watches(&self, watches: u32) -> Agent {
        let limited = format!("echo {watches} >/proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "sh", "-c", &limited]).arg(env!("CARGO_BIN_EXE_portcullis-agent"));
        self.start_by(unshare)
    }

    fn start_by(&self, mut command: Command) -> Agent {
        let mut child = command
            .args(["run", "--config"])
            .arg(self.path("agent.toml"))
            // What an operator's shell may have must not lead the agent astray.
            .envs([
                ("http_proxy", "http://127.0.0.1:9"),
                ("HTTP_PROXY", "http://127.0.0.1:9"),
                ("PORTCULLIS_LOG", "trace"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut agent = Agent { child, log, address: ([127, 0, 0, 1], 0).into() };
        agent.address = eventually("it listens", || listening(&agent.log()));
        agent
    }

    /// Runs the agent, which must not start.
    pub(crate) fn fails_to_start(&self) -> Output {
        program().args(["run", "--config"]).arg(self.path("agent.toml")).stdin(Stdio::null()).output().unwrap()
    }
}

fn signed(manifest: &Manifest, key: &SigningKey) -> Release {
    let payload = manifest.to_payload();
    let digest = Digest::of(&payload);
    let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload);
    envelope.sign(key);
    Release { digest, envelope: envelope.to_json() }
}

fn listening(log: &str) -> Option<SocketAddr> {
    let (_, after) = log.split_once("listening on http://")?;
    after.split_once('\n')?.0.trim().parse().ok()
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portcullis-agent"))
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

impl Agent {
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Status and body.
    pub(crate) fn get(&self, target: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", target);
        (status, body)
    }

    /// Status, head and body.
    pub(crate) fn ask(&self, method: &str, target: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.into())
    }

    pub(crate) fn until_ready(&self) {
        eventually(&format!("ready; {:?}", self.get("/readyz?verbose")), || {
            (self.get("/readyz").0 == 200).then_some(())
        });
    }

    pub(crate) fn until_readyz_says(&self, word: &str) {
        eventually(&format!("{word}; {:?}", self.get("/readyz?verbose")), || {
            (self.get("/readyz?verbose").1.contains(word)).then_some(())
        });
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.get("/livez") == (200, "ok\n".into())
    }

    pub(crate) fn arguments(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.child.id())).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Most memory it ever had, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGTERM; how it ended.
    pub(crate) fn stop(mut self) -> (Option<i32>, Duration) {
        let (pid, began) = (self.child.id().to_string(), SystemTime::UNIX_EPOCH.elapsed().unwrap());
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status.code(), SystemTime::UNIX_EPOCH.elapsed().unwrap() - began)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    /// Publishes and promotes.
    pub(crate) fn promotes(&self, release: &Release) {
        let mut script = self.script();
        script.manifests.insert(release.digest, release.envelope.clone());
        script.accepted.insert(0, release.digest);
    }

    pub(crate) fn says(&self, verdict: &'static str) {
        self.script().verdict = verdict;
    }

    /// Waits for so many requests to a path, from now on.
    pub(crate) fn until_asked(&self, path: &str, times: usize) {
        let count =
            |controller: &Self| controller.script().asked.iter().filter(|asked| asked.starts_with(path)).count();
        let before = count(self);
        eventually(&format!("{times} more requests for {path}"), || (count(self) >= before + times).then_some(()));
    }
}

/// Looks until there is something to see.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(pause);
    }
    panic!("not in {} s: {what}", PATIENCE.as_secs());
}

pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}
