//! Off loopback the controller is spoken with by TLS: its name and its authority are believed by the file in the image alone.

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

use super::{controller::Controller, fixture::Machine};

/// An authority, always of the same name, and the certificates it gives; made by `openssl`.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        authority.make("ca", "CA:TRUE", &[]);
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make(&self, name: &str, constraints: &str, more: &[&str]) {
        let config = "[req]\ndistinguished_name=name\n[name]\n";
        fs::write(self.file("openssl.cnf"), config).unwrap();
        let (subject, constraints) = (format!("/CN={name}"), format!("basicConstraints=critical,{constraints}"));
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let output = Command::new("openssl")
            .current_dir(self.0.path())
            .args(["req", "-x509", "-config", "openssl.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", &subject, "-addext", &constraints])
            .args(["-keyout", &key, "-out", &certificate])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A server with a certificate for `name`.
    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let name = format!("subjectAltName={name}");
        self.make("server", "CA:FALSE", &["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", &name]);
        let chain = vec![CertificateDer::from_pem_file(self.file("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

/// A controller that would admit, behind that certificate, and an agent that believes `ca`.
fn meet(server: Arc<ServerConfig>, ca: &Authority) -> (Machine, Controller) {
    let (machine, controller) = (Machine::new(), Controller::start_tls(server));
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    machine.configured(&format!(
        "[controller]\nurl = \"https://{}/\"\njoin_token_file = \"token\"\nca = {:?}\n\
         [identity]\nsource = \"static\"\ninstance = \"i-1\"\n",
        controller.address,
        ca.file("ca.pem")
    ));
    (machine, controller)
}

#[test]
fn the_right_one_is_spoken_with() {
    let ca = Authority::new();
    let (machine, _controller) = meet(ca.server("IP:127.0.0.1"), &ca);
    machine.start().until_ready();
}

#[test]
fn another_authority_or_another_name_hears_nothing() {
    let (ca, other) = (Authority::new(), Authority::new());
    for (server, told) in
        [(other.server("IP:127.0.0.1"), "BadSignature"), (ca.server("IP:127.0.0.2"), "not valid for name")]
    {
        let (machine, controller) = meet(server, &ca);
        let agent = machine.start();
        agent.until_readyz_says("cannot be reached: invalid peer certificate");
        assert!(agent.get("/readyz?verbose").1.contains(told), "{}", agent.get("/readyz?verbose").1);
        assert!(controller.script().asked.is_empty());
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_told_at_once() {
    let ca = Authority::new();
    let (machine, _controller) = meet(ca.server("IP:127.0.0.1"), &ca);
    fs::write(ca.file("ca.pem"), "no certificate").unwrap();
    let output = machine.fails_to_start();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("has no certificate in PEM"));
}
