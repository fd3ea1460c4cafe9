//! The port that load balancers and people ask. It runs no check and waits for none: every answer is made of what is known.

use std::{
    convert::Infallible,
    future::ready,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{metrics::Metrics, standing::Standing};
use pages::{Asked, Page};
use shares::Shares;

mod pages;
mod shares;

/// What every answer is made of.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) standing: watch::Receiver<Arc<Standing>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether everybody may see details.
    pub(crate) public_details: bool,
}

/// Answers until it is dropped. Clients on this machine have connections of their own, so that nobody outside can use up
/// those of the people who come to see what is wrong; and each client outside has a share, so that none can keep the load
/// balancer's probes out.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>) -> Infallible {
    let (near, far) = (Shares::new(NEAR_MAX, NEAR_MAX), Shares::new(FAR_MAX, FAR_CLIENT_MAX));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: it passes, and until then there is nothing to be done.
                tracing::warn!("no connection accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let shares = if is_near(peer.ip()) { &near } else { &far };
        let Some(place) = shares.take(peer.ip()) else {
            health.metrics.connection_refused();
            continue;
        };
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            // Answers are small: none is to wait for an acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            answer(stream, peer, health, ASK_TIME_MAX).await;
            drop(place);
        });
    }
}

/// Answers one connection until the client or the time is up. A request that is on its way then is still answered: a probe that
/// is cut off looks like an instance that is down.
async fn answer<S>(stream: S, peer: SocketAddr, health: Arc<Health>, ask_time_max: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let details = health.public_details || is_near(peer.ip());
    // Since a while ago: nothing, what is answered at once, or more.
    let asked = AtomicU8::new(NOTHING);
    let service = service_fn(|request: Request<Incoming>| {
        let (method, path, query) = (request.method(), request.uri().path(), request.uri().query());
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let question = Asked { method, path, query, accept, details };
        let standing = Arc::clone(&health.standing.borrow());
        let page = pages::page(question, &standing, &health.metrics);
        asked.fetch_max(if page.body.len() > SMALL_BYTES { MUCH } else { LITTLE }, Relaxed);
        ready(Ok::<_, Infallible>(response(page)))
    });
    // Head and body in one buffer: most answers are small. No timer of hyper's, which would be set anew for each request.
    let connection = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    for _ in 0..PERIODS_MAX {
        // Too slow, or broken: the other side's business.
        if timeout(ask_time_max, connection.as_mut()).await.is_ok() || asked.load(Relaxed) == NOTHING {
            return;
        }
        let _ = asked.compare_exchange(LITTLE, NOTHING, Relaxed, Relaxed);
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(ANSWER_TIME_MAX, connection).await;
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.body));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if page.status == hyper::StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// Whether a client is on this machine; on a socket for both families it may be an IPv4 address in IPv6 clothes.
fn is_near(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// A connection that asks nothing for [`ASK_TIME_MAX`] is closed; one that asks is answered in microseconds.
const NEAR_MAX: usize = 64;
const FAR_MAX: usize = 128;
/// A load balancer probes with one connection at a time, from a few addresses.
const FAR_CLIENT_MAX: usize = 16;
const ASK_TIME_MAX: Duration = Duration::from_secs(3);
/// After 15 s a connection ends, however often it asks: so that connections are shared out anew.
const PERIODS_MAX: u32 = 5;
/// No whole request came.
const NOTHING: u8 = 0;
const LITTLE: u8 = 1;
/// An answer may still be on its way, whatever is asked now.
const MUCH: u8 = 2;
/// What is surely sent at once: less than a socket's buffer.
const SMALL_BYTES: usize = 4 << 10;
/// A report of some megabytes over a slow terminal session.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
const HEADER_BYTES_MAX: usize = 16 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::standing::By;

    /// Asks `path` over a connection that holds 1 KiB, and reads the answer only when the time to ask is long over.
    async fn read_late(path: &str) -> String {
        let ask_time_max = Duration::from_millis(20);
        let (_told, standing) = watch::channel(Arc::new(Standing::new(By::Admission, vec!["w".repeat(1 << 16)])));
        let health = Arc::new(Health { standing, metrics: Arc::default(), public_details: true });
        let (mut client, server) = duplex(1 << 10);
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n").as_bytes()).await.unwrap();
        let answering = tokio::spawn(answer(server, ([127, 0, 0, 1], 1).into(), health, ask_time_max));
        sleep(ask_time_max * 3).await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answering.await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_slow_reader_gets_a_large_answer_whole_and_every_connection_ends() {
        assert!(read_late("/readyz").await.ends_with("\r\n\r\nno_manifest\n"));
        assert!(read_late("/readyz?verbose").await.ends_with("www\n"));
    }

    #[test]
    fn near_is_this_machine() {
        for (ip, near) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(is_near(ip.parse().unwrap()), near, "{ip}");
        }
    }
}
