//! One client that does everything wrong at once, as fast as it can, from one address.
//!
//! It runs on a thread of its own that yields to everybody else (nice 19): elsewhere it would have a machine of its own, and
//! what it takes of this one's processors is not what the controller's limits are about.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use portcullis::{
    api::{ENROL_PAYLOAD_TYPE, Enrol, Identity},
    digest::Digest,
    report,
    signature::{Envelope, SigningKey},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
};

use crate::client::connect;

/// Its address.
pub const OFFENDER: Ipv4Addr = Ipv4Addr::new(127, 200, 6, 6);

/// It goes on until this is dropped.
#[derive(Debug)]
pub struct Abuse {
    /// Dropped: stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    done: Arc<Done>,
}

/// What it did, and what it was told, by name.
#[derive(Debug, Default)]
struct Done(Mutex<BTreeMap<String, u64>>);

impl Done {
    fn count(&self, what: &str) {
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match done.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(done.insert(what.into(), 1)),
        }
    }
}

impl Abuse {
    /// Begins; `manifest` is something large to ask for.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn begin(to: SocketAddr, manifest: Digest) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let done = Arc::new(Done::default());
        let offender = Offender { to, manifest, done: Arc::clone(&done) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("abuse".into()).spawn(move || {
            // On Linux: of this thread. As fast as it may if that is refused.
            let _ = rustix::process::setpriority_process(None, 19);
            runtime.block_on(offender.rage(stopped));
            runtime.shutdown_background();
        });
        Ok(Self { stop: Some(stop), thread: Some(thread.context("a thread")?), done })
    }

    /// What it did, and what it was told.
    pub fn done(&self) -> BTreeMap<String, u64> {
        self.done.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Abuse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // That it panicked is in what it did.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Clone)]
struct Offender {
    to: SocketAddr,
    manifest: Digest,
    done: Arc<Done>,
}

impl Offender {
    async fn rage(self, stopped: oneshot::Receiver<()>) {
        let mut all = JoinSet::new();
        for _ in 0..4 {
            all.spawn(self.clone().hoards());
            all.spawn(self.clone().talks_garbage());
            all.spawn(self.clone().swells());
        }
        for _ in 0..50 {
            all.spawn(self.clone().dribbles());
            all.spawn(self.clone().withholds());
        }
        let (large, forged) = (post("/v1/report", &large_report()), post("/v1/enrol", &forged_enrolment()));
        let manifest = format!("GET /v1/manifests/{} HTTP/1.1\r\nHost: x\r\n\r\n", self.manifest).into_bytes();
        let livez = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        for request in [large, forged, manifest, livez] {
            let request: Arc<[u8]> = request.into();
            for _ in 0..8 {
                all.spawn(self.clone().asks(Arc::clone(&request)));
            }
        }
        // An error is as good: whoever held it is gone.
        let _ = stopped.await;
    }

    /// A connection, when one is to be had.
    async fn connected(&self) -> TcpStream {
        loop {
            match connect(OFFENDER, self.to).await {
                Ok(stream) => {
                    self.done.count("connections");
                    return stream;
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Opens connections, and keeps them.
    async fn hoards(self) {
        let mut kept = Vec::new();
        loop {
            kept.push(self.connected().await);
            if kept.len() > HOARD_MAX {
                kept.drain(..HOARD_MAX / 4);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Says what is no HTTP.
    async fn talks_garbage(self) {
        let noise: Vec<u8> = (0..64_u8).flat_map(|n| *Digest::of(&[n]).as_bytes()).collect();
        loop {
            let mut stream = self.connected().await;
            if stream.write_all(&noise).await.is_ok() {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends a head, a byte at a time, and never ends it.
    async fn dribbles(self) {
        loop {
            let mut stream = self.connected().await;
            let head = b"POST /v1/report HTTP/1.1\r\nHost: x\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 10_000));
            for byte in head {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(DRIBBLE_EVERY).await;
            }
        }
    }

    /// Announces a body, and sends next to nothing of it.
    async fn withholds(self) {
        loop {
            let mut stream = self.connected().await;
            let mut answer = [0; 1];
            let announced = b"POST /v1/report HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n{";
            if stream.write_all(announced).await.is_ok() {
                let _ = stream.read(&mut answer).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends bodies that are larger than any may be.
    async fn swells(self) {
        let junk = vec![b'x'; 64 << 10];
        loop {
            let mut stream = self.connected().await;
            let head = b"POST /v1/report HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967296\r\n\r\n";
            let _ = stream.write_all(head).await;
            while stream.write_all(&junk).await.is_ok() {}
        }
    }

    /// The same again and again, without a pause.
    async fn asks(self, request: Arc<[u8]>) {
        let mut answer = vec![0; 16 << 10];
        loop {
            let mut stream = self.connected().await;
            while stream.write_all(&request).await.is_ok() {
                // Enough of the answer to know what it was; the rest is left to those who sent it.
                let Ok(read @ 1..) = stream.read(&mut answer).await else { break };
                let status = answer[..read].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
                self.done.count(&format!("answers {}", String::from_utf8_lossy(status)));
                if read == answer.len() {
                    break;
                }
            }
        }
    }
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// As large as a report may be, well-formed to the last byte, and signed: that its binding is unknown is found out last.
fn large_report() -> Vec<u8> {
    let outcome = r#"{"check":"app","kind":"tree","status":"pass","took_ms":1}"#;
    let outcomes = vec![outcome; 50_000].join(",");
    let payload = format!(
        "{{\"audience\":\"load\",\"binding\":\"00\",\"instance\":\"i-0\",\"boot_id\":\"b\",\"group\":\"g\",\"wait\":1,\
         \"manifest\":\"{}\",\"challenge\":\"x\",\"facts\":{{}},\"outcomes\":[{outcomes}]}}",
        Digest::of(b"")
    );
    signed(report::PAYLOAD_TYPE, payload.into_bytes())
}

/// A signature that holds, and a token that nobody made.
fn forged_enrolment() -> Vec<u8> {
    let enrol = Enrol {
        audience: "load".into(),
        instance: "i-00000000000000000".into(),
        boot_id: "boot".into(),
        public_key: key().public().to_pem(),
        evidence: Identity::JoinToken("pcj_0".into()),
    };
    signed(ENROL_PAYLOAD_TYPE, serde_json::to_vec(&enrol).unwrap_or_default())
}

fn signed(kind: &str, payload: Vec<u8>) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(kind, payload);
    envelope.sign(&key());
    envelope.to_json()
}

fn key() -> SigningKey {
    SigningKey::generate(Digest::of(b"the offender's own").as_bytes())
}

/// More than it may have at once, with those of its other offences.
const HOARD_MAX: usize = 600;
/// Often enough that the connection is not idle, too slow to ever end.
const DRIBBLE_EVERY: Duration = Duration::from_millis(100);
/// Where nothing is to be had, or to be done.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// It is the limits for all, not its form, that must stop it.
    #[test]
    fn what_is_expensive_is_well_formed_and_nearly_too_large() {
        let report = large_report();
        assert!((3 << 20..4 << 20).contains(&report.len()), "{}", report.len());
        let limits = portcullis::signature::EnvelopeLimits::MESSAGE;
        let payload = Envelope::parse(&report, &limits).unwrap().payload;
        portcullis::json::parse::<report::Report>(&payload, &portcullis::json::Limits::MESSAGE).unwrap();
    }
}
