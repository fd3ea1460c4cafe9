//! A load balancer that follows the membership of a target group, as one in the cloud does: whoever is registered gets
//! connections in turn, whatever it answers to them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// How long a connection may take, end to end.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// A TCP balancer, round robin.
#[derive(Debug)]
pub struct Balancer {
    /// Where clients connect.
    pub address: SocketAddr,
    members: Members,
    task: JoinHandle<()>,
}

/// The members, and whose turn it is.
type Members = Arc<Mutex<(Vec<SocketAddr>, usize)>>;

impl Balancer {
    /// Listens on loopback, with no members: every connection is closed at once.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the balancer gets no port")?;
        let address = listener.local_addr()?;
        let members = Members::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&members)));
        Ok(Self { address, members, task })
    }

    /// Makes these the members, in this order.
    pub fn follow(&self, members: Vec<SocketAddr>) {
        lock(&self.members).0 = members;
    }
}

impl Balancer {
    /// Whether a connection would go anywhere.
    pub fn has_members(&self) -> bool {
        !lock(&self.members).0.is_empty()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, members: Members) {
    while let Ok((client, _)) = listener.accept().await {
        let members = Arc::clone(&members);
        tokio::spawn(async move {
            let _ = timeout(CONNECTION_TIME_MAX, forward(client, &members)).await;
        });
    }
}

/// Passes one connection on to the next member that takes it.
async fn forward(mut client: TcpStream, members: &Members) -> Option<()> {
    let count = lock(members).0.len();
    for _ in 0..count {
        let member = next(members)?;
        if let Ok(mut server) = TcpStream::connect(member).await {
            copy_bidirectional(&mut client, &mut server).await.ok()?;
            return Some(());
        }
    }
    None
}

fn next(members: &Members) -> Option<SocketAddr> {
    let mut members = lock(members);
    let (list, turn) = &mut *members;
    *turn = turn.wrapping_add(1);
    list.get(*turn % list.len().max(1)).copied()
}

fn lock(members: &Members) -> std::sync::MutexGuard<'_, (Vec<SocketAddr>, usize)> {
    members.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
