//! Certificates as real servers present them, each with a broken twin; and servers that do not behave.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use portcullis::check::certificate::Certificate as Wanted;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rustix::process::{Pid, Signal, kill_process};
use rustls::{
    ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{
    certificate::started,
    certificate_maker::{Made, Recipe, authority, chain, replaced},
    fixture::{Fixture, Run, fixture},
    ports::free_port,
};

/// OpenSSL takes no ed25519 key that has its public half beside it, as those made here do.
fn server(names: &[&str]) -> Recipe {
    crate::certificate_maker::server(names).of(&PKCS_ECDSA_P256_SHA256)
}

/// A server, ended with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Runs until it accepts connections.
    fn start(port: u16, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut server = Self { child, port };
        let began = started();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if server.child.try_wait().unwrap().is_some() || began.elapsed() > Duration::from_secs(20) {
                let _ = server.child.kill();
                let mut said = String::new();
                server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("{command:?} does not serve: {said}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn openssl(fixture: &Fixture, made: &Made, rest: &[&Made], arguments: &[&str]) -> Self {
        let port = free_port();
        let name = format!("{port}");
        let chain: String = rest.iter().map(|made| made.pem.as_str()).collect();
        let (pem, key) =
            (fixture.file(&format!("{name}.pem"), &made.pem), fixture.file(&format!("{name}.key"), &made.key));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert", &pem, "-key", &key]);
        if !chain.is_empty() {
            command.args(["-cert_chain", &fixture.file(&format!("{name}.chain"), chain)]);
        }
        Self::start(port, command.args(arguments))
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it presents when asked for `name`, which then must be in it.
    fn asked_for(&self, name: &str) -> Wanted {
        Wanted { server_name: Some(name.into()), ..self.unasked() }
    }

    /// What it presents to those who ask for nothing.
    fn unasked(&self) -> Wanted {
        at(&self.address())
    }
}

impl Drop for Server {
    /// Told to end, it ends its workers too.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn at(address: &str) -> Wanted {
    Wanted { connect: Some(address.into()), ..Wanted::default() }
}

/// Runs all at once, and holds each against what it must come to.
#[track_caller]
fn all(mut fixture: Fixture, table: &[(Wanted, &str, &str)]) -> Run {
    for (wanted, ..) in table {
        fixture = fixture.with_certificate(wanted.clone());
    }
    let run = fixture.signed().json();
    for (index, (wanted, expected, told)) in table.iter().enumerate() {
        let (status, reason) = run.outcome(index + 1);
        assert!(status == *expected && reason.contains(told), "{wanted:?}: {told:?} is not {status}: {reason}");
    }
    run
}

#[test]
fn openssl_presents() {
    let fixture = fixture();
    let one = chain(server(&["a.example", "127.0.0.1"]));
    let roots = fixture.file("ca.pem", &one.root.pem);
    let believing = |wanted: Wanted| Wanted { roots: Some(roots.clone()), ..wanted };
    let (middle, root) = (&one.middle, &one.root);
    let made = |recipe: Recipe| recipe.signed_by(middle);
    let expired = made(server(&["a.example"]).years(2024, 2025));
    let future = made(server(&["a.example"]).years(2046, 2047));
    let soon = made(server(&["a.example"]).hours_left(24 * 20 + 12));
    let alone = server(&["a.example"]).self_signed();
    let start = |made: &Made, rest: &[&Made], arguments: &[&str]| Server::openssl(&fixture, made, rest, arguments);
    let good = start(&one.server, &[middle], &[]);
    let old_protocol = start(&one.server, &[middle], &["-tls1_2"]);
    let demanding = start(&one.server, &[middle], &["-Verify", "1"]);
    let demanding_old = start(&one.server, &[middle], &["-Verify", "1", "-tls1_2"]);
    let bare = start(&one.server, &[], &[]);
    let disordered = start(&one.server, &[root, middle], &[]);
    let rooted = start(&one.server, &[middle, root], &[]);
    let (expired, future) = (start(&expired, &[middle], &[]), start(&future, &[middle], &[]));
    let (soon, alone) = (start(&soon, &[middle], &[]), start(&alone, &[], &[]));
    let table = vec![
        (believing(good.asked_for("a.example")), "pass", ""),
        (believing(Wanted { names: Some(vec!["127.0.0.1".into()]), ..good.unasked() }), "pass", ""),
        (believing(old_protocol.asked_for("a.example")), "pass", ""),
        (believing(demanding.asked_for("a.example")), "pass", ""),
        (believing(demanding_old.asked_for("a.example")), "pass", ""),
        (believing(soon.asked_for("a.example")), "pass", ""),
        (rooted.asked_for("a.example"), "pass", ""),
        (good.asked_for("b.example"), "fail", "is not for `b.example`: it is for a.example, 127.0.0.1"),
        (believing(bare.asked_for("a.example")), "fail", "was issued by CN=Middle, which is neither in the chain nor"),
        (disordered.asked_for("a.example"), "fail", "certificate 2 (CN=Root) is out of order"),
        (expired.asked_for("a.example"), "fail", "certificate 1 (CN=a.example) has expired: expected until 2025-01-01"),
        (future.asked_for("a.example"), "fail", "is not yet valid: expected from 2046-01-01"),
        (believing(alone.asked_for("a.example")), "fail", "is self-signed, and not among those that are believed"),
    ];
    let run = all(fixture, &table);
    let warning = |index: usize| run.value()["outcomes"][index]["warnings"][0].as_str().unwrap_or_default().to_string();
    assert!(warning(6).starts_with("certificate 1 (CN=a.example) expires soon: 20d1"), "{run:?}");
    assert!(warning(7).contains("is a root"), "{run:?}");
}

/// Keys that this program cannot verify by: what it cannot tell it holds against nobody.
#[test]
fn openssl_with_odd_keys() {
    let fixture = fixture();
    let start = |name: &str, kind: &str| {
        let (pem, key, port) = (fixture.at(&format!("{name}.pem")), fixture.at(&format!("{name}.key")), free_port());
        let mut made = Command::new("openssl");
        made.args(["req", "-x509", "-nodes", "-days", "90", "-subj", "/CN=a.example", "-newkey"]).args(kind.split(' '));
        assert!(made.arg("-out").arg(&pem).arg("-keyout").arg(&key).output().unwrap().status.success());
        let mut server = Command::new("openssl");
        server.args(["s_server", "-quiet", "-cipher", "ALL:@SECLEVEL=0", "-accept", &format!("127.0.0.1:{port}")]);
        Server::start(port, server.arg("-cert").arg(pem).arg("-key").arg(key))
    };
    let (short, large) = (start("rsa", "rsa:1024"), start("p521", "ec -pkeyopt ec_paramgen_curve:P-521"));
    let none = |server: &Server| Wanted { names: Some(Vec::new()), ..server.unasked() };
    let table = [
        (none(&short), "fail", "certificate 1 (CN=a.example) has an RSA key of 1024 bits"),
        (none(&large), "unknown", "it and this program have no version or algorithm in common"),
    ];
    let run = all(fixture, &table);
    assert!(!run.outcome(1).1.contains("does not hold the key"), "{run:?}");
}

/// In a directory that its workers may read.
fn nginx(fixture: &Fixture, port: u16, servers: &str) -> Server {
    let directory = fixture.at("nginx");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let d = directory.to_str().unwrap();
    let conf = format!(
        "daemon off; pid {d}/pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f;\n\
         uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;\n{servers}}}\n"
    );
    let conf = fixture.file("nginx.conf", conf);
    Server::start(port, Command::new("nginx").args(["-p", d, "-e", "stderr", "-c", &conf]))
}

/// Incident I5: the default certificate is about to expire, and stands behind an ill-formed one that the watcher meets first.
#[test]
fn nginx_with_names() {
    let fixture = fixture();
    let one = chain(server(&["good.example"]));
    let mut torn = server(&["torn.example"]).signed_by(&one.middle);
    torn.pem = crate::certificate_maker::pem(&replaced(&torn.der, &[2, 4, 0x7f, 0x11], &[2, 4, 0xff, 0x11]));
    let default = server(&["default.example"]).hours_left(24 * 3 + 1).signed_by(&one.middle);
    let port = free_port();
    let block = |made: &Made, name: &str, default: &str| {
        let pem = fixture.file(&format!("{name}.pem"), format!("{}{}", made.pem, one.middle.pem));
        let key = fixture.file(&format!("{name}.key"), &made.key);
        format!(
            "server {{ listen 127.0.0.1:{port} ssl {default}; server_name {name}; ssl_certificate {pem}; \
             ssl_certificate_key {key}; return 200; }}\n"
        )
    };
    let servers = block(&torn, "torn.example", "")
        + &block(&default, "default.example", "default_server")
        + &block(&one.server, "good.example", "");
    let nginx = nginx(&fixture, port, &servers);
    let roots = Some(fixture.file("ca.pem", &one.root.pem));
    let all_files = Wanted {
        collection: true,
        file: Some(fixture.file("all.pem", format!("{}{}{}", torn.pem, default.pem, one.server.pem))),
        ..Wanted::default()
    };
    all(
        fixture,
        &[
            (nginx.asked_for("torn.example"), "fail", "certificate 1 (CN=torn.example) has a negative serial number"),
            (nginx.unasked(), "fail", "certificate 1 (CN=default.example) expires soon: expected 7d left, actual 3d"),
            (
                nginx.asked_for("unheard-of.example"),
                "fail",
                "is not for `unheard-of.example`: it is for default.example",
            ),
            (Wanted { roots: roots.clone(), ..nginx.asked_for("good.example") }, "pass", ""),
            (
                all_files.clone(),
                "fail",
                "certificate 1 (CN=torn.example) has a negative serial number; certificate 2 (CN=default",
            ),
        ],
    );
}

/// A certificate that was renewed on disk, and not loaded: only the endpoint tells.
#[test]
fn nginx_renewed_and_not_reloaded() {
    let fixture = fixture();
    let root = authority("Root").self_signed();
    let (old, new) = (server(&["a.example"]).hours_left(24).signed_by(&root), server(&["a.example"]).signed_by(&root));
    let (pem, key) = (fixture.file("site.pem", &old.pem), fixture.file("site.key", &old.key));
    let port = free_port();
    let servers = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {key}; return 200; }}"
    );
    let nginx = nginx(&fixture, port, &servers);
    fs::write(&pem, &new.pem).unwrap();
    fs::write(&key, &new.key).unwrap();
    let on_disk = Wanted { file: Some(pem), key: Some(key), ..Wanted::default() };
    all(fixture, &[(on_disk, "pass", ""), (nginx.asked_for("a.example"), "fail", "expires soon")]);
}

