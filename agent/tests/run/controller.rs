//! A controller that does as it is told: right, wrong, slow or not at all. It believes nothing that is not signed.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use portcullis::{
    api::{ENROL_PAYLOAD_TYPE, Enrol, Identity},
    challenge,
    digest::Digest,
    report::{self, Report},
    signature::{Envelope, EnvelopeLimits, PublicKey, TrustedKeys},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::fixture::TOKEN;

/// What it answers from now on.
#[derive(Default)]
pub(crate) struct Script {
    /// Instead of what would be right, by path prefix.
    pub(crate) lies: BTreeMap<&'static str, Lie>,
    /// Envelopes by the digest they are asked for.
    pub(crate) manifests: BTreeMap<Digest, Vec<u8>>,
    pub(crate) accepted: Vec<Digest>,
    /// What it believes instead of the join token.
    pub(crate) evidence: Option<Identity>,
    pub(crate) group: String,
    pub(crate) wait: u64,
    /// The answer to reports.
    pub(crate) verdict: &'static str,
    pub(crate) poll_after_s: u64,
    /// The bindings it knows; emptied, its store is lost.
    pub(crate) bound: BTreeMap<String, PublicKey>,
    pub(crate) enrolled: Vec<Enrol>,
    pub(crate) reports: Vec<Report>,
    /// Requests, by path.
    pub(crate) asked: Vec<String>,
}

/// What it does instead.
#[derive(Clone)]
pub(crate) enum Lie {
    /// This, verbatim.
    Raw(Vec<u8>),
    /// 200 with this body.
    Body(Vec<u8>),
    /// So many zero bytes, announced or not.
    Flood {
        bytes: usize,
        announced: bool,
    },
    Status(u16),
    /// Nothing, for so long.
    Silence(Duration),
}

pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    stopped: Arc<AtomicBool>,
}

impl Controller {
    pub(crate) fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_on(address: SocketAddr) -> Self {
        Self::serving(address, |mut stream, script| serve(&mut stream, script))
    }

    /// Behind TLS.
    pub(crate) fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::serving("127.0.0.1:0".parse().unwrap(), move |stream, script| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            serve(&mut stream, script);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    fn serving(address: SocketAddr, serve: impl Fn(TcpStream, &Mutex<Script>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let script = Script { group: "shop".into(), wait: 1, verdict: "held", poll_after_s: 1, ..Script::default() };
        let (script, stopped) = (Arc::new(Mutex::new(script)), Arc::new(AtomicBool::new(false)));
        let address = listener.local_addr().unwrap();
        let (for_thread, is_stopped, serve) = (Arc::clone(&script), Arc::clone(&stopped), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (script, serve) = (Arc::clone(&for_thread), Arc::clone(&serve));
                thread::spawn(move || serve(stream.unwrap(), &script));
            }
        });
        Self { address, script, stopped }
    }

    /// The script, to look at or to change.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// One request. A client that goes away is none of its business.
fn serve(stream: &mut (impl Read + Write), script: &Mutex<Script>) {
    let Some(Request { path, body, .. }) = Request::read(stream) else { return };
    let lie = {
        let mut script = script.lock().unwrap();
        script.asked.push(path.clone());
        script.lies.iter().find(|(prefix, _)| path.starts_with(**prefix)).map(|(_, lie)| lie.clone())
    };
    let reply = match lie {
        None => script.lock().unwrap().answer(&path, &body),
        Some(Lie::Raw(bytes)) => bytes,
        Some(Lie::Body(body)) => reply(200, &body),
        Some(Lie::Status(status)) => reply(status, b""),
        Some(Lie::Silence(how_long)) => {
            thread::sleep(how_long);
            return;
        }
        Some(Lie::Flood { bytes, announced }) => return flood(stream, bytes, announced),
    };
    let _ = stream.write_all(&reply);
}

/// What was asked.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Lower case.
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn read(stream: &mut impl Read) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ').map(str::to_string);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") && headers != "\r\n" {
            reader.read_line(&mut headers).ok().filter(|&bytes| bytes > 0)?;
        }
        let headers = headers.to_ascii_lowercase();
        let length = headers.lines().find_map(|header| header.strip_prefix("content-length:"));
        let mut body = vec![0; length.map_or(Some(0), |length| length.trim().parse().ok())?];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, headers, body })
    }
}

