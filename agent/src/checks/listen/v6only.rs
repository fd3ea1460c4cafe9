//! Whether an IPv6 socket takes IPv6 only: nginx makes them so unless told otherwise, most others do not, and only
//! `NETLINK_SOCK_DIAG` tells (sock_diag(7)).

use std::{io, os::fd::OwnedFd};

use portcullis::check::listen::Protocol;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
    netlink::{self, SocketAddrNetlink},
    recv, send, sockopt,
};

use super::table::Socket;

/// Asks the kernel.
pub(super) fn is_v6only(socket: &Socket, protocol: Protocol) -> io::Result<bool> {
    let diag = open()?;
    send(&diag, &request(protocol), SendFlags::empty())?;
    let mut buffer = vec![0; ANSWER_BYTES];
    // A dump comes in parts; it ends with a message of its own.
    for _ in 0..PARTS_MAX {
        let (length, _) = recv(&diag, buffer.as_mut_slice(), RecvFlags::empty())?;
        match answer(&buffer[..length], socket.inode)? {
            Answer::Told(only) => return Ok(only),
            Answer::NotYet => {}
            Answer::Ended => break,
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "it is no longer there"))
}

fn open() -> io::Result<OwnedFd> {
    let diag = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    sockopt::set_socket_timeout(&diag, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    bind(&diag, &SocketAddrNetlink::new(0, 0))?;
    Ok(diag)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: a dump of all IPv6 sockets of the protocol that are listened on.
fn request(protocol: Protocol) -> Vec<u8> {
    let (number, states) = match protocol {
        Protocol::Tcp => (IPPROTO_TCP, 1_u32 << TCP_LISTEN),
        Protocol::Udp => (IPPROTO_UDP, 1_u32 << TCP_CLOSE),
    };
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    request.extend(u32::try_from(REQUEST_BYTES).unwrap_or(0).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([AF_INET6, number, 0, 0]);
    request.extend(states.to_ne_bytes());
    // Of no particular socket.
    request.resize(REQUEST_BYTES, 0);
    request
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Told(bool),
    NotYet,
    Ended,
}

fn answer(mut messages: &[u8], inode: u64) -> io::Result<Answer> {
    while messages.len() >= HEADER_BYTES {
        let length = usize::try_from(u32_at(messages, 0)?).unwrap_or(0);
        let message = messages.get(HEADER_BYTES..length).ok_or_else(broken)?;
        match u16_at(messages, 4)? {
            NLMSG_DONE => return Ok(Answer::Ended),
            NLMSG_ERROR => {
                let number = i32::from_ne_bytes(u32_at(message, 0)?.to_ne_bytes());
                return Err(io::Error::from_raw_os_error(number.wrapping_neg()));
            }
            _ if u64::from(u32_at(message, INODE_AT)?) == inode => return told(message),
            _ => {}
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Answer::NotYet)
}

/// Attributes follow `struct inet_diag_msg`: length, type, value, padded to four bytes.
fn told(message: &[u8]) -> io::Result<Answer> {
    let mut attributes = message.get(MESSAGE_BYTES..).ok_or_else(broken)?;
    while attributes.len() >= 4 {
        let length = usize::from(u16_at(attributes, 0)?).max(4);
        if u16_at(attributes, 2)? == INET_DIAG_SKV6ONLY {
            return attributes.get(4).map(|value| Answer::Told(*value != 0)).ok_or_else(broken);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(io::Error::other("the kernel does not say"))
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(broken)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes).ok_or_else(broken)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut short")
}

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, net/tcp_states.h
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
const MESSAGE_BYTES: usize = 72;
const INODE_AT: usize = 68;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_SKV6ONLY: u16 = 11;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

/// The kernel answers at once.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// The kernel's own parts have at most 32 KiB.
const ANSWER_BYTES: usize = 64 << 10;
/// A machine that listens on so many sockets has other troubles: some 150,000.
const PARTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn listening(v6only: bool) -> (OwnedFd, Socket) {
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_ipv6_v6only(&socket, v6only).unwrap();
        bind(&socket, &std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        let address = std::net::SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        assert!(matches!(address.ip(), IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
        (socket, Socket { address, inode })
    }

    #[test]
    fn the_kernel_tells() {
        let ((_one, both), (_other, only)) = (listening(false), listening(true));
        assert!(!is_v6only(&both, Protocol::Tcp).unwrap());
        assert!(is_v6only(&only, Protocol::Tcp).unwrap());
        let gone = Socket { inode: u64::from(u32::MAX), ..both };
        assert_eq!(is_v6only(&gone, Protocol::Tcp).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let message = |length: u32, kind: u16, rest: &[u8]| {
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], rest].concat()
        };
        assert_eq!(answer(&[], 1).unwrap(), Answer::NotYet);
        assert_eq!(answer(&message(16, NLMSG_DONE, &[]), 1).unwrap(), Answer::Ended);
        assert!(answer(&message(99, SOCK_DIAG_BY_FAMILY, &[0; 8]), 1).is_err());
        assert!(answer(&message(0, SOCK_DIAG_BY_FAMILY, &[0; 8]), 1).is_err());
        assert!(answer(&message(24, SOCK_DIAG_BY_FAMILY, &[0; 8]), 1).is_err());
        let refused = answer(&message(20, NLMSG_ERROR, &(-1_i32).to_ne_bytes()), 1).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(1));
    }
}
