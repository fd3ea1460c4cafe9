//! `tcp`: connects, and hears what the peer says first where that matters.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
};

use portcullis::{
    check::tcp::{Tcp, host_and_port},
    text,
};

use super::{Finding, Task};

/// Tries every address the host has, until one accepts.
pub(super) fn run(wanted: &Tcp, task: &Task<'_>) -> Finding {
    let said = connect(&wanted.connect, task).and_then(|stream| match &wanted.expect {
        Some(expected) => said(&stream, wanted.send.as_deref(), expected, task),
        None => Ok(()),
    });
    said.err().unwrap_or_else(Finding::pass)
}

/// A connection to `host:port`. What refuses is a failure; what does not answer in time, or has no address, could not be told.
pub(crate) fn connect(address: &str, task: &Task<'_>) -> Result<TcpStream, Finding> {
    let (host, port) = host_and_port(address).ok_or_else(|| Finding::unknown(format!("`{address}` is no address")))?;
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| Finding::unknown(format!("`{host}` has no address: {error}")))?;
    let mut last = Finding::unknown(format!("`{host}` has no address"));
    for address in found {
        match TcpStream::connect_timeout(&address, task.left()) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = Finding::fail(&address.to_string(), "a connection", "connection refused");
            }
            Err(error) => {
                let why = if is_late(&error) { format!("nobody answered {}", within(task)) } else { error.to_string() };
                last = Finding::unknown(format!("{address}: expected a connection, actual none: {why}"));
            }
        }
    }
    Err(last)
}

/// Reads as much as is expected, and no more: byte for byte it must be that. The first byte that is not ends it.
fn said(mut stream: &TcpStream, send: Option<&str>, expected: &str, task: &Task<'_>) -> Result<(), Finding> {
    let peer = stream.peer_addr().map_or_else(|_| "it".into(), |address| address.to_string());
    let silent = |heard: &[u8], error: &io::Error| {
        let why = if is_late(error) { format!("nothing {}", within(task)) } else { error.to_string() };
        let heard = if heard.is_empty() { "a connection".into() } else { quoted(heard) };
        Finding::unknown(format!("{peer}: expected {}, actual {heard}, then {why}", quoted(expected.as_bytes())))
    };
    let sent = stream
        .set_write_timeout(Some(task.left()))
        .and_then(|()| stream.write_all(send.unwrap_or_default().as_bytes()));
    sent.map_err(|error| silent(&[], &error))?;
    let mut heard = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let length = heard.len().min(expected.len());
        if heard[..length] != expected.as_bytes()[..length] {
            return Err(Finding::fail("it says", quoted(expected.as_bytes()), quoted(&heard)));
        }
        if length == expected.len() {
            return Ok(());
        }
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let read = if task.is_over() {
            Err(late())
        } else {
            stream.set_read_timeout(Some(task.left())).and_then(|()| stream.read(&mut buffer))
        };
        match read {
            Ok(0) => {
                let actual = format!("{}, then it hung up", quoted(&heard));
                return Err(Finding::fail("it says", quoted(expected.as_bytes()), actual));
            }
            Ok(length) => heard.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(silent(&heard, &error)),
        }
    }
}

fn within(task: &Task<'_>) -> String {
    format!("within {} ms of the whole check", task.check.timeout_ms)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The beginning of what was said, safe to show.
fn quoted(bytes: &[u8]) -> String {
    let (shown, more) = (&bytes[..bytes.len().min(SHOWN_MAX)], if bytes.len() > SHOWN_MAX { "…" } else { "" });
    if shown.is_empty() { "nothing".into() } else { format!("“{}{more}”", text::escape(shown)) }
}

/// A banner is a line.
const SHOWN_MAX: usize = 120;
