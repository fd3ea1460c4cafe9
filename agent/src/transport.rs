//! HTTP as the agent speaks it: no proxy, no redirect, a timeout on everything, and never more bytes than asked for.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Response, redirect};
use tokio::sync::mpsc;

/// A network that is there connects in far less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that sends nothing for so long has gone.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// An exchange that came to nothing. What the peer said, if anything, is in none of these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// No connection, or it broke, or it took too long.
    #[error("{0}")]
    Broken(String),
    /// More bytes than anybody asked for.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// How many it may have.
        bytes_max: usize,
    },
}

impl From<reqwest::Error> for TransportError {
    /// The innermost cause says what happened; the outer ones repeat the URL.
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Broken("timed out".into());
        }
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Broken(portcullis::text::visible(&cause.to_string()))
    }
}

/// Which authorities a client believes.
#[derive(Debug)]
pub(crate) enum Authorities {
    /// The system's.
    System,
    /// Only these.
    Only(Vec<Certificate>),
    /// None: for plain HTTP, which needs no store to be there.
    None,
}

/// A client; `total` bounds a whole exchange unless the request says otherwise.
pub(crate) fn client(authorities: Authorities, total: Duration) -> Result<Client, reqwest::Error> {
    builder(authorities, total).build()
}

/// A client that is still to be told more.
pub(crate) fn builder(authorities: Authorities, total: Duration) -> ClientBuilder {
    // Twice is once: the first installed stays, and it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("portcullis-agent/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(total)
        .pool_max_idle_per_host(1);
    match authorities {
        Authorities::System => builder,
        Authorities::Only(certificates) => builder.tls_certs_only(certificates),
        Authorities::None => builder.tls_certs_only([]),
    }
}

/// The body, if it has at most `bytes_max`: one that says it is larger is not even begun.
pub(crate) async fn body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, TransportError> {
    let announced = announced(&response, bytes_max)?;
    let mut bytes = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(TransportError::TooLarge { bytes_max });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The same, to be taken as it comes. Whoever stops taking ends it.
pub(crate) async fn stream(
    mut response: Response,
    bytes_max: usize,
    to: mpsc::Sender<Vec<u8>>,
) -> Result<(), TransportError> {
    announced(&response, bytes_max)?;
    let mut total = 0_usize;
    while let Some(chunk) = response.chunk().await? {
        total += chunk.len();
        if total > bytes_max {
            return Err(TransportError::TooLarge { bytes_max });
        }
        if to.send(chunk.to_vec()).await.is_err() {
            return Err(TransportError::Broken("it cannot be kept".into()));
        }
    }
    Ok(())
}

fn announced(response: &Response, bytes_max: usize) -> Result<usize, TransportError> {
    let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if announced > bytes_max { Err(TransportError::TooLarge { bytes_max }) } else { Ok(announced) }
}
