//! The web server of one instance: nginx where there is one, else a static server of our own. Both serve the instance's own
//! files, and both answer (wrongly) when the files are not there: that is how the outage began.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{interval, timeout},
};

/// Which web server the instances run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A real nginx.
    Nginx(PathBuf),
    /// The embedded one.
    Embedded,
}

impl Kind {
    /// nginx, if this machine has one.
    pub fn find() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        folders.map(|folder| folder.join("nginx")).find(|file| file.is_file()).map_or(Self::Embedded, Self::Nginx)
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nginx(_) => "nginx",
            Self::Embedded => "an embedded static server (no nginx on this machine)",
        }
    }
}

/// A running web server; it ends when dropped.
#[derive(Debug)]
pub struct WebServer {
    /// Where it answers.
    pub address: SocketAddr,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    /// The master process.
    Nginx(Child),
    Embedded(JoinHandle<()>),
}

impl WebServer {
    /// Starts one that serves `instance`'s `/var/www/shop`, configured by what is in its `/etc/shop`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(kind: &Kind, instance: &Path) -> Result<Self> {
        match kind {
            Kind::Nginx(program) => start_nginx(program, instance).await,
            Kind::Embedded => start_embedded(instance.join("var/www/shop")).await,
        }
    }

    /// Reads its configuration again, as a deploy does at its end.
    ///
    /// # Errors
    /// When nginx is gone.
    pub fn reload(&self) -> Result<()> {
        match &self.runs {
            Runs::Nginx(master) => signal(master, Signal::HUP),
            Runs::Embedded(_) => Ok(()),
        }
    }

    async fn until_it_listens(&mut self) -> Result<()> {
        let mut look = interval(LOOK_EVERY);
        while TcpStream::connect(self.address).await.is_err() {
            if let Runs::Nginx(master) = &mut self.runs
                && let Some(status) = master.try_wait()?
            {
                bail!("nginx ended: {status}");
            }
            look.tick().await;
        }
        Ok(())
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        match &mut self.runs {
            // The master ends its workers; killed, it would leave them behind.
            Runs::Nginx(master) => {
                if let Err(error) = signal(master, Signal::TERM).and_then(|()| Ok(master.wait()?)) {
                    eprintln!("{error:#}");
                }
            }
            Runs::Embedded(task) => task.abort(),
        }
    }
}

async fn start_nginx(program: &Path, instance: &Path) -> Result<WebServer> {
    let folder = instance.join("run/nginx");
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    fs::write(folder.join("nginx.conf"), nginx_config(instance, &folder, address)?)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log"));
    let master = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("nginx does not start")?;
    let mut server = WebServer { address, runs: Runs::Nginx(master) };
    match timeout(START_TIME_MAX, server.until_it_listens()).await {
        Ok(listens) => listens.with_context(|| fs::read_to_string(folder.join("error.log")).unwrap_or_default())?,
        Err(_) => bail!("nginx does not listen"),
    }
    Ok(server)
}

fn signal(master: &Child, signal: Signal) -> Result<()> {
    kill_process(Pid::from_child(master), signal).context("nginx is gone")
}

/// What the image brings: where to listen, and to include what the deploy brings.
fn nginx_config(instance: &Path, folder: &Path, address: SocketAddr) -> Result<String> {
    let (instance, folder) = (instance.display(), folder.display());
    // Started by root, nginx would give up root; the files of a scratch folder may not be readable for anybody else.
    let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;\n" } else { "" };
    Ok(format!(
        "{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n  types {{ text/html html; }}\n  default_type text/plain;\n\
         \x20 client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n\
         \x20 uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
         \x20 server {{\n    listen {address};\n    root {instance}/var/www/shop;\n    include {instance}/etc/shop/*.conf;\n  }}\n}}\n"
    ))
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?)
}

async fn start_embedded(root: PathBuf) -> Result<WebServer> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(page).with_state(root);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            eprintln!("embedded web server: {error}");
        }
    });
    Ok(WebServer { address, runs: Runs::Embedded(task) })
}

async fn page(State(root): State<PathBuf>, uri: Uri) -> Result<Vec<u8>, StatusCode> {
    let path = Path::new(uri.path().trim_start_matches('/'));
    if !path.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(StatusCode::BAD_REQUEST);
    }
    fs::read(root.join(path)).map_err(|_| StatusCode::NOT_FOUND)
}

const LOOK_EVERY: Duration = Duration::from_millis(5);
const START_TIME_MAX: Duration = Duration::from_secs(10);