pub(crate) fn reply(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn problem(status: u16, kind: &str) -> Vec<u8> {
    let problem =
        json!({"type": format!("urn:portcullis:problem:{kind}"), "title": kind, "status": status, "detail": kind});
    reply(status, problem.to_string().as_bytes())
}

fn flood(stream: &mut impl Write, bytes: usize, announced: bool) {
    let length = if announced { format!("Content-Length: {bytes}\r\n") } else { String::new() };
    let _ = write!(stream, "HTTP/1.1 200 X\r\n{length}Connection: close\r\n\r\n");
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        if stream.write_all(&chunk).is_err() {
            return;
        }
    }
}

impl Script {
    fn answer(&mut self, path: &str, body: &[u8]) -> Vec<u8> {
        match path {
            "/v1/enrol" => self.enrol(body),
            "/v1/challenge" => self.challenge(body),
            "/v1/report" => self.report(body),
            _ => self.manifest(path),
        }
    }

    fn enrol(&mut self, body: &[u8]) -> Vec<u8> {
        let envelope = Envelope::parse(body, &EnvelopeLimits::MESSAGE).unwrap();
        let enrol: Enrol = serde_json::from_slice(&envelope.payload).unwrap();
        let key = PublicKey::from_pem(&enrol.public_key).unwrap();
        verified(envelope, ENROL_PAYLOAD_TYPE, key);
        let wanted = self.evidence.clone().unwrap_or_else(|| Identity::JoinToken(TOKEN.into()));
        if enrol.evidence != wanted {
            return problem(403, "identity-refused");
        }
        let binding = format!("binding of {}", key.key_id());
        self.bound.insert(binding.clone(), key);
        self.enrolled.push(enrol);
        ok(&json!({"binding": binding, "challenge": "first", "wanted": null}))
    }

    fn challenge(&mut self, body: &[u8]) -> Vec<u8> {
        let envelope = Envelope::parse(body, &EnvelopeLimits::MESSAGE).unwrap();
        let request: challenge::Request = serde_json::from_slice(&envelope.payload).unwrap();
        let Some(key) = self.bound.get(&request.binding) else { return problem(404, "unknown-binding") };
        verified(envelope, challenge::PAYLOAD_TYPE, *key);
        ok(&json!({
            "challenge": self.last_challenge(), "wanted": self.accepted.first(), "accepted": self.accepted,
            "group": self.group, "wait": self.wait,
        }))
    }

    /// Good until it is answered, however often it is asked for (PROTOCOL.md §3).
    fn last_challenge(&self) -> String {
        format!("challenge {}", self.reports.len() + 1)
    }

    fn report(&mut self, body: &[u8]) -> Vec<u8> {
        let envelope = Envelope::parse(body, &EnvelopeLimits::MESSAGE).unwrap();
        let report: Report = serde_json::from_slice(&envelope.payload).unwrap();
        let Some(key) = self.bound.get(&report.binding) else { return problem(404, "unknown-binding") };
        verified(envelope, report::PAYLOAD_TYPE, *key);
        if report.challenge != self.last_challenge() {
            return problem(409, "stale-challenge");
        }
        self.reports.push(report);
        ok(&json!({
            "verdict": self.verdict, "reason": "because", "wanted": null, "next_challenge": "next",
            "poll_after_s": self.poll_after_s,
        }))
    }

    fn manifest(&self, path: &str) -> Vec<u8> {
        let digest: Option<Digest> = path.strip_prefix("/v1/manifests/").and_then(|digest| digest.parse().ok());
        match digest.and_then(|digest| self.manifests.get(&digest)) {
            Some(envelope) => reply(200, envelope),
            None => problem(404, "not-published"),
        }
    }
}

fn verified(envelope: Envelope, payload_type: &str, key: PublicKey) {
    envelope.verify(payload_type, &TrustedKeys::new(vec![key], 1).unwrap()).unwrap();
}

fn ok(value: &Value) -> Vec<u8> {
    reply(200, value.to_string().as_bytes())
}
