//! TLS of the listeners: rustls with ring. Certificates are read again when their files change, without a restart.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::{clock::Clock, config::Tls};

/// Certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use `{}`: {because}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub because: String,
}

/// An acceptor that follows its files.
#[derive(Debug)]
pub(crate) struct Acceptor {
    files: Tls,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    bytes: (Vec<u8>, Vec<u8>),
    looked_at: Instant,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current(…)")
    }
}

/// Whether certificate and key can be used.
///
/// # Errors
/// When they cannot, with the file that is to blame.
pub fn check(files: &Tls) -> Result<(), TlsError> {
    Acceptor::new(files.clone()).map(drop)
}

impl Acceptor {
    pub(crate) fn new(files: Tls) -> Result<Self, TlsError> {
        let bytes = read(&files)?;
        let acceptor = build(&files, &bytes)?;
        let current = Mutex::new(Current { acceptor, bytes, looked_at: Clock::monotonic() });
        Ok(Self { files, current })
    }

    /// The acceptor for the next connection. New files that cannot be used are logged, and the old ones kept.
    pub(crate) fn current(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Clock::monotonic();
        if now.saturating_duration_since(current.looked_at) >= LOOK_EVERY {
            current.looked_at = now;
            match read(&self.files) {
                Ok(bytes) if bytes == current.bytes => {}
                Ok(bytes) => match build(&self.files, &bytes) {
                    Ok(acceptor) => (current.acceptor, current.bytes) = (acceptor, bytes),
                    Err(error) => tracing::error!(%error, "the new certificate cannot be used, the old one is kept"),
                },
                Err(error) => tracing::error!(%error, "the certificate cannot be read, the old one is kept"),
            }
        }
        current.acceptor.clone()
    }
}

fn read(files: &Tls) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let read =
        |path: &PathBuf| fs::read(path).map_err(|error| TlsError { path: path.clone(), because: error.to_string() });
    Ok((read(&files.cert)?, read(&files.key)?))
}

fn build(files: &Tls, (cert, key): &(Vec<u8>, Vec<u8>)) -> Result<TlsAcceptor, TlsError> {
    let of_cert = |because: String| TlsError { path: files.cert.clone(), because };
    let of_key = |because: String| TlsError { path: files.key.clone(), because };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(|error| of_cert(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| of_key(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_cert(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| of_cert(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Soon enough for a renewal, seldom enough not to matter.
const LOOK_EVERY: Duration = Duration::from_secs(10);
