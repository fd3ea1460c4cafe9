//! The road from one agent to the controller: the instance's own address, and an ear. What the agent of a liar says is
//! replaced here, with the instance's own key: whoever is root there could do the same.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use portcullis::{
    outcome::Status,
    report::Report,
    signature::{Envelope, EnvelopeLimits},
};
use portcullis_cloud::Server;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::lies::{Liar, Rumours};

/// A report that an agent sent, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// When the challenge that it answers was asked for; the checking began after that.
    pub(crate) challenged_ms: u64,
    pub(crate) sent_ms: u64,
    /// When the controller had answered that it took it.
    pub(crate) taken_ms: Option<u64>,
    pub(crate) passes: bool,
    /// It was replaced on its way.
    pub(crate) is_lie: bool,
}

/// One agent's road; it is closed when dropped.
#[derive(Debug)]
pub(crate) struct Road {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    cloud: Arc<Server>,
    controller: SocketAddr,
    /// Each instance has an address of its own: the controller limits clients by it.
    source: Ipv4Addr,
    state: Mutex<State>,
    rumours: Rumours,
    passed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    challenged_ms: u64,
    heard: Vec<Heard>,
    /// The last passing report of this instance, as it was sent.
    own: Option<Bytes>,
    liar: Option<Liar>,
}

/// A connection that is broken off.
type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Road {
    pub(crate) async fn open(
        cloud: Arc<Server>,
        controller: SocketAddr,
        number: u32,
        rumours: Rumours,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a road gets no port")?;
        let [.., high, low] = number.to_be_bytes();
        let shared = Arc::new(Shared {
            cloud,
            controller,
            source: Ipv4Addr::new(127, 1, high, low),
            state: Mutex::default(),
            rumours,
            passed: watch::Sender::new(false),
        });
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { url, shared, task })
    }

    /// Becomes true when the first passing report is on its way.
    pub(crate) fn passed(&self) -> watch::Receiver<bool> {
        self.shared.passed.subscribe()
    }

    /// From now on the agent's reports are replaced.
    pub(crate) fn lies_with(&self, key: PathBuf) {
        let mut state = self.shared.lock();
        state.liar = Some(Liar::new(key, state.own.clone()));
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.lock().heard.clone()
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.cloud.lock().now_ms()
    }

    async fn carry(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        match parts.uri.path() {
            "/v1/challenge" => {
                let asked_ms = self.now_ms();
                let answer = self.forward(Request::from_parts(parts, body)).await?;
                if answer.status().is_success() {
                    self.lock().challenged_ms = asked_ms;
                }
                Ok(answer.map(Full::new))
            }
            "/v1/report" => {
                let (body, index) = self.report(body)?;
                let answer = self.forward(Request::from_parts(parts, body)).await?;
                if answer.status().is_success() {
                    let now_ms = self.now_ms();
                    let mut state = self.lock();
                    state.heard[index].taken_ms = Some(now_ms);
                    let is_truth = !state.heard[index].is_lie;
                    if let Some(liar) = state.liar.as_mut().filter(|_| is_truth) {
                        liar.was_heard();
                    }
                }
                Ok(answer.map(Full::new))
            }
            _ => Ok(self.forward(Request::from_parts(parts, body)).await?.map(Full::new)),
        }
    }

    /// Writes down what is said, or what is said in its place; its number.
    fn report(&self, body: Bytes) -> Result<(Bytes, usize), Broken> {
        let report: Report = serde_json::from_slice(&Envelope::parse(&body, &EnvelopeLimits::MESSAGE)?.payload)?;
        let passes = report.outcomes.iter().all(|outcome| outcome.status == Status::Pass);
        let sent_ms = self.now_ms();
        let (said, is_lie) = {
            let mut state = self.lock();
            let lie = state.liar.as_mut().and_then(|liar| liar.instead_of(report, &self.rumours));
            let heard = Heard {
                challenged_ms: state.challenged_ms,
                sent_ms,
                taken_ms: None,
                passes: passes || lie.is_some(),
                is_lie: lie.is_some(),
            };
            state.heard.push(heard);
            if passes && lie.is_none() {
                state.own = Some(body.clone());
                self.rumours.hear(body.clone());
            }
            let is_lie = lie.is_some();
            ((lie.unwrap_or(body), state.heard.len() - 1), is_lie)
        };
        if passes && !is_lie {
            self.passed.send_replace(true);
        }
        Ok(said)
    }

    async fn forward(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.source, 0).into())?;
        let stream = socket.connect(self.controller).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (parts, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Response::from_parts(parts, body))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| shared.carry(request));
    // An error is an agent that went away, or a controller that is not there: the agent is to see just that.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
