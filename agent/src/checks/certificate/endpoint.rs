//! What a TLS server presents: taken as it is, believed in nothing, judged elsewhere.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use portcullis::{check::tcp::host_and_port, text};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, InvalidMessage, pki_types::ServerName};

use super::{Problem, parsed::is_short};
use crate::{
    checks::{Finding, Task, tcp},
    clock,
};

mod recorder;

use recorder::Recorder;

/// A chain as presented, the server's own certificate first.
pub(super) struct Presented {
    pub(super) certificates: Vec<Vec<u8>>,
    /// What is wrong with the server's proof that it holds the key.
    pub(super) unproven: Option<Problem>,
}

/// Asks for `name`, and takes what is presented. A server that refuses, or speaks no TLS, is a failure; one that says nothing in
/// time could not be told.
pub(super) fn chain(address: &str, name: Option<&str>, task: &Task<'_>) -> Result<Presented, Finding> {
    let recorder = Arc::new(Recorder::default());
    let mut connection = client(address, name, &recorder).map_err(Finding::unknown)?;
    let tcp = tcp::connect(address, task)?;
    let mut wire = Wire { tcp, until: task.until, begin: Vec::new(), bytes: 0 };
    let handshake = complete(&mut connection, &mut wire);
    if let Some(presented) = recorder.take() {
        // What happens after that, a demand for our certificate say, is not asked about.
        connection.send_close_notify();
        let _ = connection.write_tls(&mut wire);
        return Ok(presented);
    }
    let shown = text::visible(address);
    Err(match handshake {
        Ok(_) => Finding::fail(&shown, "a certificate", "none"),
        Err(error) => wire.judge(&shown, &error),
    })
}

/// `complete_io` also comes back when time is up and something was read before: only a second try tells.
fn complete(connection: &mut ClientConnection, wire: &mut Wire) -> io::Result<()> {
    while connection.is_handshaking() {
        connection.complete_io(wire)?;
    }
    Ok(())
}

fn client(address: &str, name: Option<&str>, recorder: &Arc<Recorder>) -> Result<ClientConnection, String> {
    let (host, _) = host_and_port(address).ok_or("it has no address")?;
    let asked = name.unwrap_or(host).to_string();
    let name = ServerName::try_from(asked).map_err(|_| "its name cannot be asked for")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.dangerous();
    let config = config.with_custom_certificate_verifier(Arc::<Recorder>::clone(recorder)).with_no_client_auth();
    ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
}

/// A connection that ends at a deadline, however slowly or quickly its bytes come.
struct Wire {
    tcp: TcpStream,
    until: Instant,
    /// The first of what came: to show what it is, if it is no TLS.
    begin: Vec<u8>,
    bytes: usize,
}

impl Wire {
    fn left(&self) -> io::Result<std::time::Duration> {
        let left = self.until.saturating_duration_since(clock::monotonic());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn judge(&self, address: &str, error: &io::Error) -> Finding {
        let fail = |actual: String| Finding::fail(address, "a certificate", actual);
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Finding::unknown(format!("{address}: no certificate in time"))
            }
            ErrorKind::QuotaExceeded => Finding::unknown(format!("{address}: {BYTES_MAX} bytes, and no certificate")),
            _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                Some(error) if self.looks_like_tls() => tls(address, error),
                Some(_) => fail(format!("no TLS, but {}", self.begin())),
                None if self.begin.is_empty() => fail(format!("it closed the connection ({error})")),
                None if self.looks_like_tls() => fail(format!("it closed the connection half-way ({error})")),
                None => fail(format!("no TLS, but {}, then it closed the connection", self.begin())),
            },
        }
    }

    /// RFC 8446 §5.1: a record has a type from 20 to 23 and a version 3.x.
    fn looks_like_tls(&self) -> bool {
        matches!(self.begin.first(), Some(20..=23)) && self.begin.get(1).is_none_or(|&major| major == 3)
    }

    fn begin(&self) -> String {
        let line = self.begin.split(|&byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        format!("`{}`", text::escape(line))
    }
}

/// A server that speaks TLS, and presents nothing. What only this program could not do with it, it does not hold against it.
fn tls(address: &str, error: &Error) -> Finding {
    let unknown = |why: &str| Finding::unknown(format!("{address}: {why}: {error}"));
    match error {
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::HandshakeFailure,
        ) => unknown("it and this program have no version or algorithm in common"),
        Error::InvalidMessage(
            InvalidMessage::CertificatePayloadTooLarge | InvalidMessage::HandshakePayloadTooLarge,
        ) => unknown("it presents more than can be taken here"),
        Error::AlertReceived(alert) => Finding::fail(address, "a certificate", format!("the TLS alert {alert:?}")),
        other => Finding::fail(address, "a certificate", other.to_string()),
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.left()?))?;
        let count = self.tcp.read(buffer)?;
        self.bytes += count;
        let room = BEGIN_BYTES.saturating_sub(self.begin.len()).min(count);
        self.begin.extend_from_slice(&buffer[..room]);
        if self.bytes > BYTES_MAX { Err(ErrorKind::QuotaExceeded.into()) } else { Ok(count) }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A handshake with the longest chain has some 100 KiB.
const BYTES_MAX: usize = 1 << 20;

/// Enough to recognise a greeting.
const BEGIN_BYTES: usize = 60;
