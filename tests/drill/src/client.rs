//! A client that knows nothing of the gate: it asks for pages, and a page is either right or it is not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

/// One request every so often.
const PACE: Duration = Duration::from_millis(5);

/// Longer than this, a user has gone away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pages are small.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks for one page after the other until it is dropped.
#[derive(Debug)]
pub struct Client {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    failed: AtomicU64,
}

/// How many requests were made, and how many of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Requests answered, rightly or wrongly or not at all.
    pub asked: u64,
    /// Those without the right page.
    pub failed: u64,
}

impl std::ops::Sub for Tally {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { asked: self.asked - earlier.asked, failed: self.failed - earlier.failed }
    }
}

impl Client {
    /// Starts asking `address` for `pages` (path and content), in turn.
    pub fn start(address: SocketAddr, pages: Vec<(String, String)>) -> Self {
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(ask_on(address, pages, Arc::clone(&counts)));
        Self { counts, task }
    }

    /// The counts up to now.
    pub fn tally(&self) -> Tally {
        // Failures first: a request counted between the two loads must not look like more failures than requests.
        let failed = self.counts.failed.load(Ordering::SeqCst);
        Tally { asked: self.counts.asked.load(Ordering::SeqCst), failed }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask_on(address: SocketAddr, pages: Vec<(String, String)>, counts: Arc<Counts>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (path, content) in pages.iter().cycle() {
        pace.tick().await;
        let right = matches!(timeout(PATIENCE, ask(address, path, content)).await, Ok(Ok(())));
        counts.asked.fetch_add(1, Ordering::SeqCst);
        if !right {
            counts.failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Asks once; anything but 200 with exactly the page is an error.
async fn ask(address: SocketAddr, path: &str, content: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    ensure!(body == content, "another page");
    Ok(())
}
