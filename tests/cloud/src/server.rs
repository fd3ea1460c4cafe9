//! The listener: AWS's calls at `/`, the control surface at `/_cloud/…`, and the hand that moves the time.

mod control;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, Started};
use crate::model::Cloud;
use crate::options::Options;
use crate::wire;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What moves the time.
    pub clock: Clock,
    /// How the cloud behaves.
    pub cloud: Options,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    /// The address it listens on.
    pub addr: SocketAddr,
    /// The cloud, to look at and to change in-process. Hold the lock shortly, and never across an `await`.
    pub cloud: Arc<Mutex<Cloud>>,
    changes: watch::Receiver<u64>,
    tasks: JoinSet<Infallible>,
}

/// What connections share.
#[derive(Clone)]
struct Shared {
    cloud: Arc<Mutex<Cloud>>,
    clock: Started,
    /// How far hands have moved the time beyond the clock: what was skipped stays skipped.
    skipped_ms: Arc<AtomicU64>,
    changes: Arc<watch::Sender<u64>>,
}

type Answer = Response<Full<Bytes>>;

/// The connection is dropped on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

impl ServerOptions {
    /// A server on a free port of the loopback address, on real time.
    pub fn local(cloud: Options) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, clock: Clock::Real { speed: 1 }, cloud }
    }
}

impl Server {
    /// Listens and serves, on the present tokio runtime.
    pub async fn start(options: ServerOptions) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let clock = options.clock.start();
        let cloud = Arc::new(Mutex::new(Cloud::new(options.cloud, clock.started_ms())));
        let (sender, changes) = watch::channel(0);
        let shared = Shared { cloud: Arc::clone(&cloud), clock, skipped_ms: Arc::default(), changes: Arc::new(sender) };
        let mut tasks = JoinSet::new();
        tasks.spawn(tick(shared.clone()));
        tasks.spawn(accept(listener, shared));
        Ok(Self { addr, cloud, changes, tasks })
    }

    /// The base URL, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The cloud, locked.
    pub fn lock(&self) -> MutexGuard<'_, Cloud> {
        lock(&self.cloud)
    }

    /// Holds the number of the newest event; `changed().await` on it, then ask [`Cloud::events_since`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        self.tasks.join_next().await;
    }
}

impl Shared {
    /// Does something to the cloud at the present time, and wakes those who watch.
    fn with<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> T {
        let mut cloud = lock(&self.cloud);
        let clock_ms = self.clock.now_ms();
        if let Some(clock_ms) = clock_ms {
            cloud.advance(clock_ms + self.skipped_ms.load(Ordering::Relaxed));
        }
        let outcome = act(&mut cloud);
        if let Some(clock_ms) = clock_ms {
            self.skipped_ms.store(cloud.now_ms().saturating_sub(clock_ms), Ordering::Relaxed);
        }
        let last = cloud.last_event();
        drop(cloud);
        self.changes.send_if_modified(|seen| std::mem::replace(seen, last) != last);
        outcome
    }
}

/// A poisoned lock is a panic in some test that held it; the cloud itself is still whole enough to ask.
fn lock(cloud: &Mutex<Cloud>) -> MutexGuard<'_, Cloud> {
    cloud.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn tick(shared: Shared) -> Infallible {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        shared.with(|_| ());
    }
}

async fn accept(listener: TcpListener, shared: Shared) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { continue };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: a moment later there may be some.
            tokio::time::sleep(TICK).await;
            continue;
        };
        let shared = shared.clone();
        connections.spawn(async move {
            serve(stream, shared).await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, shared: Shared) {
    let service = service_fn(move |request| answer(request, shared.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    // An error is a client that went away, or an answer that was ordered to be lost.
    drop(connection.await);
}

async fn answer(request: Request<Incoming>, shared: Shared) -> Result<Answer, Lost> {
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let Ok(Ok(body)) = body.map(|body| body.map(http_body_util::Collected::to_bytes)) else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large or too slow\n"));
    };
    if parts.uri.path().starts_with("/_cloud/") {
        return Ok(shared.with(|cloud| control::answer(cloud, &parts, &body)));
    }
    if parts.uri.path() != "/" || parts.method != Method::POST {
        return Ok(plain(StatusCode::NOT_FOUND, "calls are POSTed to /, the control surface is at /_cloud/\n"));
    }
    let signer = signer(&parts);
    let reply = shared.with(|cloud| wire::call_signed(cloud, &body, signer));
    tokio::time::sleep(Duration::from_millis(reply.delay_ms)).await;
    if reply.lost {
        return Err(Lost);
    }
    Ok(typed(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_REQUEST), "text/xml", reply.body))
}

/// `Authorization: AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/SERVICE/aws4_request, …`
fn signer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    header.split_once("Credential=")?.1.split('/').next()
}

fn plain(status: StatusCode, text: &str) -> Answer {
    typed(status, "text/plain", text.to_owned())
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// How often time moves when nobody calls: fine enough for delays of 200 ms, coarse enough to cost nothing.
const TICK: Duration = Duration::from_millis(10);

/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 512;

/// The largest form: fifty ids are a few kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A client that does not send is let go.
const HEADERS_WITHIN: Duration = Duration::from_secs(60);
const BODY_WITHIN: Duration = Duration::from_secs(30);
