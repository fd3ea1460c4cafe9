//! HTTP and TCP: a real nginx with TLS, and peers that do what no server should.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

use tempfile::TempDir;

use crate::{
    fixture::{Running, eventually, fails, passes, untold},
    ports::free_port,
};

/// nginx on loopback: plain on one port, TLS for `shop.example.com` on another.
struct Nginx {
    directory: TempDir,
    plain: u16,
    tls: u16,
    _running: Running,
}

const SERVER: &str = r#"
    location = /health { default_type application/json; return 200 '{"status":"ok","checks":[{"ok":true}]}'; }
    location = /page { default_type text/html; add_header X-Release 42; return 200 '<h1>Shop</h1>'; }
    location = /there { return 301 /page; }
    location = /loop { return 302 /loop; }
    location = /away { return 302 http://localhost:$server_port/page; }
    location = /down { return 302 http://shop.example.com:PLAIN/page; }
    location = /none { return 204; }
    location = /host { return 200 "$host $http_x_probe $request_method"; }
    location = /broken { return 502; }
"#;

impl Nginx {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        certificate(directory.path());
        let (plain, tls) = (free_port(), free_port());
        let config = format!(
            "daemon off; worker_processes 1; error_log stderr emerg; pid {pid}; events {{}}\n\
             http {{ access_log off; client_body_temp_path {tmp}; proxy_temp_path {tmp}; fastcgi_temp_path {tmp};\n\
             uwsgi_temp_path {tmp}; scgi_temp_path {tmp};\n\
             server {{ listen 127.0.0.1:{plain}; {SERVER} }}\n\
             server {{ listen 127.0.0.1:{tls} ssl; server_name shop.example.com; ssl_certificate {certificate}; ssl_certificate_key {key}; {SERVER} }} }}",
            pid = at("pid"),
            tmp = at("tmp"),
            certificate = at("site.pem"),
            key = at("site.key"),
        );
        fs::write(at("nginx.conf"), config.replace("PLAIN", &plain.to_string())).unwrap();
        let running = Running::of(Command::new("nginx").args(["-p", &at(""), "-c", &at("nginx.conf")]));
        let nginx = Self { directory, plain, tls, _running: running };
        eventually("nginx answers", || crate::fixture::check(&nginx.tcp()).0 == "pass");
        nginx
    }

    fn tcp(&self) -> String {
        format!("tcp = {{ connect = \"127.0.0.1:{}\" }}", self.tls)
    }

    fn http(&self, path: &str, more: &str) -> String {
        format!("http = {{ url = \"http://127.0.0.1:{}{path}\"{more} }}", self.plain)
    }

    fn https(&self, host: &str, more: &str) -> String {
        format!("http = {{ url = \"https://{host}:{}/page\", connect = \"127.0.0.1\"{more} }}", self.tls)
    }

    fn roots(&self, name: &str) -> String {
        format!(", roots = \"{}\"", self.directory.path().join(name).display())
    }
}

impl Drop for Nginx {
    /// The workers end with their master only if that is asked to end.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self._running.id().to_string()).status();
        eventually("nginx ends", || self._running.0.try_wait().unwrap().is_some());
    }
}

