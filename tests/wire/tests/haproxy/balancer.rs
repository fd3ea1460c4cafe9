//! A real HAProxy, master and worker, in front of some servers.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use portcullis_drill::scene::GROUP;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::{interval, timeout},
};

/// It ends when dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    folder: PathBuf,
    master: Child,
}

/// One `server` line, without its name and address.
pub(crate) type Line = (&'static str, SocketAddr, String);

impl Balancer {
    /// Starts one; `servers` as the backend has them.
    pub(crate) async fn start(folder: PathBuf, servers: &[Line]) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let address = free_address()?;
        let socket = folder.join("admin.sock");
        fs::write(folder.join("haproxy.cfg"), config(address, &socket, &folder.join("state"), servers))?;
        let master = start(&folder)?;
        let balancer = Self { address, socket, folder, master };
        balancer.until_it_answers().await?;
        Ok(balancer)
    }

    /// One command of the Runtime API, by hand.
    pub(crate) async fn ask(&self, command: &str) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
        Ok(answer)
    }

    /// Whether it holds a server in maintenance, as the columns `srv_op_state` and `srv_admin_state` have it.
    pub(crate) async fn holds(&self, server: &str) -> Result<bool> {
        let (operation, admin) = self.state(server).await?;
        Ok(operation == 0 && admin & 1 == 1)
    }

    async fn state(&self, server: &str) -> Result<(u32, u32)> {
        let answer = self.ask(&format!("show servers state {GROUP}")).await?;
        let mut rows = answer.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let row = rows.find(|row| row.get(3) == Some(&server)).context("there is no such server")?;
        Ok((row[5].parse()?, row[6].parse()?))
    }

    /// A reload as systemd does it; with `state`, the servers' state is saved first.
    pub(crate) async fn reload(&self, state: bool) -> Result<()> {
        let before = self.worker().await?;
        if state {
            fs::write(self.folder.join("state"), self.ask("show servers state").await?)?;
        }
        // A signal that comes while the master still ends the reload before may be lost.
        let mut looks = 0;
        let another = async || {
            if looks % SIGNAL_EVERY_LOOKS == 0 {
                kill_process(Pid::from_child(&self.master), Signal::USR2)?;
            }
            looks += 1;
            Ok(self.worker().await.is_ok_and(|pid| pid != before))
        };
        self.until("another worker answers", another).await
    }

    /// Killed, and started again.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.master = start(&self.folder)?;
        self.until_it_answers().await
    }

    fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.master), Signal::TERM)?;
        self.master.wait()?;
        Ok(())
    }

    async fn worker(&self) -> Result<u32> {
        let info = self.ask("show info").await?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: ")).context("it has a Pid")?;
        Ok(pid.parse()?)
    }

    async fn until_it_answers(&self) -> Result<()> {
        let answers = async || Ok(self.worker().await.is_ok() && TcpStream::connect(self.address).await.is_ok());
        self.until("it answers", answers).await
    }

    pub(crate) async fn until_held(&self, server: &str, held: bool) -> Result<()> {
        let what = format!("{server} is {}", if held { "held" } else { "let in" });
        self.until(&what, async || Ok(self.holds(server).await.is_ok_and(|is| is == held))).await
    }

    /// No new requests, as the columns have it.
    pub(crate) async fn until_drained(&self, server: &str, drained: bool) -> Result<()> {
        let what = format!("{server} is {}", if drained { "drained" } else { "no longer drained" });
        let is_so = async || Ok(self.state(server).await.is_ok_and(|(_, admin)| (admin & 9 == 8) == drained));
        self.until(&what, is_so).await
    }

    /// Its check fails.
    pub(crate) async fn until_down(&self, server: &str) -> Result<()> {
        let is_down = async || Ok(self.state(server).await.is_ok_and(|(operation, _)| operation == 0));
        self.until(&format!("{server} is down"), is_down).await
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        let mut look = interval(LOOK_EVERY);
        let looking = async {
            loop {
                look.tick().await;
                if is_so().await? {
                    return anyhow::Ok(());
                }
            }
        };
        match timeout(PATIENCE, looking).await {
            Ok(seen) => seen,
            Err(_) => {
                let (state, log) =
                    (self.ask("show servers state").await?, fs::read_to_string(self.folder.join("log"))?);
                bail!("{what}: not within {} s; {state}{log}", PATIENCE.as_secs())
            }
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("HAProxy: {error:#}");
        }
    }
}

fn start(folder: &Path) -> Result<Child> {
    let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new("haproxy");
    command.args(["-W", "-db", "-f"]).arg(folder.join("haproxy.cfg"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("haproxy does not start")
}

fn config(address: SocketAddr, socket: &Path, state: &Path, servers: &[Line]) -> String {
    let (socket, state) = (socket.display(), state.display());
    let lines = servers.iter().map(|(name, address, rest)| format!("  server {name} {address} check {rest}\n"));
    let lines: String = lines.collect();
    format!(
        "global\n  stats socket {socket} mode 600 level admin expose-fd listeners\n  server-state-file {state}\n  \
         hard-stop-after 2s\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n  \
         load-server-state-from-file global\n  retries 0\n\
         frontend users\n  bind {address}\n  default_backend {GROUP}\n\
         backend {GROUP}\n  balance roundrobin\n  option httpchk GET /health\n  default-server inter 100ms fall 2 rise 1\n{lines}"
    )
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?)
}

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Five seconds.
const SIGNAL_EVERY_LOOKS: u32 = 250;
const PATIENCE: Duration = Duration::from_secs(45);
