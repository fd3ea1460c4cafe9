//! `/proc/net/tcp` and its like, line by line (proc(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis::check::listen::Protocol;

/// A socket that is listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// The socket of a line, if it is one that is listened on.
pub(super) fn socket(line: &str, protocol: Protocol) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let address = address(fields.nth(1)?)?;
    let (_peer, state) = (fields.next()?, fields.next()?);
    let listening = match protocol {
        Protocol::Tcp => TCP_LISTEN,
        Protocol::Udp => UDP_UNCONNECTED,
    };
    // Queues, timer, retransmissions, user, timeout; then the inode.
    let inode = fields.nth(5)?.parse().ok()?;
    (state == listening).then_some(Socket { address, inode })
}

/// `0100007F:0050`: words of 32 bits, each as this machine's number of what the network has; the port as it is.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `TCP_LISTEN` of `net/tcp_states.h`.
const TCP_LISTEN: &str = "0A";
/// `TCP_CLOSE`: of UDP, a socket that takes datagrams from anyone.
const UDP_UNCONNECTED: &str = "07";

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let rest = "00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        for (line, protocol, there) in [
            (format!("   0: 0100007F:1F90 00000000:0000 0A {rest}"), Protocol::Tcp, Some("127.0.0.1:8080")),
            (format!("   0: 00000000:0050 00000000:0000 0A {rest}"), Protocol::Tcp, Some("0.0.0.0:80")),
            (format!("   0: 0100007F:1F90 0100007F:9999 01 {rest}"), Protocol::Tcp, None),
            (format!("   0: 00000000000000000000000001000000:0050 0:0 0A {rest}"), Protocol::Tcp, Some("[::1]:80")),
            (
                format!("   0: 0000000000000000FFFF00000100007F:0050 0:0 0A {rest}"),
                Protocol::Tcp,
                Some("[::ffff:127.0.0.1]:80"),
            ),
            (format!("  12: 00000000:0035 00000000:0000 07 {rest}"), Protocol::Udp, Some("0.0.0.0:53")),
            (format!("  12: 00000000:0035 01010101:0035 01 {rest}"), Protocol::Udp, None),
            ("  sl  local_address rem_address   st tx_queue rx_queue".into(), Protocol::Tcp, None),
            ("0: 0100007F:1F90 00000000:0000 0A".into(), Protocol::Tcp, None),
            (format!("0: 0100007F 0 0A {rest}"), Protocol::Tcp, None),
            (format!("0: ä100007:1F90 0 0A {rest}"), Protocol::Tcp, None),
            (String::new(), Protocol::Tcp, None),
        ] {
            let expected = there.map(|there| Socket { address: there.parse().unwrap(), inode: 4_711 });
            assert_eq!(socket(&line, protocol), expected, "{line}");
        }
    }
}
