//! A machine with a web server on it: a real nginx, whose configuration and pages are managed trees.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use portcullis::{
    check::{CheckKind, tcp::Tcp},
    manifest::{Check, EntryKind, Manifest, PAYLOAD_TYPE, Tree},
    signature::{Envelope, SigningKey},
    tree::{self, NoProgress},
};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_portcullis-agent");
/// Anything that takes longer did not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// `etc/nginx`, `www`, `agent.toml`, `manifest.json`, `state`; nginx runs.
pub(crate) struct Machine {
    dir: TempDir,
    pub(crate) web: SocketAddr,
    /// Of the manifest; as it was signed last.
    pub(crate) manifest: Manifest,
    /// More of the configuration.
    more: String,
    source: String,
    program: PathBuf,
}

impl Machine {
    /// The page says `one`, and two guards hold.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("portcullis-apply-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let web = free_address();
        let manifest =
            Manifest { product: "shop".into(), release: "one".into(), sequence: 1, trees: vec![], checks: vec![] };
        let source = "[checks]\nmanifest = \"manifest.json\"\n".into();
        let mut machine = Self { dir, web, manifest, more: String::new(), source, program: AGENT.into() };
        machine.make_files();
        machine.nginx(&[]);
        machine.until_page("one");
        machine.manifest.checks = vec![
            Check {
                guard: true,
                ..Check::new("web answers", CheckKind::Tcp(Tcp { connect: web.to_string(), send: None, expect: None }))
            },
            Check { guard: true, ..Check::command("nginx parses", machine.nginx_argv(&["-t"])) },
        ];
        machine.sign();
        machine.configure();
        machine
    }

    fn make_files(&self) {
        fs::create_dir_all(self.path("etc/nginx/conf.d")).unwrap();
        fs::create_dir_all(self.path("run")).unwrap();
        fs::create_dir_all(self.path("www")).unwrap();
        fs::write(self.path("www/index.html"), "index").unwrap();
        let (run, conf) = (self.path("run"), self.path("etc/nginx/conf.d"));
        let (run, conf) = (run.display(), conf.display());
        fs::write(
            self.path("etc/nginx/nginx.conf"),
            format!(
                "user root;\nworker_processes 1;\npid {run}/nginx.pid;\nerror_log {run}/error.log;\n\
                 events {{ worker_connections 64; }}\nhttp {{\n  access_log off;\n  client_body_temp_path {run}/body;\n\
                 \x20 proxy_temp_path {run}/proxy;\n  fastcgi_temp_path {run}/fastcgi;\n  uwsgi_temp_path {run}/uwsgi;\n\
                 \x20 scgi_temp_path {run}/scgi;\n  include {conf}/*.conf;\n}}\n"
            ),
        )
        .unwrap();
        fs::write(self.path("etc/nginx/conf.d/site.conf"), self.site("one")).unwrap();
        for n in 0..3 {
            fs::write(self.path(&format!("etc/nginx/part-{n}")), format!("part {n}\n")).unwrap();
        }
        std::os::unix::fs::symlink("part-0", self.path("etc/nginx/link")).unwrap();
        fs::write(self.path("boot_id"), "boot-1\n").unwrap();
        fs::write(self.path("release.key.pub"), key().public().to_pem()).unwrap();
    }

    /// A site that answers with this word.
    pub(crate) fn site(&self, word: &str) -> String {
        format!("server {{ listen {}; location / {{ return 200 \"{word}\"; }} }}\n", self.web)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn nginx_argv(&self, more: &[&str]) -> Vec<String> {
        let (conf, run) = (self.path("etc/nginx/nginx.conf"), self.path("run"));
        let mut argv: Vec<String> = vec!["nginx".into(), "-q".into(), "-c".into(), conf.to_str().unwrap().into()];
        argv.extend(["-p".into(), run.to_str().unwrap().into()]);
        argv.extend(more.iter().map(|&argument| argument.into()));
        argv
    }

    pub(crate) fn nginx(&self, more: &[&str]) {
        let argv = self.nginx_argv(more);
        let status = Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{argv:?}");
    }

    /// A shell's words that reload nginx.
    pub(crate) fn reload(&self) -> String {
        self.nginx_argv(&["-s", "reload"]).join(" ")
    }

    /// A shell's words that make the site say something else, and reload.
    pub(crate) fn say(&self, word: &str) -> String {
        let conf = self.path("etc/nginx/conf.d/site.conf");
        format!("cat >{} <<'END'\n{}END\n{}\n", conf.display(), self.site(word), self.reload())
    }

    /// A shell's words that break the configuration for good: nginx is stopped and cannot start.
    pub(crate) fn break_it(&self) -> String {
        let conf = self.path("etc/nginx/conf.d/site.conf");
        format!("echo 'no such directive;' >>{}; {}", conf.display(), self.reload())
    }

    /// What nginx answers.
    pub(crate) fn page(&self) -> String {
        fetch(self.web).unwrap_or_default()
    }

    /// Until the page says so, and nobody is left who could say anything else: after a reload the workers of before go on
    /// accepting for a moment beside the new ones.
    pub(crate) fn until_page(&self, word: &str) {
        let is_settled = || self.page() == word && self.workers() == 1;
        eventually(&format!("the page says {word}, not {}", self.page()), || is_settled().then_some(()));
    }

    /// How many workers nginx has: 1 when no reload is under way.
    fn workers(&self) -> usize {
        let Ok(master) = fs::read_to_string(self.path("run/nginx.pid")) else { return 0 };
        let is_child = |path: &Path| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            // After the name: the state, then the parent.
            let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
            fields.split_whitespace().nth(1) == Some(master.trim())
        };
        fs::read_dir("/proc").unwrap().flatten().filter(|item| is_child(&item.path())).count()
    }

    /// Reads the trees anew, with their texts, and signs.
    pub(crate) fn sign(&mut self) {
        self.manifest.trees = vec![self.tree("nginx", "etc/nginx"), self.tree("site", "www")];
        self.sign_as_it_is();
    }

    pub(crate) fn sign_as_it_is(&self) {
        let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, self.manifest.to_payload());
        envelope.sign(&key());
        fs::write(self.path("manifest.json"), envelope.to_json()).unwrap();
    }

    fn tree(&self, name: &str, root: &str) -> Tree {
        let root = self.path(root);
        let before = self.manifest.trees.iter().find(|tree| tree.name == name);
        let mut tree = before.cloned().unwrap_or_else(|| Tree::new(name, root.to_str().unwrap()));
        if before.is_none() {
            tree.ignore = vec!["*.log".into(), "cache/".into()];
        }
        tree.entries = tree::read(&tree, &root, &NoProgress).unwrap();
        for entry in &mut tree.entries {
            let path = root.join(std::str::from_utf8(&entry.path).unwrap());
            if let EntryKind::File { text, .. } = &mut entry.kind {
                let kept = !path.to_str().unwrap().contains("secret");
                *text = kept.then(|| fs::read_to_string(&path).unwrap().into());
            }
        }
        tree
    }

    /// With this besides what every test has.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.more = more.into();
        self.configure();
        self
    }

    /// Rounds come once an hour: what is noticed sooner was noticed by watching.
    pub(crate) fn hourly(self) -> Self {
        let config = self.text("agent.toml").replace("_s = 1\n", "_s = 3600\n");
        fs::write(self.path("agent.toml"), config).unwrap();
        self
    }

    /// With a controller instead of a manifest in a file.
    pub(crate) fn controlled_by(mut self, controller: SocketAddr) -> Self {
        self.source = format!(
            "[controller]\nurl = \"http://{controller}\"\njoin_token_file = \"token\"\n\
             [identity]\nsource = \"static\"\ninstance = \"i-1\"\n[checks]\n"
        );
        fs::create_dir_all(self.path("state")).unwrap();
        let digest = portcullis::digest::Digest::of(&self.manifest.to_payload()).to_hex();
        fs::copy(self.path("manifest.json"), self.path(&format!("state/manifest-{digest}.json"))).unwrap();
        self.configure();
        self
    }

    fn configure(&self) {
        let argv = |more: &[&str]| Value::from(self.nginx_argv(more)).to_string();
        let (test, reload) = (argv(&["-t"]), argv(&["-s", "reload"]));
        let text = format!(
            "state_dir = \"state\"\nboot_id_file = \"boot_id\"\nlisten = \"127.0.0.1:0\"\ntrust = [\"release.key.pub\"]\n\
             {}root_commands = [{test}]\n[intervals]\nwaiting_s = 1\nserving_s = 1\n[apply]\nundo = [{reload}]\n{}\n",
            self.source, self.more
        );
        fs::write(self.path("agent.toml"), text).unwrap();
        fs::set_permissions(self.path("agent.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// The agent, with its configuration.
    pub(crate) fn agent(&self, command: &str, more: &[&str]) -> Command {
        let mut agent = Command::new(&self.program);
        agent.arg(command).arg("--config").arg(self.path("agent.toml")).args(more).stdin(Stdio::null());
        agent
    }

    pub(crate) fn run(&self, command: &str, more: &[&str]) -> Ran {
        Ran::of(&mut self.agent(command, more))
    }

    /// `apply … -- sh -c SCRIPT`.
    pub(crate) fn apply(&self, options: &[&str], script: &str) -> Ran {
        self.run("apply", &[options, &["--", "sh", "-c", script]].concat())
    }

    /// The same, beside the test; in a session of its own, as by ssh.
    pub(crate) fn applying(&self, options: &[&str], script: &str) -> Applying {
        let mut command = self.agent("apply", &[options, &["--", "sh", "-c", script]].concat());
        Applying::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// The journal of the last change.
    pub(crate) fn journal(&self) -> Option<Value> {
        let folders = fs::read_dir(self.path("state/apply")).ok()?.flatten().map(|item| item.path());
        let mut folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
        folders.sort();
        serde_json::from_slice(&fs::read(folders.last()?.join("journal.json")).ok()?).ok()
    }

    /// Where the last change is kept.
    pub(crate) fn change(&self) -> PathBuf {
        self.path("state/apply").join(self.journal().unwrap()["id"].as_str().unwrap())
    }

    /// Whether the last change is at that stage.
    pub(crate) fn is_at(&self, stage: &str) -> bool {
        self.journal().is_some_and(|journal| journal["stage"] == stage || !journal["stage"][stage].is_null())
    }

    pub(crate) fn until_at(&self, stage: &str) {
        eventually(stage, || self.is_at(stage).then_some(()));
    }

    pub(crate) fn until_exited(&self) {
        eventually("the command ended", || self.journal()?["exit"].as_i64());
    }

    /// Those who wait to undo changes of this machine.
    pub(crate) fn undoers(&self) -> Vec<i32> {
        let wanted = format!("__undo\0{}", fs::canonicalize(self.path("state/apply")).unwrap().display());
        processes(|line| line.contains(&wanted))
    }

    /// Everything in the trees: path, type, mode, owner, times, content or target.
    pub(crate) fn picture(&self) -> Vec<String> {
        let script = "find etc/nginx www ! -path '*/cache/*' ! -name '*.log' \
                      -printf '%p %y %m %U:%G %T@ %l\\n' | sort; \
                      find etc/nginx www -type f ! -path '*/cache/*' ! -name '*.log' -exec sha256sum {} + | sort";
        let output = Command::new("sh").args(["-c", script]).current_dir(self.dir.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.path("state/apply").exists() {
            kill("-KILL", &self.undoers());
        }
        let pid = fs::read_to_string(self.path("run/nginx.pid")).ok().and_then(|pid| pid.trim().parse().ok());
        kill("-TERM", &pid.into_iter().collect::<Vec<_>>());
    }
}

fn key() -> SigningKey {
    SigningKey::generate(&[7; 32])
}

pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], crate::ports::free_port()))
}

