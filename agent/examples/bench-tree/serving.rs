//! A real agent that serves, without a controller: what its rounds cost when nothing has changed, and what it weighs.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use portcullis_agent::clock;

use super::{
    corpus::{Corpus, agent},
    measure::{cpu_s, memory_kib},
};

/// Killed when dropped.
pub(super) struct Serving {
    child: Child,
    pub(super) address: SocketAddr,
    _state: tempfile::TempDir,
}

/// One round, as the agent tells it.
#[derive(Clone, PartialEq)]
pub(super) struct Round {
    began: String,
    pub(super) took_ms: u64,
    ready: bool,
}

impl Serving {
    /// With `more` keys in `[checks]`.
    pub(super) fn start(corpus: &Corpus, interval_s: u64, more: &str) -> anyhow::Result<Self> {
        let manifest = corpus.at("manifest.json");
        Self::configured(
            corpus,
            &format!(
                "[checks]\nmanifest = \"{}\"\n{more}\n[intervals]\nwaiting_s = 1\nserving_s = {interval_s}\n",
                manifest.display()
            ),
        )
    }

    /// With a controller.
    pub(super) fn start_gated(corpus: &Corpus, controller: SocketAddr) -> anyhow::Result<Self> {
        Self::configured(
            corpus,
            &format!(
                "[controller]\nurl = \"http://{controller}\"\njoin_token_file = \"token\"\n\
                 [identity]\nsource = \"static\"\ninstance = \"i-bench\"\n"
            ),
        )
    }

    fn configured(corpus: &Corpus, more: &str) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let config = format!(
            "state_dir = \"state\"\nlisten = \"127.0.0.1:0\"\ntrust = [\"{}\"]\n{more}",
            corpus.at("key.pub").display(),
        );
        fs::write(state.path().join("token"), "bench\n")?;
        fs::write(state.path().join("agent.toml"), config)?;
        let mut child = Command::new(agent()?)
            .args(["run", "--config"])
            .arg(state.path().join("agent.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| anyhow::anyhow!("no stderr"))?;
        let mut lines = BufReader::new(stderr).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("listening on http://").and_then(|(_, address)| address.trim().parse().ok())
        });
        thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or_else(|| anyhow::anyhow!("the agent does not start"))?;
        Ok(Self { child, address, _state: state })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last round.
    fn last(&self) -> anyhow::Result<Option<Round>> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET /v1/report HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { anyhow::bail!("no answer") };
        if !head.contains(" 200 ") {
            return Ok(None);
        }
        let report: serde_json::Value = serde_json::from_str(body)?;
        let began = report["checked_at"].as_str().unwrap_or_default().into();
        Ok(Some(Round { began, took_ms: report["took_ms"].as_u64().unwrap_or(0), ready: report["ready"] == true }))
    }

    /// Waits for a round after `last` that passed; and the most memory that a checking process had meanwhile, in KiB.
    pub(super) fn next(&self, last: Option<&Round>) -> anyhow::Result<(Round, u64)> {
        let (started, mut peak) = (clock::monotonic(), 0);
        while started.elapsed() < PATIENCE {
            let children = format!("/proc/{0}/task/{0}/children", self.pid());
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid()))?.flatten();
            let of_threads = threads.map(|thread| thread.path().join("children"));
            for children in of_threads.chain([children.into()]) {
                let pids = fs::read_to_string(children).unwrap_or_default();
                let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
                peak = pids.filter_map(|pid| memory_kib(pid, "VmHWM:")).fold(peak, u64::max);
            }
            if let Some(round) = self.last()?.filter(|round| Some(round) != last) {
                anyhow::ensure!(round.ready, "the tree does not pass");
                return Ok((round, peak));
            }
            thread::sleep(Duration::from_millis(5));
        }
        anyhow::bail!("no round in {} s", PATIENCE.as_secs())
    }

    /// Of the agent, and of the processes that it started and that have ended.
    pub(super) fn cpu_s(&self) -> anyhow::Result<(f64, f64)> {
        Ok((cpu_s(self.pid(), &[14, 15])?, cpu_s(self.pid(), &[16, 17])?))
    }

    pub(super) fn rss_kib(&self) -> u64 {
        memory_kib(self.pid(), "VmRSS:").unwrap_or(0)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(300);
