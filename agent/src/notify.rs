//! `sd_notify`: tells systemd that the agent is up, and how the instance stands (`systemctl status`).

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Up: the configuration is good and probes are answered.
pub(crate) fn ready() {
    send("READY=1");
}

/// On the way out.
pub(crate) fn stopping() {
    send("STOPPING=1");
}

/// How the instance stands, in a line.
pub(crate) fn status(text: &str) {
    let line: String = text.chars().take(STATUS_CHARS_MAX).filter(|c| *c != '\n').collect();
    send(&format!("STATUS={line}"));
}

/// Nobody to tell, or nobody who listens, is no trouble of the instance's.
fn send(message: &str) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET") {
        let _ = send_to(path.as_encoded_bytes(), message);
    }
}

fn send_to(path: &[u8], message: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(str::from_utf8(path).map_err(io::Error::other)?)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

const STATUS_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_both_kinds_of_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        send_to(path.as_os_str().as_encoded_bytes(), "READY=1").unwrap();
        let name = format!("portcullis-test-{}", std::process::id());
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send_to(format!("@{name}").as_bytes(), "READY=1").unwrap();
        for socket in [named, hidden] {
            let mut buffer = [0; 16];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }
}