#[test]
fn haproxy_with_a_list() {
    let fixture = fixture();
    let root = authority("Root").self_signed();
    let directory = fixture.at("certs");
    fs::create_dir(&directory).unwrap();
    let recipes = [
        ("a", server(&["a.example"])),
        ("b", server(&["*.b.example"])),
        ("old", server(&["old.example"]).years(2024, 2025)),
    ];
    let mut list = String::new();
    for (name, recipe) in recipes {
        let made = recipe.signed_by(&root);
        let path = directory.join(format!("{name}.pem"));
        fs::write(&path, made.pem + &made.key).unwrap();
        list += &format!("{}\n", path.display());
    }
    let (list, port) = (fixture.file("list", list), free_port());
    let conf = format!(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend f\n bind 127.0.0.1:{port} ssl crt-list {list}\n http-request return status 200\n"
    );
    let conf = fixture.file("haproxy.cfg", conf);
    let haproxy = Server::start(port, Command::new("haproxy").args(["-db", "-q", "-f", &conf]));
    let roots = Some(fixture.file("ca.pem", &root.pem));
    let believing = |wanted: Wanted| Wanted { roots: roots.clone(), ..wanted };
    let combined = |name: &str| {
        let path = directory.join(name).to_str().unwrap().to_string();
        Wanted { file: Some(path.clone()), key: Some(path), ..believing(Wanted::default()) }
    };
    all(
        fixture,
        &[
            (believing(haproxy.asked_for("a.example")), "pass", ""),
            (believing(haproxy.asked_for("www.b.example")), "pass", ""),
            (believing(haproxy.asked_for("b.example")), "fail", "is not for `b.example`"),
            (haproxy.asked_for("old.example"), "fail", "has expired"),
            (combined("a.pem"), "pass", ""),
            (combined("old.pem"), "fail", "has expired"),
        ],
    );
}

