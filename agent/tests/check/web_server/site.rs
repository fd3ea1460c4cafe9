//! A server with a directory of its own: `conf/` is in a tree, `run/` is where it writes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use portcullis::{
    check::{CheckKind, Wanted as _, web_server::WebServer},
    facts::Facts,
    manifest::{Check, Extras, Manifest, Tree},
    outcome::{Outcome, Status},
    tree::{self, NoProgress},
};
use portcullis_agent::{
    checks::{Checks, Options},
    clock,
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{fixture::AGENT, ports::free_port};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Apache,
    Haproxy,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
        }
    }

    /// What no server takes.
    pub(super) fn nonsense(self) -> &'static str {
        match self {
            Self::Nginx => "\nbogus;\n",
            Self::Apache | Self::Haproxy => "\nbogus\n",
        }
    }

    /// A statement that has `file` read.
    pub(super) fn include(self, file: &Path) -> String {
        match self {
            Self::Nginx => format!("\ninclude {};\n", file.display()),
            Self::Apache => format!("\nInclude {}\n", file.display()),
            Self::Haproxy => format!("\n  errorfile 502 {}\n", file.display()),
        }
    }

    /// What may stand in such a file.
    pub(super) fn part_text(self) -> &'static str {
        match self {
            Self::Nginx | Self::Apache => "# part\n",
            Self::Haproxy => "HTTP/1.0 503 Service Unavailable\r\n\r\nno\n",
        }
    }

    fn config(self, at: &Path, port: u16) -> String {
        let at = at.display();
        match self {
            Self::Nginx => format!(
                "daemon off;\npid {at}/run/pid;\nerror_log {at}/run/error.log;\nworker_processes 2;\nevents {{}}\nhttp {{\n\
                 access_log off;\nclient_body_temp_path {at}/run/1;\nproxy_temp_path {at}/run/2;\n\
                 fastcgi_temp_path {at}/run/3;\nuwsgi_temp_path {at}/run/4;\nscgi_temp_path {at}/run/5;\n\
                 include parts/*.conf;\nserver {{ listen 127.0.0.1:{port}; return 200; }}\n}}\n"
            ),
            Self::Apache => format!(
                "ServerRoot {at}/run\nDefaultRuntimeDir {at}/run\nPidFile {at}/run/pid\nServerName localhost\n\
                 ErrorLog {at}/run/error.log\nListen 127.0.0.1:{port}\n\
                 LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
                 LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
                 User www-data\nGroup www-data\nInclude {at}/conf/parts/*.conf\n"
            ),
            Self::Haproxy => format!(
                "defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n\
                 frontend f\n  bind 127.0.0.1:{port}\n  errorfile 503 {at}/conf/parts/a.conf\n"
            ),
        }
    }

    fn start(self, config: &Path) -> Command {
        let (program, arguments): (_, &[&str]) = match self {
            Self::Nginx => ("nginx", &["-c"]),
            Self::Apache => ("apache2", &["-DFOREGROUND", "-f"]),
            Self::Haproxy => ("haproxy", &["-W", "-f"]),
        };
        let mut command = Command::new(format!("/usr/sbin/{program}"));
        command.args(arguments).arg(config).stdin(Stdio::null());
        command
    }

    fn reload(self) -> Signal {
        match self {
            Self::Nginx => Signal::HUP,
            Self::Apache => Signal::USR1,
            Self::Haproxy => Signal::USR2,
        }
    }

    /// What it says when it does not take a new configuration.
    fn refusal(self) -> &'static str {
        match self {
            Self::Nginx => "[emerg]",
            Self::Apache => "Invalid command",
            Self::Haproxy => "unknown keyword",
        }
    }
}

pub(super) struct Site {
    kind: Kind,
    directory: TempDir,
    manifest: Manifest,
    server: Option<Child>,
    pub(super) extras_allowed: bool,
    /// Its command is not among those that run as root.
    pub(super) as_nobody: bool,
}

impl Site {
    pub(super) fn new(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let manifest =
            Manifest { product: "shop".into(), release: "1".into(), sequence: 1, trees: vec![], checks: vec![] };
        let mut site = Self { kind, directory, manifest, server: None, extras_allowed: false, as_nobody: false };
        fs::create_dir_all(site.at("conf/parts")).unwrap();
        fs::create_dir(site.at("run")).unwrap();
        fs::write(site.part(), kind.part_text()).unwrap();
        fs::write(site.config(), kind.config(&site.at("."), free_port())).unwrap();
        site.sign().tick();
        site
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        let directory = fs::canonicalize(self.directory.path()).unwrap();
        if name == "." { directory } else { directory.join(name) }
    }

    pub(super) fn config(&self) -> PathBuf {
        self.at("conf/main.conf")
    }

    /// A file that the configuration includes.
    pub(super) fn part(&self) -> PathBuf {
        self.at("conf/parts/a.conf")
    }

    /// To the end of the configuration; of what is within a block, as its last statement.
    pub(super) fn append(&mut self, text: &str) -> &mut Self {
        let config = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), config + text).unwrap();
        self
    }

    /// The manifest is of what is there now.
    pub(super) fn sign(&mut self) -> &mut Self {
        let mut tree = Tree::new("conf", self.at("conf").to_str().unwrap());
        tree.extras = if self.extras_allowed { Extras::Allow } else { Extras::Refuse };
        tree.entries = tree::read(&tree, &self.at("conf"), &NoProgress).unwrap();
        self.manifest.trees = vec![tree];
        self.manifest.checks = vec![Check::new("as it sees itself", CheckKind::WebServer(self.wanted()))];
        self
    }

    fn wanted(&self) -> WebServer {
        let table = format!("server = '{}'\nconfig = '{}'", self.kind.name(), self.config().display());
        let wanted: WebServer = toml::from_str(&table).unwrap();
        wanted.validate().unwrap();
        wanted
    }

    pub(super) fn outcome(&self) -> Outcome {
        let root_commands = if self.as_nobody { vec![] } else { vec![self.wanted().command()] };
        let checks = Checks::new(Options { root_commands, program: AGENT.into(), ..Options::default() });
        checks.run_all(&Arc::new(self.manifest.clone()), &Facts::default()).pop().unwrap()
    }

    /// Once it passes; else as it is when there has been time enough.
    pub(super) fn settled(&self) -> Outcome {
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            let outcome = self.outcome();
            let is_starting = outcome.reason.as_ref().is_some_and(|reason| reason.contains("loaded: "));
            if !is_starting || clock::monotonic() > deadline {
                return outcome;
            }
            thread::sleep(POLL);
        }
    }

    pub(super) fn start(&mut self) {
        self.start_with(&[]);
    }

    pub(super) fn start_with(&mut self, arguments: &[&str]) {
        self.tick();
        let log = fs::File::create(self.at("run/output")).unwrap();
        let mut command = self.kind.start(&self.config());
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
    }

    pub(super) fn reload(&mut self) {
        let pid = self.server.as_ref().unwrap().id();
        self.signal(pid, self.kind.reload());
    }

    pub(super) fn signal(&self, pid: u32, signal: Signal) {
        rustix::process::kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It ends those that it started.
            let _ = rustix::process::kill_process(Pid::from_child(&server), Signal::TERM);
            server.wait().unwrap();
        }
    }

    /// The processes that the master started.
    pub(super) fn children(&self) -> Vec<u32> {
        let pid = self.server.as_ref().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(|child| child.parse().unwrap()).collect()
    }

    pub(super) fn wait_for_refusal(&self) {
        let said = |name: &str| fs::read_to_string(self.at(name)).unwrap_or_default();
        self.until("a refusal", |_| {
            [said("run/output"), said("run/error.log")].iter().any(|log| log.contains(self.kind.refusal()))
        });
        if self.kind == Kind::Apache {
            let pid = self.server.as_ref().unwrap().id();
            self.until("its end", |_| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.contains(") Z ")
            });
        }
    }

    pub(super) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = clock::monotonic() + PATIENCE;
        while !is_so(self) {
            assert!(clock::monotonic() < deadline, "waited in vain for {what}");
            thread::sleep(POLL);
        }
    }

    /// What follows happens, by every clock there is, after what went before.
    pub(super) fn tick(&mut self) -> &mut Self {
        thread::sleep(Duration::from_millis(40));
        self
    }

    /// `site.pem` and `site.key`, new, beside the tree.
    pub(super) fn certificate(&mut self) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.at("site.pem"), self.at("site.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]);
        openssl.args(["-subj", "/CN=shop.example", "-out"]).arg(&certificate).arg("-keyout").arg(&key);
        assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
        (certificate, key)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
pub(super) fn passes(outcome: &Outcome) {
    assert_eq!((outcome.status, &outcome.reason), (Status::Pass, &None));
}

/// Fails, and says so; returns all that it says.
#[track_caller]
pub(super) fn fails(outcome: &Outcome, saying: &str) -> String {
    let reason = outcome.reason.clone().unwrap_or_default();
    assert!(outcome.status == Status::Fail && reason.contains(saying), "{:?}: {reason}", outcome.status);
    reason
}

const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(50);
