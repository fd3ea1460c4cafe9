//! `listen`: which sockets of this machine are listened on, and which processes hold them.
//!
//! What is listened on stands in `/proc/net`; whether an IPv6 socket takes IPv4 too does not, so the kernel is asked for that one
//! thing ([`v6only`]). Who holds a socket is who has a descriptor of its inode.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use portcullis::{
    check::listen::{Listen, Protocol},
    text,
};

use super::{
    Finding, Task,
    procfs::{self, Executable, Pid},
};

mod table;
mod v6only;

use table::Socket;

/// Looks once.
pub(super) fn run(wanted: &Listen, task: &Task<'_>) -> Finding {
    match look(wanted, task) {
        Ok(()) => Finding::pass(),
        Err(finding) => finding,
    }
}

fn look(wanted: &Listen, task: &Task<'_>) -> Result<(), Finding> {
    let unusable = || Finding::unknown(format!("`{}` is no address", text::visible(&wanted.address)));
    let (address, port) = wanted.endpoint().ok_or_else(unusable)?;
    let sockets = sockets(wanted.protocol, port, task)?;
    let mut covering = Vec::new();
    for socket in &sockets {
        if covers(socket, address, wanted.protocol)? {
            covering.push(socket.inode);
        }
    }
    if covering.is_empty() {
        return Err(Finding::fail(
            wanted.protocol.as_str(),
            format!("something on {}", wanted.address),
            told(&sockets),
        ));
    }
    if wanted.executable.is_none() && wanted.user.is_none() {
        return Ok(());
    }
    holders(&covering, task).and_then(|holders| held_by(wanted, &holders))
}

/// Every socket that is listened on at that port.
fn sockets(protocol: Protocol, port: u16, task: &Task<'_>) -> Result<Vec<Socket>, Finding> {
    let mut all = Vec::new();
    for (path, optional) in [
        (format!("/proc/self/net/{}", protocol.as_str()), false),
        (format!("/proc/self/net/{}6", protocol.as_str()), true),
    ] {
        let unreadable = |error: io::Error| Finding::unknown(format!("`{path}`: {error}"));
        let file = match File::open(&path) {
            Ok(file) => file,
            // A kernel without IPv6.
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        for line in BufReader::new(file.take(TABLE_BYTES_MAX)).lines().skip(1) {
            let socket = table::socket(&line.map_err(unreadable)?, protocol);
            all.extend(socket.filter(|socket| socket.address.port() == port));
            if task.is_over() {
                return Err(Finding::unknown(format!("`{path}` was not read to its end in time")));
            }
        }
    }
    Ok(all)
}

/// Whether what is wanted comes in at that socket.
fn covers(socket: &Socket, wanted: Option<IpAddr>, protocol: Protocol) -> Result<bool, Finding> {
    let there = socket.address.ip().to_canonical();
    let Some(wanted) = wanted.map(|wanted| wanted.to_canonical()) else { return Ok(true) };
    match (there, wanted) {
        (there, wanted) if there == wanted => Ok(true),
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) | (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(_)) => {
            Ok(true)
        }
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => {
            let why = |error| {
                Finding::unknown(format!("whether {} takes IPv4 too could not be told: {error}", socket.address))
            };
            v6only::is_v6only(socket, protocol).map(|only| !only).map_err(why)
        }
        _ => Ok(false),
    }
}

fn told(sockets: &[Socket]) -> String {
    let shown: Vec<String> = sockets.iter().take(SHOWN_MAX).map(|socket| socket.address.to_string()).collect();
    match sockets.len() - shown.len() {
        _ if shown.is_empty() => "nothing listens on that port".into(),
        0 => format!("only on {}", shown.join(", ")),
        more => format!("only on {} and {more} more", shown.join(", ")),
    }
}

/// A process that holds one of the sockets.
#[derive(Debug)]
struct Holder {
    pid: u32,
    executable: Executable,
    user: Option<u32>,
    /// In a container the same path is another file.
    is_elsewhere: bool,
}

fn holders(inodes: &[u64], task: &Task<'_>) -> Result<Vec<Holder>, Finding> {
    let pids = procfs::pids().map_err(|error| Finding::unknown(format!("`/proc`: {error}")))?;
    let mut holders = Vec::new();
    for pid in pids.into_iter().map(Pid) {
        if task.is_over() {
            return Err(Finding::unknown("not all processes were looked at in time"));
        }
        let holds = pid.sockets().map(|sockets| sockets.iter().any(|inode| inodes.contains(inode)));
        // Whoever has ended by now, or may not be looked at, is none that can be told of.
        if let Ok(Some(executable)) = holds.and_then(|holds| if holds { pid.executable() } else { Ok(None) }) {
            holders.push(Holder { pid: pid.0, executable, user: pid.user(), is_elsewhere: pid.is_elsewhere() });
        }
    }
    Ok(holders)
}