/// A server that does as it is told with each connection, until the test ends.
fn misbehaving(with: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let with = with.clone();
            thread::spawn(move || with(stream));
        }
    });
    address
}

fn says(bytes: &'static [u8]) -> String {
    misbehaving(move |mut stream| {
        let mut hello = [0; 64];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(bytes);
    })
}

fn repeats(bytes: &'static [u8], pause: Duration) -> String {
    misbehaving(move |mut stream| {
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(pause);
        }
    })
}

#[test]
fn what_hangs_is_unknown_and_delays_nothing() {
    let silent = misbehaving(|stream| {
        let _ = (stream, thread::park());
    });
    // The header of a record of 16 KiB, and then its content, by and by.
    let loris = repeats(&[22, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc, 3, 3], Duration::from_millis(50));
    // Changes of cipher are ignored before a handshake ends: they could go on for ever.
    let endless = misbehaving(|mut stream| while stream.write_all(&[20, 3, 3, 0, 1, 1]).is_ok() {});
    let alerts = misbehaving(|mut stream| while stream.write_all(&[21, 3, 3, 0, 2, 1, 90]).is_ok() {});
    let mut fixture = fixture();
    let good = chain(server(&["a.example"]));
    let quick = Server::openssl(&fixture, &good.server, &[&good.middle], &[]);
    for address in [&silent, &loris, &endless, &alerts] {
        fixture = fixture.with_certificate(at(address));
    }
    fixture = fixture.with_certificate(quick.asked_for("a.example"));
    fixture.manifest.checks.iter_mut().for_each(|check| check.timeout_ms = 1_500);
    let began = started();
    let run = fixture.signed().json();
    let took = began.elapsed();
    for (index, address) in [(1, &silent), (2, &loris)] {
        let told = format!("{address}: no certificate in time");
        assert_eq!(run.outcome(index), ("unknown".into(), told), "{run:?}");
    }
    for index in [3, 4] {
        assert_ne!(run.outcome(index).0, "pass", "{run:?}");
    }
    assert_eq!(run.outcome(5).0, "pass", "{run:?}");
    assert!(run.value()["outcomes"][5]["took_ms"].as_u64().unwrap() < 1_000, "{run:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn what_presents_nothing() {
    let closed = format!("127.0.0.1:{}", free_port());
    let table = [
        (closed, "connection refused"),
        (
            says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            "actual no TLS, but `HTTP/1.1 400 Bad Request`",
        ),
        (says(b"220 mail.example ESMTP\r\n"), "actual no TLS, but `220 mail.example ESMTP`"),
        (says(b"\x1b[2J\xff"), "actual no TLS, but `\\u{1b}[2J\\xff`"),
        (says(b""), "actual it closed the connection"),
        (says(&[21, 3, 3, 0, 2, 2, 112]), "actual the TLS alert UnrecognisedName"),
        (says(&[22, 3, 3, 0, 4, 2, 0, 0, 0]), "expected a certificate, actual "),
        (says(&[22, 3, 3, 0]), "actual it closed the connection half-way"),
    ];
    let table: Vec<_> = table.iter().map(|(address, told)| (at(address), "fail", *told)).collect();
    all(fixture(), &table);
}

/// Plain HTTP on the port, by a real server; and one that will not speak with those who ask for nothing.
#[test]
fn nginx_that_refuses() {
    let fixture = fixture();
    let good = server(&["a.example"]).self_signed();
    let (plain, strict) = (free_port(), free_port());
    let (pem, key) = (fixture.file("site.pem", &good.pem), fixture.file("site.key", &good.key));
    let servers = format!(
        "server {{ listen 127.0.0.1:{plain}; return 200; }}\n\
         server {{ listen 127.0.0.1:{strict} ssl default_server; ssl_reject_handshake on; }}\n\
         server {{ listen 127.0.0.1:{strict} ssl; server_name a.example; ssl_certificate {pem}; ssl_certificate_key {key}; }}\n"
    );
    let nginx = nginx(&fixture, strict, &servers);
    let plain = format!("127.0.0.1:{plain}");
    all(
        fixture,
        &[
            (at(&plain), "fail", "no TLS, but `"),
            (nginx.unasked(), "fail", "the TLS alert UnrecognisedName"),
            (nginx.asked_for("a.example"), "pass", ""),
        ],
    );
}

/// Presents one certificate, and signs with the key of another.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Whoever copies a certificate off the wire has not got its key.
#[test]
fn a_server_without_the_key() {
    let (real, other) = (server(&["a.example"]).self_signed(), server(&["a.example"]).self_signed());
    let impostor = |key: &Made, version: &'static SupportedProtocolVersion| {
        let key = PrivateKeyDer::from_pem_slice(key.key.as_bytes()).unwrap();
        let key = any_supported_type(&key).unwrap();
        let chain = vec![CertificateDer::from(real.der.clone())];
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let config = config.with_cert_resolver(Arc::new(Impostor(Arc::new(CertifiedKey::new(chain, key)))));
        let config = Arc::new(config);
        misbehaving(move |mut stream| {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = connection.complete_io(&mut stream);
        })
    };
    let told = "the server does not hold the key of its certificate";
    let table = [
        (at(&impostor(&real, &TLS13)), "pass", ""),
        (at(&impostor(&real, &TLS12)), "pass", ""),
        (at(&impostor(&other, &TLS13)), "fail", told),
        (at(&impostor(&other, &TLS12)), "fail", told),
    ];
    all(fixture(), &table);
}