fn fetch(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.into())
}

/// Processes by their command line, arguments separated by NUL.
pub(crate) fn processes(wanted: impl Fn(&str) -> bool) -> Vec<i32> {
    let items = fs::read_dir("/proc").unwrap().flatten();
    let pid = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    let is_wanted =
        |path: &Path| fs::read(path.join("cmdline")).is_ok_and(|line| wanted(&String::from_utf8_lossy(&line)));
    items.map(|item| item.path()).filter(|path| is_wanted(path)).filter_map(|path| pid(&path)).collect()
}

/// Only ever what the test started, by number.
pub(crate) fn kill(signal: &str, pids: &[i32]) {
    for pid in pids {
        let _ = Command::new("kill").arg(signal).arg("--").arg(pid.to_string()).stderr(Stdio::null()).status();
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    /// Both outputs.
    pub(crate) said: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// It ended so, and said that.
    #[track_caller]
    pub(crate) fn is(&self, exit: i32, said: &str) {
        assert!(self.exit == Some(exit) && self.said.contains(said), "not {exit} with `{said}`: {self:?}");
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let said = [output.stdout, output.stderr].concat();
        Self { exit: output.status.code(), said: String::from_utf8_lossy(&said).into_owned() }
    }
}

/// An `apply` that runs, or an `undo`; killed when dropped, with all that is in its process group.
pub(crate) struct Applying {
    child: Option<Child>,
}

impl Applying {
    /// In a process group of its own.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self { child: Some(command.process_group(0).spawn().unwrap()) }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    pub(crate) fn ended(mut self) -> Ran {
        Ran::from(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            kill("-KILL", &[-i32::try_from(child.id()).unwrap()]);
            let _ = child.wait();
        }
    }
}

/// The agent beside the test; killed when dropped.
pub(crate) struct Agent(pub(crate) Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until there is something to see.
#[track_caller]
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
