//! Serving a router on a listener: connections, header times and requests of one client are bounded.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    App,
    flowing::{Flowing, Pace},
    limits::{Arrived, Clients, Limit},
    problem::{Kind, Refusal},
    tls::{Acceptor, LOOK_EVERY, TlsError},
};
use crate::config::Listener;

/// A bound listener, and what it serves.
pub struct Server {
    listener: TcpListener,
    name: &'static str,
    tls: Option<Arc<Acceptor>>,
    clients: Arc<Clients>,
    router: Router,
    app: Arc<App>,
}

/// A listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {because}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        because: String,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Server {
    /// Binds the address, and reads the certificate if there is one.
    ///
    /// # Errors
    /// When either cannot be had.
    pub async fn bind(
        name: &'static str,
        listener: &Listener,
        router: Router,
        app: Arc<App>,
    ) -> Result<Self, BindError> {
        let tls = listener.tls.clone().map(|tls| Acceptor::new(name, tls)).transpose()?.map(Arc::new);
        let clients = Arc::new(Clients::new(listener.requests_per_minute_max, listener.connections_max));
        let address = listener.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| BindError::Address { address, because: error.to_string() })?;
        Ok(Self { listener, name, tls, clients, router, app })
    }

    /// `https://ADDRESS` or `http://ADDRESS`, with the port that was bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn url(&self) -> std::io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.listener.local_addr()?))
    }

    /// Serves until `stop` says so; requests under way are then cut.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        let accepted = self.accept();
        // Two futures of which the first to end ends both; no order matters here.
        let (stopped, accepted) = (Box::pin(stopped), Box::pin(accepted));
        first(stopped, accepted).await;
    }

    async fn accept(self) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Ends with this future: a stop cuts the connections too.
        let mut speaking = JoinSet::new();
        if let Some(tls) = &self.tls {
            speaking.spawn(watch_certificate(Arc::clone(tls), Arc::clone(&self.app)));
        }
        loop {
            while speaking.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(arrived) = self.clients.arrives(peer.ip(), self.app.clock.now()) else {
                self.app.offends(self.name, peer.ip(), Limit::Connections);
                continue;
            };
            let (clients, app) = (Arc::clone(&self.clients), Arc::clone(&self.app));
            let (arrived, all) = (Arc::new(arrived), Arc::clone(&connections));
            let client = Client { listener: self.name, arrived, all, clients, app };
            let (router, tls) = (self.router.clone(), self.tls.clone());
            speaking.spawn(async move {
                connection(stream, tls, router, client).await;
                drop(permit);
            });
        }
    }
}

/// Tells what is shown, again and again.
async fn watch_certificate(tls: Arc<Acceptor>, app: Arc<App>) {
    let mut beat = tokio::time::interval(LOOK_EVERY);
    loop {
        beat.tick().await;
        let tls = Arc::clone(&tls);
        if let Ok(seen) = tokio::task::spawn_blocking(move || tls.look()).await {
            app.metrics.shows(&seen);
            app.notices.certificate(seen);
        }
    }
}

/// Until either ends.
pub(crate) async fn first(a: impl Future<Output = ()> + Unpin, b: impl Future<Output = ()> + Unpin) {
    let (mut a, mut b) = (a, b);
    std::future::poll_fn(|context| {
        let a = std::pin::Pin::new(&mut a).poll(context);
        let b = std::pin::Pin::new(&mut b).poll(context);
        if a.is_ready() || b.is_ready() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn connection(stream: TcpStream, tls: Option<Arc<Acceptor>>, router: Router, client: Client) {
    let _ = stream.set_nodelay(true);
    let offender = client.clone();
    let stream = Flowing::new(stream, Pace::default(), move || offender.offends(Limit::AnswerTime));
    match tls {
        None => speak(stream, router, client).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(HEADER_TIMEOUT, tls.current().accept(stream));
            match handshake.await {
                Ok(Ok(stream)) => speak(stream, router, client).await,
                // Somebody who believes another authority, or speaks no TLS: its own problem.
                Ok(Err(_)) => {}
                Err(_) => client.offends(Limit::Handshake),
            }
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, client: Client) {
    let router = TowerToHyperService::new(router);
    let (client, served) = (Arc::new(client), Arc::new(AtomicBool::new(false)));
    let (of, has_served) = (Arc::clone(&client), Arc::clone(&served));
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let (router, client) = (router.clone(), Arc::clone(&of));
        has_served.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Arc::clone(&client));
        async move {
            match client.refused() {
                Some(refused) => Ok::<Response<Body>, Infallible>(refused),
                None => router.call(request).await,
            }
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES_MAX);
    // A client that breaks off, or speaks something else than HTTP, is its own problem. One that has been served and is idle is
    // cut off by the same timer, and has done nothing wrong.
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await
        && (error.is_timeout() || error.is_parse_too_large())
        && !served.load(Ordering::Relaxed)
    {
        client.offends(Limit::Headers);
    }
}

/// Whose connection it is.
#[derive(Clone)]
pub(crate) struct Client {
    listener: &'static str,
    pub(crate) arrived: Arc<Arrived>,
    /// What is left of all that the listener may have.
    all: Arc<Semaphore>,
    clients: Arc<Clients>,
    app: Arc<App>,
}

impl Client {
    fn refused(&self) -> Option<Response<Body>> {
        let address = self.arrived.address;
        if self.clients.admits(address, self.app.clock.now()) {
            return None;
        }
        self.offends(Limit::Requests);
        let detail = format!("more than {} requests in a minute from {address}", self.clients.requests_max());
        let mut refused = self.app.refuse(Refusal::new(Kind::TooManyRequests, detail), &address.to_string());
        // Whoever goes on all the same must connect for each: of connections too it has so many in a minute, and to refuse one
        // costs next to nothing.
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Some(refused)
    }

    /// Whether so many are connected that nobody should stay who has nothing more to say.
    pub(crate) fn is_crowded(&self) -> bool {
        self.all.available_permits() < CONNECTIONS_MAX / 2
    }

    pub(crate) fn offends(&self, limit: Limit) {
        self.app.offends(self.listener, self.arrived.address, limit);
    }
}

/// Agents keep one connection each at most; beyond this new ones wait in the system's queue. Beyond half of it a report ends its
/// connection: idle ones would be kept for ten seconds, and four hundred new ones a second would be all that there is room for.
const CONNECTIONS_MAX: usize = 4_096;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 64 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
