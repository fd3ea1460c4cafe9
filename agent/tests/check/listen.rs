//! Sockets that are listened on, by whom, and where only.

use std::{
    net::{TcpListener, UdpSocket},
    process::Command,
};

use crate::fixture::{Run, fails, fixture, is_root, passes};

fn check(address: &str, more: &str) -> String {
    format!("listen = {{ address = \"{address}\"{more} }}")
}

#[test]
fn where_it_listens() {
    let local = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = local.local_addr().unwrap().port();
    passes(&check(&port.to_string(), ""));
    passes(&check(&format!("127.0.0.1:{port}"), ""));
    fails(
        &check(&format!("0.0.0.0:{port}"), ""),
        &format!("tcp: expected something on 0.0.0.0:{port}, actual only on 127.0.0.1:{port}"),
    );
    fails(&check(&format!("127.0.0.2:{port}"), ""), "actual only on 127.0.0.1");
    fails(&check(&format!("[::1]:{port}"), ""), "actual only on 127.0.0.1");
    fails(&check(&port.to_string(), ", protocol = \"udp\""), "udp: expected something on");
    drop(local);
    fails(&check(&port.to_string(), ""), "actual nothing listens on that port");
}

#[test]
fn on_all_addresses() {
    let all = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = all.local_addr().unwrap().port();
    passes(&check(&format!("0.0.0.0:{port}"), ""));
    passes(&check(&format!("127.0.0.1:{port}"), ""));
    fails(&check(&format!("[::]:{port}"), ""), &format!("actual only on 0.0.0.0:{port}"));
}

/// One socket for both, as most programs open it; or IPv6 only, as nginx does.
#[test]
fn ipv6_that_takes_ipv4_too() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};
    for v6only in [false, true] {
        let six = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_ipv6_v6only(&six, v6only).unwrap();
        bind(&six, &"[::]:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
        listen(&six, 1).unwrap();
        let port = std::net::SocketAddr::try_from(getsockname(&six).unwrap()).unwrap().port();
        passes(&check(&format!("[::]:{port}"), ""));
        let four = check(&format!("0.0.0.0:{port}"), "");
        if v6only { fails(&four, &format!("actual only on [::]:{port}")) } else { passes(&four) }
    }
}

#[test]
fn datagrams() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    passes(&check(&format!("127.0.0.1:{port}"), ", protocol = \"udp\""));
    fails(&check(&format!("127.0.0.1:{port}"), ""), "tcp: expected");
    // One that has a peer takes datagrams from nobody else.
    socket.connect("127.0.0.1:9").unwrap();
    fails(&check(&format!("127.0.0.1:{port}"), ", protocol = \"udp\""), "nothing listens on that port");
}

#[test]
fn who_holds_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let me = std::env::current_exe().unwrap();
    passes(&check(&port.to_string(), &format!(", executable = \"{}\"", me.display())));
    let user = rustix::process::geteuid().as_raw();
    passes(&check(&port.to_string(), &format!(", user = \"{user}\"")));
    fails(&check(&port.to_string(), ", user = \"4242\""), "held by: expected a process of user 4242, actual ");
    let stranger = format!(
        "held by: expected /usr/sbin/nginx, actual {} (process {}, user {user})",
        me.display(),
        std::process::id()
    );
    fails(&check(&port.to_string(), ", executable = \"/usr/sbin/nginx\""), &stranger);
    // Inherited: two programs hold it, and one is not the right one.
    let mut child = Command::new("sleep");
    let fd = rustix::io::dup(&listener).unwrap();
    let mut child = crate::fixture::Running::of(child.arg("1000").stdin(fd));
    fails(&check(&port.to_string(), &format!(", executable = \"{}\"", me.display())), "sleep (process ");
    child.0.kill().unwrap();
}

/// In a container the same path is another file, though it listens on this very machine's address.
#[test]
fn who_holds_it_in_a_container() {
    if !is_root("mounts") {
        return;
    }
    let fixture = fixture();
    let (ours, root) = (fixture.at("python"), fixture.at("root"));
    std::fs::copy("/bin/sleep", &ours).unwrap();
    let inside = root.join(ours.strip_prefix("/").unwrap());
    let script = r#"set -e
        mkdir -p "$1" && mount -t tmpfs none "$1" && cd "$1"
        for part in usr lib lib64 proc; do mkdir -p "$part"; [ ! -e "/$part" ] || mount --rbind "/$part" "$part"; done
        mkdir -p "$(dirname "$2")" && cp "$(readlink -f /usr/bin/python3)" "$2"
        mkdir old && pivot_root . old && PYTHONHOME=/usr exec "$3" -c "$4""#;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listens = format!("import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(1000)");
    let mut container = Command::new("unshare");
    container.args(["--mount", "sh", "-c", script, "sh"]).args([&root, &inside, &ours]).arg(listens);
    let _inside = crate::fixture::Running::of(&mut container);
    crate::fixture::eventually("a listener", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let held = format!(", executable = \"{}\"", ours.display());
    fails(&check(&port.to_string(), &held), "in a container");
}

/// The agent sees what is in its own network namespace only; and who holds it, only if it may look.
#[test]
fn without_the_right_to_look() {
    if !is_root("another user") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let fixture = fixture().with_check(&check(&port.to_string(), ", executable = \"/usr/sbin/nginx\""));
    let agent = fixture.at("agent");
    crate::fixture::copy_of_agent(&agent);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(agent)
        .args(fixture.arguments())
        .arg("--json");
    let (status, reason) = Run::of(&mut command).outcome(1);
    assert!(status == "unknown" && reason.contains("the agent cannot see who"), "{status}: {reason}");
}
