//! Servers with agents on them, a controller, users, and what they get.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::Result;
use portcullis_drill::{
    gate::{Gate, Release, Setup},
    scene::Scratch,
    site::{Deploy, Site},
};
use portcullis_wire::programs;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Child,
    task::JoinHandle,
    time::{interval, timeout},
};

/// A controller and the machines whose agents join it. The balancers are the tests' own.
pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) servers: BTreeMap<&'static str, Server>,
    site: Site,
    scratch: Scratch,
}

/// A machine: a web server that is always well, and counts what users ask of it; an agent, once it is started.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    root: PathBuf,
    asked: Arc<AtomicU64>,
    task: JoinHandle<()>,
    agent: Option<Child>,
}

/// What is there before the controller: the machines, and a place for files.
pub(crate) struct Machines {
    pub(crate) servers: BTreeMap<&'static str, Server>,
    pub(crate) scratch: Scratch,
}

impl Machines {
    pub(crate) async fn start(test: &str, names: &[&'static str]) -> Result<Self> {
        let scratch = Scratch::make(&format!("haproxy-{test}"))?;
        let mut servers = BTreeMap::new();
        for name in names {
            servers.insert(*name, Server::start(scratch.join(name)).await?);
        }
        Ok(Self { servers, scratch })
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.servers[name].address
    }

    /// `server` line of one that starts in maintenance.
    pub(crate) fn disabled(&self, name: &'static str) -> super::balancer::Line {
        (name, self.address(name), "disabled".into())
    }

    /// Adds the gate: a controller with a promoted release, and a join token.
    pub(crate) async fn gated(self, setup: Setup) -> Result<World> {
        let Self { servers, scratch } = self;
        let site = Site::write(scratch.join("staging"))?;
        let release = Release::build(programs(), &site, &scratch.join("release"))?;
        let gate = Gate::set_up(programs(), &release, "", &scratch.join("gate"), &setup).await?;
        gate.publish(&release).await?;
        gate.promote(&release).await?;
        gate.make_join_token().await?;
        Ok(World { gate, servers, site, scratch })
    }
}

impl World {
    /// Deploys to a machine, and starts its agent, which joins with the token.
    pub(crate) fn joins(&mut self, name: &'static str, deploy: Deploy) -> Result<()> {
        self.deploy(name, deploy)?;
        let image = self.gate.agent_image();
        let server = self.servers.get_mut(name).expect("there is such a machine");
        server.agent = Some(image.start(name, &server.root)?);
        Ok(())
    }

    pub(crate) fn deploy(&self, name: &str, deploy: Deploy) -> Result<()> {
        self.site.deploy(&self.servers[name].root, deploy)
    }

    /// A file that the release does not have; gone, all is well again.
    pub(crate) fn drift(&self, name: &str) -> Result<PathBuf> {
        let file = self.servers[name].root.join("var/www/shop/left-behind.php");
        std::fs::write(&file, "<?php\n")?;
        Ok(file)
    }

    /// As it comes from the installer: no key, no memory; the same name.
    pub(crate) async fn reinstall(&mut self, name: &'static str) -> Result<()> {
        let server = self.servers.get_mut(name).expect("there is such a machine");
        if let Some(mut agent) = server.agent.take() {
            agent.kill().await?;
        }
        std::fs::remove_dir_all(server.root.join("run/agent"))?;
        self.joins(name, Deploy::Whole)
    }

    /// How often users asked a machine.
    pub(crate) fn asked(&self, name: &str) -> u64 {
        self.servers[name].asked.load(SeqCst)
    }

    pub(crate) async fn until_asked(&self, name: &str) -> Result<()> {
        let before = self.asked(name);
        let mut look = interval(Duration::from_millis(10));
        timeout(Duration::from_secs(30), async {
            while self.asked(name) == before {
                look.tick().await;
            }
        })
        .await
        .map_err(|_| anyhow::anyhow!("no user reaches {name}"))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Waits until `portcullis WORDS` says `text`.
    pub(crate) async fn until_said(&self, words: &[&str], text: &str) -> Result<String> {
        let mut look = interval(Duration::from_millis(200));
        let mut last = String::new();
        let said = timeout(Duration::from_secs(45), async {
            loop {
                look.tick().await;
                last = self.gate.cli(words).await?.stdout;
                if last.contains(text) {
                    return anyhow::Ok(());
                }
            }
        });
        match said.await {
            Ok(said) => said.map(|()| last),
            Err(_) => anyhow::bail!("{words:?} says nothing of `{text}`, but: {last}"),
        }
    }
}

impl Server {
    async fn start(root: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&root)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, asked) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn(serve(listener, Arc::clone(&asked)));
        Ok(Self { address, root, asked, task, agent: None })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, asked: Arc<AtomicU64>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut head = [0; 2048];
            let read = stream.read(&mut head).await.unwrap_or(0);
            if !head[..read].starts_with(b"GET /health ") && read > 0 {
                asked.fetch_add(1, SeqCst);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n").await;
        });
    }
}

/// Users who ask without a pause, several at a time, until they are dropped.
pub(crate) struct Load {
    counts: Arc<[AtomicU64; 2]>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn on(address: SocketAddr) -> Self {
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let tasks = (0..USERS).map(|_| tokio::spawn(ask_on(address, Arc::clone(&counts)))).collect();
        Self { counts, tasks }
    }

    /// How many were answered well, and how many not.
    pub(crate) fn tally(&self) -> (u64, u64) {
        (self.counts[0].load(SeqCst), self.counts[1].load(SeqCst))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn ask_on(address: SocketAddr, counts: Arc<[AtomicU64; 2]>) {
    let mut pace = interval(Duration::from_millis(4));
    loop {
        pace.tick().await;
        let well = timeout(Duration::from_secs(5), ask(address)).await.is_ok_and(|asked| asked.unwrap_or(false));
        counts[usize::from(!well)].fetch_add(1, SeqCst);
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

const USERS: usize = 4;