fn held_by(wanted: &Listen, holders: &[Holder]) -> Result<(), Finding> {
    if holders.is_empty() {
        let hint = "it needs root and CAP_SYS_PTRACE, and to be in the network namespace of who listens";
        return Err(Finding::unknown(format!("something listens, but the agent cannot see who: {hint}")));
    }
    if let Some(executable) = &wanted.executable {
        held_by_file(executable, holders)?;
    }
    if let Some(user) = &wanted.user {
        let unknown = || Finding::unknown(format!("there is no user `{}` in /etc/passwd", text::visible(user)));
        let id = procfs::user_id(user).ok_or_else(unknown)?;
        if !holders.iter().any(|holder| holder.user == Some(id)) {
            return Err(Finding::fail("held by", format!("a process of user {}", text::visible(user)), shown(holders)));
        }
    }
    Ok(())
}

/// By it alone, but for systemd, which opens sockets for others and keeps them.
fn held_by_file(path: &str, holders: &[Holder]) -> Result<(), Finding> {
    let canonical = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let id = fs::metadata(&canonical).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    // One that was replaced is still the program that is meant: whether it is the one on disk is for `process` to say.
    let is_it = |holder: &Holder| {
        Some(holder.executable.id) == id || holder.executable.path == canonical && !holder.is_elsewhere
    };
    let is_init = |holder: &Holder| holder.pid == 1;
    let some = holders.iter().any(is_it);
    if some && holders.iter().all(|holder| is_it(holder) || is_init(holder)) {
        return Ok(());
    }
    Err(Finding::fail("held by", text::visible(path), shown(holders)))
}

fn shown(holders: &[Holder]) -> String {
    let one = |holder: &Holder| {
        let path = text::visible(&holder.executable.path.to_string_lossy());
        let user = holder.user.map_or_else(String::new, |user| format!(", user {user}"));
        let place = if holder.is_elsewhere { ", in a container" } else { "" };
        format!("{path} (process {}{user}{place})", holder.pid)
    };
    let listed: Vec<String> = holders.iter().take(SHOWN_MAX).map(one).collect();
    let more = holders.len() - listed.len();
    if more > 0 { format!("{} and {more} more", listed.join(", ")) } else { listed.join(", ") }
}

/// Enough to see what is wrong.
const SHOWN_MAX: usize = 5;

/// 150 bytes a connection: four hundred thousand of them. Those that listen come first.
const TABLE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(address: &str) -> Socket {
        Socket { address: address.parse().unwrap(), inode: 1 }
    }

    #[test]
    fn what_covers_what() {
        for (there, wanted, covered) in [
            ("127.0.0.1:80", None, true),
            ("127.0.0.1:80", Some("127.0.0.1"), true),
            ("127.0.0.1:80", Some("0.0.0.0"), false),
            ("127.0.0.1:80", Some("127.0.0.2"), false),
            ("0.0.0.0:80", Some("127.0.0.1"), true),
            ("0.0.0.0:80", Some("0.0.0.0"), true),
            ("0.0.0.0:80", Some("::"), false),
            ("0.0.0.0:80", Some("::1"), false),
            ("[::]:80", Some("::"), true),
            ("[::]:80", Some("::1"), true),
            ("[::1]:80", Some("::"), false),
            ("[::ffff:127.0.0.1]:80", Some("127.0.0.1"), true),
        ] {
            let wanted_ip = wanted.map(|wanted| wanted.parse().unwrap());
            assert_eq!(covers(&socket(there), wanted_ip, Protocol::Tcp), Ok(covered), "{there} {wanted:?}");
        }
    }

    #[test]
    fn nothing_is_said_as_such() {
        assert_eq!(told(&[]), "nothing listens on that port");
        assert_eq!(told(&[socket("127.0.0.1:80"), socket("[::1]:80")]), "only on 127.0.0.1:80, [::1]:80");
        let many: Vec<_> = (0..SHOWN_MAX + 2).map(|_| socket("127.0.0.1:80")).collect();
        assert!(told(&many).ends_with(", 127.0.0.1:80 and 2 more"), "{}", told(&many));
    }
}