/// `site.pem`, signed by `ca.pem`; `other.pem` is an authority that has signed nothing.
fn certificate(directory: &Path) {
    let script = r#"set -e
        for ca in ca other; do
          openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.pem -days 30 -subj "/CN=$ca"
        done
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout site.key -out site.csr -subj /CN=site
        printf 'subjectAltName=DNS:shop.example.com\nbasicConstraints=CA:FALSE\n' >ext
        openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -days 30 -extfile ext -out site.pem"#;
    let output = Command::new("sh").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_real_server() {
    let nginx = Nginx::start();
    passes(&nginx.http("/page", ""));
    fails(&nginx.http("/nowhere", ""), "status: expected 200, actual 404");
    fails(&nginx.http("/broken", ", status = [200, 204]"), "status: expected 200 or 204, actual 502");
    passes(&nginx.http("/none", ", status = [200, 204]"));
    passes(&nginx.http("/page", ", method = \"HEAD\""));
    passes(
        &nginx.http("/page", ", header_equals = { x-release = \"42\" }, header_contains = { Content-Type = \"html\" }"),
    );
    fails(
        &nginx.http("/page", ", header_equals = { x-release = \"43\" }"),
        "header x-release: expected “43”, actual “42”",
    );
    passes(&nginx.http("/page", ", body_contains = \"<h1>Shop\""));
    fails(
        &nginx.http("/page", ", body_contains = \"Cart\""),
        "body: expected something with “Cart”, actual “<h1>Shop</h1>”",
    );
    passes(&nginx.http("/health", ", json = { pointer = \"/checks/0/ok\", equals = true }"));
    fails(
        &nginx.http("/health", ", json = { pointer = \"/status\", equals = \"up\" }"),
        "expected \"up\", actual \"ok\"",
    );
    fails(&nginx.http("/page", ", json = { pointer = \"/status\", equals = \"ok\" }"), "actual no JSON");
    let digest = portcullis::digest::Digest::of(b"<h1>Shop</h1>").to_hex();
    passes(&nginx.http("/page", &format!(", body_sha256 = \"{digest}\"")));
    fails(
        &nginx.http("/health", &format!(", body_sha256 = \"{digest}\"")),
        &format!("body: expected sha256:{digest}, actual sha256:"),
    );
    let headers = ", headers = { Host = \"shop.example.com\", X-Probe = \"portcullis\" }";
    passes(&nginx.http("/host", &format!("{headers}, body_contains = \"shop.example.com portcullis GET\"")));
}

#[test]
fn redirects() {
    let nginx = Nginx::start();
    fails(&nginx.http("/there", ""), "status: expected 200, actual 301 to http://127.0.0.1");
    fails(&nginx.http("/there", ""), "/page (not followed: `redirects` is not \"follow\")");
    let follow = ", redirects = \"follow\"";
    passes(&nginx.http("/there", &format!("{follow}, body_contains = \"Shop\"")));
    fails(&nginx.http("/loop", follow), "status: expected 200, actual 302 to ");
    fails(&nginx.http("/loop", follow), "/loop (not followed: it is the sixth)");
    let nowhere = says(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n");
    fails(&at(nowhere, follow), "302 to http://[ (not followed: that is no URL that can be asked)");
    // Another host, even if it is the same server.
    fails(&nginx.http("/away", follow), "status: expected 200, actual 302 to http://localhost:");
    fails(&nginx.http("/away", follow), "/page (not followed: it leads to another host)");
    let there = format!(", status = 302, header_equals = {{ location = \"http://localhost:{}/page\" }}", nginx.plain);
    passes(&nginx.http("/away", &there));
    // From TLS to plain, on the same host.
    let down = format!(", redirects = \"follow\"{}", nginx.roots("ca.pem"));
    let down = nginx.https("shop.example.com", &down).replace("/page\"", "/down\"");
    fails(&down, "status: expected 200, actual 302 to http://shop.example.com:");
    fails(&down, "/page (not followed: it leads from TLS to plain HTTP)");
}

#[test]
fn tls() {
    let nginx = Nginx::start();
    let ours = nginx.roots("ca.pem");
    passes(&nginx.https("shop.example.com", &ours));
    fails(
        &nginx.https("other.example.com", &ours),
        "connection: expected a certificate to believe, actual invalid peer certificate",
    );
    fails(&nginx.https("shop.example.com", &nginx.roots("other.pem")), "UnknownIssuer");
    fails(&nginx.https("shop.example.com", ""), "expected a certificate to believe");
    untold(&nginx.https("shop.example.com", &nginx.roots("site.key")), "has no certificate in PEM");
    untold(&nginx.https("shop.example.com", &nginx.roots("nowhere")), "No such file");
    // Plain HTTP where TLS is spoken, and the other way round.
    fails(&format!("http = {{ url = \"http://127.0.0.1:{}/page\" }}", nginx.tls), "status: expected 200, actual 400");
    let plain =
        format!("http = {{ url = \"https://shop.example.com:{}/\", connect = \"127.0.0.1\"{ours} }}", nginx.plain);
    fails(&plain, "connection: expected TLS");
}

/// Answers every connection with these bytes.
fn serves(answer: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4_096]);
            answer(&mut stream);
        }
    });
    address
}

