//! `/readyz` beside nginx's `return 200`: CPU for each request, and whether a running check is felt.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{Options, corpus::Corpus, measure::cpu_s, serving::Serving};

pub(super) fn run(options: &Options, corpus: &Corpus) -> anyhow::Result<()> {
    corpus.settled()?;
    let nginx = Nginx::start()?;
    println!("\n/readyz, {CONNECTIONS} connections, {} s each\n", options.seconds.min(SECONDS_MAX));
    println!("{:<34} {:>12} {:>14} {:>10} {:>10}", "", "requests/s", "CPU µs/request", "p50", "p99");
    for _ in 0..options.rounds.max(1) {
        let theirs = load("nginx return 200", nginx.address, options, || cpu_s(nginx.worker()?, &[14, 15]))?;
        let quiet = {
            let serving = Serving::start(corpus, 3_600, "")?;
            serving.next(None)?;
            load("/readyz", serving.address, options, || Ok(serving.cpu_s()?.0))?
        };
        // Every file is read, again and again.
        let serving = Serving::start(corpus, 1, "cache = false")?;
        serving.next(None)?;
        let busy = load("/readyz, a check running", serving.address, options, || Ok(serving.cpu_s()?.0))?;
        // What the same check does to whoever else serves on this machine.
        let theirs_busy =
            load("nginx, the same check running", nginx.address, options, || cpu_s(nginx.worker()?, &[14, 15]))?;
        println!(
            "CPU for each request, of nginx's: {:.2} quiet, {:.2} while checking, {:.2} of nginx's while checking",
            quiet / theirs,
            busy / theirs,
            busy / theirs_busy
        );
    }
    Ok(())
}

/// Puts load on `address`; CPU microseconds of the server for each request.
fn load(
    name: &str,
    address: SocketAddr,
    options: &Options,
    cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<f64> {
    let before = cpu()?;
    let output = Command::new("wrk")
        .args(["-t2", &format!("-c{CONNECTIONS}"), &format!("-d{}s", options.seconds.min(SECONDS_MAX)), "--latency"])
        .arg(format!("http://{address}/readyz"))
        .output()
        .map_err(|error| anyhow::anyhow!("wrk: {error}; apt-get install wrk"))?;
    let used_s = cpu()? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = |line: &str, at: usize| {
        let line = text.lines().find(|text| text.trim_start().starts_with(line))?;
        line.split_whitespace().nth(at).map(String::from)
    };
    let requests = text.lines().find(|line| line.contains(" requests in "));
    let requests: f64 = requests.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN);
    anyhow::ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{name}: {text}");
    let each_us = used_s * 1e6 / requests;
    let (rate, p50, p99) = (word("Requests/sec:", 1), word("50%", 1), word("99%", 1));
    let shown = |word: Option<String>| word.unwrap_or_else(|| "-".into());
    println!("{name:<34} {:>12} {each_us:>14.2} {:>10} {:>10}", shown(rate), shown(p50), shown(p99));
    Ok(each_us)
}

struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Nginx {
    fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 100000000; server {{ listen {address}; \
             location / {{ return 200 \"ok\\n\"; }} }} }}\n"
        );
        fs::write(directory.path().join("nginx.conf"), config)?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(directory.path())
            .args(["-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| anyhow::anyhow!("nginx: {error}; apt-get install nginx"))?;
        let nginx = Self { child, address, _directory: directory };
        for _ in 0..500 {
            // The master listens before it has a worker that answers.
            if nginx.worker().is_ok() && TcpStream::connect(address).is_ok() {
                return Ok(nginx);
            }
            thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("nginx does not listen, or has no worker")
    }

    fn worker(&self) -> anyhow::Result<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let first = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        first.ok_or_else(|| anyhow::anyhow!("nginx has no worker"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its workers behind.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

const CONNECTIONS: u32 = 50;
/// The agent ends each connection after 15 s, and `wrk` takes that for an error.
const SECONDS_MAX: usize = 14;
