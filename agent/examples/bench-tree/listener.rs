//! As much of a controller as it takes to be told of drift: it admits whoever asks, and notes when which report came.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use portcullis::{
    digest::Digest,
    outcome::{Outcome, Status},
    report::Report,
    signature::{Envelope, EnvelopeLimits},
};
use portcullis_agent::clock;
use serde_json::{Value, json};

/// What a report must be.
pub(super) enum Wanted {
    /// All of it passes.
    Pass,
    /// It has a difference of this path.
    Names(String),
}

impl Wanted {
    fn is(&self, outcomes: &[Outcome]) -> bool {
        match self {
            Self::Pass => outcomes.iter().all(|outcome| outcome.status == Status::Pass),
            Self::Names(path) => {
                outcomes.iter().flat_map(|outcome| &outcome.differences).any(|difference| difference.path == *path)
            }
        }
    }
}

/// Listens.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    reports: Mutex<Vec<(Instant, Report)>>,
    came: Condvar,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Report)>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// For the release in `envelope`; as long as this process lives.
    pub(super) fn start(envelope: &[u8]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, heard) = (listener.local_addr()?, Arc::new(Heard::default()));
        let digest = Digest::of(&Envelope::parse(envelope, &EnvelopeLimits::MANIFEST)?.payload);
        let (theirs, envelope) = (Arc::clone(&heard), envelope.to_vec());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // An agent has one request at a time, and one that goes away is its own affair.
                let _ = answer(stream, digest, &envelope, &theirs);
            }
        });
        Ok(Self { address, heard })
    }

    /// What was heard before is no longer of interest.
    pub(super) fn forget(&self) {
        self.heard.lock().clear();
    }

    /// When the first report came that is as wanted.
    pub(super) fn until(&self, wanted: &Wanted, patience: Duration) -> anyhow::Result<Instant> {
        let end = clock::monotonic() + patience;
        let mut reports = self.heard.lock();
        loop {
            if let Some((at, _)) = reports.iter().find(|(_, report)| wanted.is(&report.outcomes)) {
                return Ok(*at);
            }
            let left = end.saturating_duration_since(clock::monotonic());
            anyhow::ensure!(!left.is_zero(), "not reported in {} s", patience.as_secs());
            let waited = self.heard.came.wait_timeout(reports, left);
            reports = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn answer(mut stream: TcpStream, digest: Digest, envelope: &[u8], heard: &Heard) -> anyhow::Result<()> {
    let (path, body) = request(&mut stream)?;
    let reply = match path.as_str() {
        "/v1/enrol" => json!({"binding": "bench", "challenge": "first", "wanted": null}).to_string().into_bytes(),
        "/v1/challenge" => {
            json!({"challenge": "again", "wanted": digest, "accepted": [digest], "group": "bench", "wait": 1})
                .to_string()
                .into_bytes()
        }
        "/v1/report" => report(&body, heard)?.to_string().into_bytes(),
        _ => envelope.to_vec(),
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", reply.len())?;
    Ok(stream.write_all(&reply)?)
}

fn request(stream: &mut TcpStream) -> anyhow::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    while line != "\r\n" {
        line.clear();
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "half a request");
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((path, body))
}

fn report(body: &[u8], heard: &Heard) -> anyhow::Result<Value> {
    let envelope = Envelope::parse(body, &EnvelopeLimits::MESSAGE)?;
    let report: Report = serde_json::from_slice(&envelope.payload)?;
    heard.lock().push((clock::monotonic(), report));
    heard.came.notify_all();
    // Rounds by the clock are to be seldom.
    Ok(json!({
        "verdict": "admitted", "reason": "bench", "wanted": null, "next_challenge": "", "poll_after_s": 240,
    }))
}