fn says(answer: &'static [u8]) -> SocketAddr {
    serves(move |stream| {
        let _ = stream.write_all(answer);
    })
}

fn at(address: SocketAddr, more: &str) -> String {
    format!("http = {{ url = \"http://{address}/\"{more} }}\ntimeout = \"3s\"")
}

#[test]
fn peers_that_misbehave() {
    fails(&at(format!("127.0.0.1:{}", free_port()).parse().unwrap(), ""), "Connection refused");
    fails(&at(says(b"SSH-2.0-OpenSSH_9.2\r\n"), ""), "connection: expected HTTP");
    fails(&at(says(b"hello"), ""), "connection: expected HTTP");
    for part in [&b""[..], b"HTTP/1.1 200 OK\r\nX-A"] {
        fails(&at(says(part), ""), "connection: expected HTTP, actual it hung up before the answer was whole");
    }
    let cut = says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    untold(&at(cut, ", body_contains = \"half\""), "the body broke off");
    // What nobody asks for is not waited for.
    passes(&at(cut, ""));
    let announced = says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    fails(&at(announced, ", body_contains = \"a\""), "body: expected at most 1048576 bytes, actual more");
    let endless = serves(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'a'; 65_536]).is_ok() {}
    });
    fails(&at(endless, ", body_contains = \"b\""), "body: expected at most 1048576 bytes, actual more");
    let headers = serves(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").is_ok() {}
    });
    fails(&at(headers, ""), "connection: expected HTTP");
    let deep = serves(|stream| {
        let body = "[".repeat(500_000);
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    });
    fails(&at(deep, ", json = { pointer = \"\", equals = true }"), "actual no JSON (recursion limit");
    untold("http = { url = \"http://no-such-host.invalid/\" }\ntimeout = \"3s\"", "");
}

/// A proxy in the environment would be asked, were it heeded.
#[test]
fn no_proxy() {
    let nginx = Nginx::start();
    let fixture = crate::fixture::fixture().with_check(&nginx.http("/page", ""));
    let mut command = fixture.command(&["--json"]);
    let run =
        crate::fixture::Run::of(command.env("http_proxy", "http://127.0.0.1:1").env("ALL_PROXY", "http://127.0.0.1:1"));
    assert_eq!(run.outcome(1).0, "pass", "{run:?}");
}

#[test]
fn what_a_peer_says_first() {
    let tcp = |address: SocketAddr, more: &str| format!("tcp = {{ connect = \"{address}\"{more} }}\ntimeout = \"1s\"");
    let greets = |greeting: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().flatten() {
                for byte in greeting.bytes() {
                    let _ = stream.write_all(&[byte]);
                }
                kept.push(stream);
            }
        });
        address
    };
    let mail = greets("220 mail ESMTP\r\n");
    passes(&tcp(mail, ", expect = \"220 \""));
    fails(&tcp(mail, ", expect = \"SSH-2.0-\""), "it says: expected “SSH-2.0-”, actual “2");
    let slow = greets("22");
    untold(
        &tcp(slow, ", expect = \"220 \""),
        &format!("{slow}: expected “220 ”, actual “22”, then nothing within 1000 ms of the whole check"),
    );
    let silent = greets("");
    untold(
        &tcp(silent, ", expect = \"220 \""),
        &format!("{silent}: expected “220 ”, actual a connection, then nothing within 1000 ms of the whole check"),
    );
    let echo = serves(|stream| {
        let _ = stream.write_all(b"+PONG\r\n");
    });
    passes(&tcp(echo, ", send = \"PING\\r\\n\", expect = \"+PONG\""));
    fails(&tcp(says(b"+P"), ", send = \"PING\\r\\n\", expect = \"+PONG\""), "actual “+P”, then it hung up");
    fails(&tcp(format!("127.0.0.1:{}", free_port()).parse().unwrap(), ""), "connection refused");
    // Nobody takes connections any more: the kernel does not answer further attempts.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let _waiting: Vec<_> = (0..2)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)).ok())
        .collect();
    untold(
        &tcp(address, ""),
        &format!("{address}: expected a connection, actual none: nobody answered within 1000 ms of the whole check"),
    );
}
