//! The controller: the real program, as a process of its own, and what the system and its metrics tell of it.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis::api::Promote;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    client::Client,
    scene::{HOOK, Release, Scene},
};

/// What agents call it.
pub const AUDIENCE: &str = "load";

/// A controller that runs; killed when dropped.
#[derive(Debug)]
pub struct Controller {
    /// Where agents are listened to.
    pub agents: SocketAddr,
    operators: SocketAddr,
    pid: u32,
    log: PathBuf,
    _process: Child,
}

/// What a process has taken so far.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Time of processors.
    pub cpu: Duration,
    /// Memory that it has now, all of it resident.
    pub rss_kib: u64,
}

impl Controller {
    /// Starts it in `folder`, with its defaults, on a store that is still empty.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(program: &Path, folder: &Path, scene: &Scene, release: &Release) -> Result<Self> {
        secret(&folder.join("operator-token"), OPERATOR_TOKEN)?;
        fs::write(folder.join("release.key.pub"), &release.trust)?;
        fs::write(folder.join("controller.toml"), config(scene))?;
        let log = folder.join("controller.log");
        let mut process = Command::new(program)
            .args(["run", "--config"])
            .arg(folder.join("controller.toml"))
            .envs([
                ("AWS_ACCESS_KEY_ID", "load"),
                ("AWS_SECRET_ACCESS_KEY", "load"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let stdout = process.stdout.take().context("the controller has an output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_TIME_MAX, lines.next_line()).await.context("the controller says nothing")??;
        let Some(line) = line else { bail!("the controller ended: {}", fs::read_to_string(&log).unwrap_or_default()) };
        // `agents on http://…, operators on http://…`
        let addresses: Vec<SocketAddr> =
            line.split([' ', ',']).filter_map(|word| word.strip_prefix("http://")?.parse().ok()).collect();
        let [agents, operators] = addresses.try_into().map_err(|_| anyhow::anyhow!("the controller says: {line}"))?;
        let pid = process.id().context("the controller ended")?;
        Ok(Self { agents, operators, pid, log, _process: process })
    }

    /// Publishes and promotes the release everywhere, and makes a join token for each group, in their order.
    ///
    /// # Errors
    /// When it refuses any of that.
    pub async fn set_up(&self, scene: &Scene, release: &Release) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Created {
            token: String,
        }
        let mut operator = self.operator();
        operator
            .order_raw("/v1/releases", OPERATOR_TOKEN, release.envelope.clone())
            .await?
            .read::<serde_json::Value>()?;
        let wish = Promote { release: release.digest.to_string(), rollback: false, force: false, reason: None };
        let mut tokens = Vec::new();
        for (group, size) in &scene.groups {
            let path = format!("/v1/groups/{group}/promote");
            operator.order(&path, OPERATOR_TOKEN, &wish).await?.read::<serde_json::Value>()?;
            let wish = json!({"group": group, "expires_in_s": 3_600, "uses": size});
            let created = operator.order("/v1/join-tokens", OPERATOR_TOKEN, &wish).await?;
            tokens.push(created.read::<Created>()?.token);
        }
        Ok(tokens)
    }

    fn operator(&self) -> Client {
        Client::new(Ipv4Addr::LOCALHOST, self.operators)
    }

    /// What it has taken so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn taken(&self) -> Result<Taken> {
        let gone = || format!("the controller has ended: {}", self.last_words());
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).with_context(gone)?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).with_context(gone)?;
        let (_, rest) = stat.rsplit_once(')').context("no stat")?;
        // Fields 14 and 15, in ticks of 10 ms on every Linux there is.
        let ticks: u64 =
            rest.split_ascii_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(gone)?;
        let rss_kib = rss.split_ascii_whitespace().next().and_then(|text| text.parse().ok()).context("no VmRSS")?;
        Ok(Taken { cpu: Duration::from_millis(ticks * 10), rss_kib })
    }

    /// Its metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Page> {
        let page = timeout(ANSWER_TIME_MAX, self.operator_get("/metrics")).await.context("/metrics: no answer")??;
        Ok(Page(page))
    }

    async fn operator_get(&self, path: &str) -> Result<String> {
        let reply = self.operator().get(path).await?;
        ensure!(reply.status.is_success(), "{path}: {}", reply.status);
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }

    /// Whether its log names a client that reached a limit.
    pub fn log_names(&self, client: Ipv4Addr) -> bool {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let client = format!("\"{client}\"");
        log.lines().any(|line| line.contains("a client reached a limit") && line.contains(&client))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

/// A page of metrics.
#[derive(Debug, Clone)]
pub struct Page(String);

impl Page {
    /// The sum of all series of this name whose labels have `part` in them.
    pub fn sum(&self, name: &str, part: &str) -> f64 {
        let of = |line: &str| {
            let labels_and_value = line.strip_prefix(name)?;
            let is_it = labels_and_value.starts_with(['{', ' ']) && labels_and_value.contains(part);
            is_it.then(|| labels_and_value.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        self.0.lines().filter_map(of).sum()
    }

    /// The values of a label, in the series of this name.
    pub fn values<'a>(&'a self, name: &str, label: &str) -> Vec<&'a str> {
        let begin = format!("{label}=\"");
        let of = |line: &'a str| line.split_once(begin.as_str())?.1.split('"').next();
        self.0.lines().filter(|line| line.starts_with(name)).filter_map(of).collect()
    }
}

fn config(scene: &Scene) -> String {
    let mut config = format!(
        "audience = \"{AUDIENCE}\"\nstore = \"controller.redb\"\n\
         [agents]\nlisten = \"127.0.0.1:0\"\n[operators]\nlisten = \"127.0.0.1:0\"\n\
         [[operators.tokens]]\nname = \"load\"\nfile = \"operator-token\"\n\
         [aws]\nregion = \"eu-west-1\"\nendpoint_url = \"{}\"\n[trust]\nkeys = [\"release.key.pub\"]\n",
        scene.cloud.url()
    );
    for (group, _) in &scene.groups {
        config += &format!("[groups.{group}]\nmode = \"enforce\"\nhook = \"{HOOK}\"\nproduct = \"load\"\n");
    }
    config
}

fn secret(path: &Path, secret: &str) -> Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}

/// Nobody else reaches this controller, and it holds nothing.
const OPERATOR_TOKEN: &str = "operator-of-a-load-test";
const START_TIME_MAX: Duration = Duration::from_secs(30);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read() {
        let page = Page(
            "a_total 7\na_total_more 9\nb_total{client=\"x\",limit=\"l\"} 2\nb_total{client=\"y\",limit=\"l\"} 3\n"
                .into(),
        );
        assert_eq!(page.sum("a_total", ""), 7.0);
        assert_eq!((page.sum("b_total", ""), page.sum("b_total", "client=\"y\"")), (5.0, 3.0));
        assert_eq!(page.values("b_total", "client"), ["x", "y"]);
    }
}
