//! HTTP/1.1 from an address of one's own: one connection, kept for as long as the other end keeps it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::{TcpSocket, TcpStream};

/// A client with an address.
#[derive(Debug)]
pub struct Client {
    from: Ipv4Addr,
    to: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// All of its body.
    pub body: Bytes,
}

impl Reply {
    /// What the body says, if the status is 200.
    ///
    /// # Errors
    /// When it is not, or it says something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        anyhow::ensure!(self.status == StatusCode::OK, "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).context("an answer that is not understood")
    }
}

impl Client {
    /// One that is not connected yet. All of 127.0.0.0/8 is this machine.
    pub const fn new(from: Ipv4Addr, to: SocketAddr) -> Self {
        Self { from, to, connection: None }
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// When there is no connection, or it breaks.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Reply> {
        self.send(Method::POST, path, None, body.into()).await
    }

    /// `POST` of bytes by an operator.
    ///
    /// # Errors
    /// The same.
    pub async fn order_raw(&mut self, path: &str, token: &str, body: impl Into<Bytes>) -> Result<Reply> {
        self.send(Method::POST, path, Some(token), body.into()).await
    }

    /// `POST` of JSON by an operator.
    ///
    /// # Errors
    /// The same.
    pub async fn order(&mut self, path: &str, token: &str, wish: &impl Serialize) -> Result<Reply> {
        self.send(Method::POST, path, Some(token), serde_json::to_vec(wish)?.into()).await
    }

    /// `GET`.
    ///
    /// # Errors
    /// The same.
    pub async fn get(&mut self, path: &str) -> Result<Reply> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// On the connection that there is, or on a new one: what was idle may have been closed meanwhile, which is no failure.
    async fn send(&mut self, method: Method, path: &str, token: Option<&str>, body: Bytes) -> Result<Reply> {
        loop {
            let kept = self.connection.take();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(kept) => kept,
                None => self.connect().await?,
            };
            let request = request(&method, path, token, body.clone())?;
            match exchange(&mut connection, request).await {
                Ok(reply) => {
                    self.connection = Some(connection).filter(|connection| !connection.is_closed());
                    return Ok(reply);
                }
                Err(error) if was_kept && is_of_a_closed_connection(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = connect(self.from, self.to).await.context("no connection")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors are those of the request that waits for it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// A connection from an address.
pub(crate) async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Reply, hyper::Error> {
    connection.ready().await?;
    let (head, body) = connection.send_request(request).await?.into_parts();
    Ok(Reply { status: head.status, body: body.collect().await?.to_bytes() })
}

/// Closed before anything came back: the agents' HTTP client tries those again as well.
fn is_of_a_closed_connection(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

fn request(method: &Method, path: &str, token: Option<&str>, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "controller");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    Ok(request.body(Full::new(body))?)
}
