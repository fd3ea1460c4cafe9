//! `status`: asks the agent that runs on this instance.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value;

use crate::transport::{self, Authorities, TransportError};

/// How the instance stands, in the agent's words.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// The lines of `/readyz?verbose`: the word first, then the reasons.
    pub lines: Vec<String>,
    /// `/v1/report`, once something was checked.
    pub report: Option<Value>,
}

/// No agent, or none that answers.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody there, or not for long enough.
    #[error("no agent answers on {address}: {because}")]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// Why not.
        because: String,
    },
    /// Something else than an agent.
    #[error("what answers on {address} is no agent: {because}")]
    NoAgent {
        /// Where it was asked.
        address: SocketAddr,
        /// What it said.
        because: String,
    },
    /// No runtime.
    #[error("cannot ask: {0}")]
    Runtime(#[from] io::Error),
}

/// Asks the agent that listens on `address`; one that listens on all addresses is asked on loopback.
pub fn ask(address: SocketAddr) -> Result<Status, StatusError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask_at(reachable(address)))
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn ask_at(address: SocketAddr) -> Result<Status, StatusError> {
    let no_agent = |because: String| StatusError::NoAgent { address, because };
    let (status, ready) = get(address, "/readyz?verbose").await?;
    if status != 200 && status != 503 {
        return Err(no_agent(format!("status {status}")));
    }
    let lines = String::from_utf8_lossy(&ready).lines().map(portcullis::text::visible).collect();
    let report = match get(address, "/v1/report").await? {
        (200, body) => Some(serde_json::from_slice(&body).map_err(|error| no_agent(error.to_string()))?),
        _ => None,
    };
    Ok(Status { ready: status == 200, lines, report })
}

async fn get(address: SocketAddr, target: &str) -> Result<(u16, Vec<u8>), StatusError> {
    let unreachable = |error: TransportError| StatusError::Unreachable { address, because: error.to_string() };
    let client = transport::client(Authorities::None, TIMEOUT).map_err(|error| unreachable(error.into()))?;
    let response = client.get(format!("http://{address}{target}")).send().await;
    let response = response.map_err(|error| unreachable(error.into()))?;
    let status = response.status().as_u16();
    Ok((status, transport::body(response, BYTES_MAX).await.map_err(unreachable)?))
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest report there can be: every check with all the differences that are listed.
const BYTES_MAX: usize = 1 << 30;
